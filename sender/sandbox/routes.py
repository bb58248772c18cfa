"""Which handler answers which method and path, and which lane counts it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sender.sandbox import broadcasts, lists, mailings, send_endpoints, suppressions, templates, workspaces
from sender.sandbox.exchange import Answer, Request

if TYPE_CHECKING:
    from sender.sandbox.world import World

Handler = Callable[..., Answer]

LANES: Final = ("send", "trigger", "app", "other")
"""`other` is what the API does not know: wrong paths and methods; it has no limit."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint."""

    lane: str
    kind: str
    """The job kind behind it, empty for reads."""
    handler: Handler
    args: tuple[str, ...] = ()
    needs_key: bool = True

    def answer(self, world: World, request: Request) -> Answer:
        """Let the handler do it."""
        return self.handler(world, request, *self.args)


_SENDS: Final = {
    f"/v1/send/{kind}": Route("send", kind, send_endpoints.send, (kind,))
    for kind in ("email", "sms", "whatsapp", "push", "in_app", "inbox_message")
}

_READS: Final[tuple[tuple[str, Handler], ...]] = (
    ("/v1/campaigns/{}/triggers/{}", broadcasts.status),
    ("/v1/campaigns/{}/triggers/{}/errors", broadcasts.errors),
    ("/v1/broadcasts", broadcasts.broadcasts),
    ("/v1/broadcasts/{}", broadcasts.broadcast),
    ("/v1/broadcasts/{}/triggers", broadcasts.triggers),
    ("/v1/broadcasts/{}/messages", broadcasts.broadcast_messages),
    ("/v1/newsletters", mailings.newsletters),
    ("/v1/newsletters/{}", mailings.newsletter),
    ("/v1/transactional", templates.templates),
    ("/v1/transactional/{}", templates.template),
    ("/v1/transactional/{}/contents", templates.contents),
    ("/v1/transactional/{}/contents?/{}", templates.content),
    ("/v1/transactional/{}/language/{}", templates.translation),
    ("/v1/transactional/{}/messages", lists.template_messages),
    ("/v1/messages", lists.messages),
    ("/v1/messages/{}", lists.message),
    ("/v1/customers/{}/messages", lists.customer_messages),
    ("/v1/workspaces", workspaces.workspaces),
    ("/v1/esp/suppression/{}", suppressions.suppressions),
)

_WRITES: Final[tuple[tuple[str, str, str, str, Handler], ...]] = (
    ("POST", "/v1/campaigns/{}/triggers", "trigger", "broadcast", broadcasts.trigger),
    ("POST", "/v1/newsletters/{}/send", "app", "newsletter_send", mailings.send),
    ("POST", "/v1/newsletters/{}/schedule", "app", "newsletter_schedule", mailings.schedule),
    ("PUT", "/v1/transactional/{}/content/{}", "app", "content", templates.write_content),
    ("PUT", "/v1/transactional/{}/language/{}", "app", "content", templates.write_translation),
)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(path.replace("{}", "([^/]+)") + r"\Z")


_TABLE: Final = (
    *((method, _pattern(path), lane, kind, handler) for method, path, lane, kind, handler in _WRITES),
    *(("GET", _pattern(path), "app", "", handler) for path, handler in _READS),
)
_IP_ADDRESSES = Route("app", "", workspaces.ip_addresses, needs_key=False)


def find(method: str, path: str) -> Route | None:
    """The route of a request, None for what the API answers with an HTML 404; HEAD is answered like GET."""
    if method == "POST" and path in _SENDS:
        return _SENDS[path]
    method = "GET" if method == "HEAD" else method
    if method == "GET" and path == "/v1/info/ip_addresses":
        return _IP_ADDRESSES
    for wanted, pattern, lane, kind, handler in _TABLE:
        if wanted == method and (match := pattern.match(path)):
            return Route(lane, kind, handler, match.groups())
    return None
