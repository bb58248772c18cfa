"""The envelope around a payload (docs/job-format.md), and payloads that come without one."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.jobs.kinds import KINDS, SEND_KINDS, Kind
from sender.jobs.nearest import nearest
from sender.jobs.payload_span import payload_bytes
from sender.validation.fields import ENVELOPE, PATH_IDS
from sender.validation.line import BOM
from sender.validation.times import check_seconds

if TYPE_CHECKING:
    from collections.abc import Container

    from sender.jobs.job import Line, Priority
    from sender.validation.findings import Report

MARKS: Final = ENVELOPE - {"payload"}
"""Keys that no payload of a send kind has: they tell an envelope without a payload from a bare payload."""
USUAL: Final = frozenset({"id", "kind", "payload"})
"""Keys of most envelopes: with no others there is nothing more to look at."""
MOST_ID: Final = 256
MOST_META: Final = 1024
MOST_UNKNOWN: Final = 100
"""Keys that are looked at one by one for a misspelt `payload`."""
EXAMPLE_IDS: Final = {"broadcast_id": 12, "newsletter_id": 7, "transactional_id": 3, "content_id": 9}
EXAMPLE_PAYLOADS: Final = {
    "broadcast": '{"ids": ["1"], "data": {}}',
    "newsletter_schedule": '{"scheduled_at": 1900000000, "timezone": "Europe/Berlin"}',
    "content": '{"body": "<p>…</p>"}',
}


class Envelope(NamedTuple):
    """A line taken apart, before its payload is checked."""

    id: str | None
    kind: Kind | None
    path_ids: tuple[int, ...] = ()
    payload: Any = None
    body: bytes = b""
    priority: Priority = "normal"
    workspace: str | None = None
    expires_at: float | None = None
    meta: bytes | None = None


class Opener:
    """Opens the envelopes of one run."""

    def __init__(self, default_kind: str, workspaces: Container[str] | None) -> None:
        self.default = KINDS[default_kind]
        """The kind of a line that names none."""
        self._workspaces = workspaces

    def open(self, members: dict[str, Any], body: bytes | None, line: Line, report: Report) -> Envelope:
        """The envelope of a line's `members`; `body` are the bytes of its payload, where they are known."""
        if "payload" in members:
            return self._open_envelope(members, body, line, report)
        if MARKS.isdisjoint(members):
            return self._open_bare(members, line, report)
        return self._refuse_mixed(members, report)

    def kind_of(self, members: dict[str, Any]) -> Kind | None:
        """None where a kind is named and does not exist."""
        if "kind" not in members:
            return self.default
        name = members["kind"]
        return KINDS.get(name) if isinstance(name, str) else None

    def _open_bare(self, members: dict[str, Any], line: Line, report: Report) -> Envelope:
        if self.default.name not in SEND_KINDS:
            message = f"a {self.default.name} needs an envelope: {example_of(self.default)}"
            report.problem("bare_kind", None, message)
        body = line.data.removeprefix(BOM).strip()
        return Envelope(
            None, self.default, payload=members, body=body, priority=line.priority, expires_at=line.expires_at
        )

    def _refuse_mixed(self, members: dict[str, Any], report: Report) -> Envelope:
        """Keys of an envelope, and no payload."""
        if any(nearest(name, ("payload",)) for name in islice(members, MOST_UNKNOWN)):
            report.problem("unknown_key", None, "a key is misspelt, is payload meant?")
        elif "kind" in members:
            message = 'there is a kind but no payload; use "payload": {} if it is empty'
            report.problem("missing_payload", "payload", message)
        else:
            name = next(name for name in members if name in MARKS)
            message = f"{name} is a key of the envelope; put the API's own body under the key payload"
            report.problem("envelope_key", name, message)
        return Envelope(read_id(members.get("id")), self.kind_of(members))

    def _open_envelope(self, members: dict[str, Any], body: bytes | None, line: Line, report: Report) -> Envelope:
        usual = USUAL.issuperset(members)
        if not usual and not ENVELOPE.issuperset(members):
            _check_keys(members, report)
        kind = self.kind_of(members)
        if kind is None:
            near = nearest(members["kind"], KINDS) if isinstance(members["kind"], str) else None
            hint = f"is {near} meant?" if near else f"the kinds are {', '.join(KINDS)}"
            report.problem("unknown_kind", "kind", f"there is no such kind; {hint}")
        payload = members["payload"]
        if not isinstance(payload, dict):
            message = "payload must be an object, the API's own body; use {} if it is empty"
            report.problem("wrong_type", "payload", message)
        if body is None:
            body = payload_bytes(line.data) if isinstance(payload, dict) else b""
        job_id = members.get("id")
        if type(job_id) is not str or not 0 < len(job_id) <= MOST_ID:
            job_id = _check_id(members, kind, report, needed=line.identity is None)
        if usual and kind is not None and not kind.path_ids:
            return Envelope(job_id, kind, (), payload, body, line.priority, None, line.expires_at)
        return Envelope(
            job_id,
            kind,
            _check_path_ids(members, kind, report),
            payload,
            body,
            _check_priority(members, report) if "priority" in members else line.priority,
            _check_workspace(members, report, self._workspaces) if "workspace" in members else None,
            _check_expiry(members, report, line.expires_at) if "expires_at" in members else line.expires_at,
            _check_meta(members, report) if "meta" in members else None,
        )


