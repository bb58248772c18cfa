"""Before the first job: does the key work, which workspace is it, which templates exist.

See docs/api.md, "Reading the API".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sender.errors import HaltError, UsageError
from sender.transport import Reply, Request, TransportFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sender.jobs.job import Job

    Get = Callable[[Request], Awaitable[Reply]]

WORKSPACES = Request("GET", "/v1/workspaces")
TEMPLATES = Request("GET", "/v1/transactional")


class Preflight(NamedTuple):
    """What could be learned."""

    workspace: str | None = None
    """Name of the ledger's owner, when the key sees one workspace only."""
    templates: frozenset[int] | None = None
    """Numbers of the templates there are, or None where they could not be listed."""
    warning: str | None = None
    readable: bool = True
    """Whether the key may read; without it nothing is polled or reconciled."""


async def look_ahead(get: Get, base_url: str) -> Preflight:
    """Two GETs at most; UsageError when key, region or URL are surely wrong."""
    try:
        reply = await get(WORKSPACES)
    except TransportFault as fault:
        return Preflight(warning=f"preflight: {fault.message}; the run goes on and waits for the API")
    if reply.status == 401:
        raise UsageError(
            f"{base_url} refuses the key (401): check that it is an App API key, and that --region names the "
            "workspace's region; nothing was sent"
        )
    if 300 <= reply.status < 400:
        raise UsageError(f"{base_url} answers with a redirect ({reply.status}): check --base-url; nothing was sent")
    if reply.status == 404 and "html" in reply.content_type:
        raise UsageError(f"{base_url} does not know the App API (404): check --base-url; nothing was sent")
    if reply.status == 403:
        return Preflight(warning="preflight: the key may not read; templates are not checked", readable=False)
    if reply.status != 200:
        return Preflight(warning=f"preflight: the API answered {reply.status}; the run goes on")
    return Preflight(_only_workspace(reply), await _templates(get))


def _only_workspace(reply: Reply) -> str | None:
    entries = _listed(reply, "workspaces")
    if len(entries) == 1 and isinstance(entries[0], dict) and isinstance(entries[0].get("id"), int):
        return str(entries[0]["id"])
    return None


async def _templates(get: Get) -> frozenset[int] | None:
    try:
        reply = await get(TEMPLATES)
    except TransportFault:
        return None
    entries = _listed(reply, "messages") if reply.status == 200 else []
    numbers = {entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), int)}
    return frozenset(numbers) or None


def _listed(reply: Reply, name: str) -> list[Any]:
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return []
    entries = document.get(name) if isinstance(document, dict) else None
    return entries if isinstance(entries, list) else []


class TemplateCheck:
    """Knows the templates of the workspace; `templates` is None where nobody could read them."""

    def __init__(self, templates: frozenset[int] | None, get: Get) -> None:
        self._known = None if templates is None else set(templates)
        self._get = get

    async def refuse_unknown(self, jobs: Iterable[Job]) -> None:
        """HaltError when a job names a template that the API, asked for it, does not have."""
        for job in jobs:
            template = self._unlisted(job)
            if template is None or self._known is None:
                continue
            if await self._is_missing(template):
                raise HaltError(
                    f"the workspace has no transactional message {template} ({job.source}:{job.line}): mend "
                    "transactional_message_id, or send it all the same with --no-preflight"
                )
            self._known.add(template)

    def _unlisted(self, job: Job) -> int | None:
        if self._known is None or job.kind.lane != "send":
            return None
        template = job.recognised_by().get("transactional_message_id")
        return template if type(template) is int and template not in self._known else None

    async def _is_missing(self, template: int) -> bool:
        try:
            reply = await self._get(Request("GET", f"{TEMPLATES.path}/{template}"))
        except TransportFault:
            return False
        return reply.status == 404 and "json" in reply.content_type