def example_of(kind: Kind) -> str:
    """A whole line of this kind."""
    job_id = '"id": "one-of-its-own", ' if kind.needs_id else ""
    path_ids = "".join(f'"{name}": {EXAMPLE_IDS[name]}, ' for name in kind.path_ids)
    return f'{{{job_id}"kind": "{kind.name}", {path_ids}"payload": {EXAMPLE_PAYLOADS.get(kind.name, "{}")}}}'


def _check_keys(members: dict[str, Any], report: Report) -> None:
    for name in members:
        if name not in ENVELOPE:
            near = nearest(name, ENVELOPE) if report.takes_problems else None
            hint = f"; is {near} meant?" if near else f"; the keys are {', '.join(sorted(ENVELOPE))}"
            report.problem("unknown_key", near, f"the envelope has a key that does not exist{hint}")


def read_id(value: Any) -> str | None:
    """The text of a job's id; None if it is none."""
    text = str(value) if type(value) is int else value
    return text if type(text) is str and 0 < len(text) <= MOST_ID else None


def _check_id(members: dict[str, Any], kind: Kind | None, report: Report, *, needed: bool) -> str | None:
    if "id" not in members:
        if kind is not None and kind.needs_id and needed:
            report.problem("missing_id", "id", f"a {kind.name} needs an id, since sending the same again can be meant")
        return None
    job_id = read_id(members["id"])
    if job_id is None:
        report.problem("bad_id", "id", f"id must be a text of 1 to {MOST_ID} characters, or an integer")
    return job_id


def _check_path_ids(members: dict[str, Any], kind: Kind | None, report: Report) -> tuple[int, ...]:
    wanted = kind.path_ids if kind is not None else ()
    if not wanted and members.keys().isdisjoint(PATH_IDS):
        return ()
    found: list[int] = []
    for name in wanted:
        value = members.get(name)
        if value is None:
            report.problem("missing_path_id", name, f"{name} is missing; it stands in the request's path")
        elif type(value) is not int or value <= 0:
            report.problem("bad_path_id", name, f"{name} must be a positive integer")
        else:
            found.append(value)
    if kind is not None:
        for name in PATH_IDS:
            if name in members and name not in wanted:
                report.problem("unused_path_id", name, f"a job of kind {kind.name} has no {name}")
    return tuple(found)


def _check_priority(members: dict[str, Any], report: Report) -> Priority:
    value = members["priority"]
    if value in ("high", "normal", "low"):
        return value  # type: ignore[no-any-return]
    report.problem("bad_priority", "priority", "priority must be high, normal or low")
    return "normal"


def _check_workspace(members: dict[str, Any], report: Report, known: Container[str] | None) -> str | None:
    value = members.get("workspace")
    if value is None or (type(value) is str and known is not None and value in known):
        return value
    if type(value) is str and 0 < len(value) <= 100 and known is None:
        report.warn("other_workspace", "workspace", "the job names a workspace; it is sent with this run's one key")
        return value
    report.problem("bad_workspace", "workspace", "workspace must be a name from the configuration")
    return None


def _check_expiry(members: dict[str, Any], report: Report, default: float | None) -> float | None:
    value: float | None = members.get("expires_at")
    if value is None:
        return default
    if type(value) in (int, float):
        check_seconds("expires_at", value, report)
        return value
    report.problem("bad_expires_at", "expires_at", "expires_at must be unix seconds")
    return None


def _check_meta(members: dict[str, Any], report: Report) -> bytes | None:
    meta = orjson.dumps(members["meta"])
    if len(meta) > MOST_META:
        report.problem(
            "meta_too_large", "meta", f"meta is {len(meta):,} bytes; {MOST_META:,} are copied to the outcome"
        )
        return None
    return meta
