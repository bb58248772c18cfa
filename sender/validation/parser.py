"""From a line to a Job, or to what is wrong with it (docs/job-format.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.jobs.identity import content_of, key_of_content, key_of_id
from sender.jobs.job import Invalid, Job, Line
from sender.jobs.kinds import KINDS, SEND_KINDS, Kind
from sender.jobs.nearest import nearest
from sender.jobs.payload_span import payload_bytes, take_apart
from sender.jobs.problem import Problem
from sender.validation import Options, check
from sender.validation.report import Report

if TYPE_CHECKING:
    from collections.abc import Container

    from sender.jobs.job import Priority
    from sender.jobs.kinds import LaneName

PATH_IDS: Final = ("broadcast_id", "newsletter_id", "transactional_id", "content_id")
ENVELOPE: Final = frozenset({"id", "kind", "payload", "priority", "workspace", "expires_at", "meta", *PATH_IDS})
MARKS: Final = ENVELOPE - {"payload"}
"""Keys that no payload of a send kind has: they tell an envelope without a payload from a bare payload."""
MOST_ID: Final = 256
MOST_META: Final = 1024
BOM: Final = b"\xef\xbb\xbf"


class Envelope(NamedTuple):
    """A line taken apart, before its payload is checked."""

    id: str | None
    kind: Kind | None
    path_ids: tuple[int, ...]
    payload: Any
    body: bytes
    priority: Priority
    workspace: str | None
    expires_at: float | None
    meta: bytes | None


class Parser:
    """Parses the lines of one run."""

    def __init__(
        self, default_kind: str = "email", options: Options | None = None, workspaces: Container[str] | None = None
    ) -> None:
        self._default = KINDS[default_kind]
        self._options = options or Options()
        self._workspaces = workspaces
        """Names that a job may give; None where a run has one key and takes no notice."""

    def lane_of(self, data: bytes) -> LaneName:
        """The lane of a raw line; one that cannot be read belongs to the default kind's."""
        if self._default.lane == "send" and not _may_name_another_lane(data):
            return "send"
        try:
            document = orjson.loads(data.removeprefix(BOM))
        except orjson.JSONDecodeError:
            return self._default.lane
        kind = document.get("kind") if isinstance(document, dict) else None
        known = KINDS.get(kind) if isinstance(kind, str) else None
        return known.lane if known is not None else self._default.lane

    def parse(self, line: Line, now: float) -> Job | Invalid:
        """The line's job; `now` is unix time. Never raises, whatever stands in the line."""
        try:
            return self._parse(line, now)
        except (orjson.JSONEncodeError, RecursionError):
            deep = Problem("too_deep", None, "the line nests too deep; about 250 levels are taken")
            return Invalid(None, None, line.source, line.number, (deep,))

    def _parse(self, line: Line, now: float) -> Job | Invalid:
        if line.fault is not None:
            return Invalid(None, None, line.source, line.number, (line.fault,))
        document, body = take_apart(line.data) or (_decode(line.data), None)
        if isinstance(document, Problem):
            return Invalid(None, None, line.source, line.number, (document,))
        report = Report()
        envelope = self._open(document, body, line, report)
        if envelope.kind is not None and isinstance(envelope.payload, dict) and envelope.body:
            problems, warnings = check(envelope.kind, envelope.payload, len(envelope.body), now, self._options)
        else:
            problems, warnings = (), ()
        found = report.findings()
        problems, warnings = (*found.problems, *problems), (*found.warnings, *warnings)
        if problems:
            kind = envelope.kind.name if envelope.kind else None
            return Invalid(envelope.id, kind, line.source, line.number, problems, warnings, envelope.meta)
        if envelope.expires_at is not None and envelope.expires_at < now:
            late = Problem(
                "expired", "expires_at", "the job's time was over before it could start; it was not requested"
            )
            return Invalid(envelope.id, None if envelope.kind is None else envelope.kind.name, line.source, line.number,
                           (late,), warnings, envelope.meta)  # fmt: skip
        return _job(envelope, line, warnings)

    def key_of(self, data: bytes) -> str | None:
        """The identity of a line that names its job's id, without any check; None for every other line."""
        try:
            document = orjson.loads(data.removeprefix(BOM))
        except orjson.JSONDecodeError:
            return None
        if not isinstance(document, dict) or "payload" not in document:
            return None
        job_id, workspace = _read_id(document.get("id")), document.get("workspace")
        return None if job_id is None else key_of_id(workspace if isinstance(workspace, str) else None, job_id)

    def _open(self, document: dict[str, Any], body: bytes | None, line: Line, report: Report) -> Envelope:
        if "payload" in document:
            return self._open_envelope(document, body, line, report)
        if MARKS.isdisjoint(document):
            return self._open_bare(document, line, report)
        return self._refuse_mixed(document, report)

    def _open_bare(self, document: dict[str, Any], line: Line, report: Report) -> Envelope:
        kind = self._default
        if kind.name not in SEND_KINDS:
            report.problem(
                "bare_kind", None, f'a {kind.name} needs an envelope: {{"kind": "{kind.name}", "payload": …}}'
            )
        return Envelope(None, kind, (), document, line.data.removeprefix(BOM).strip(), line.priority, None, None, None)

    def _refuse_mixed(self, document: dict[str, Any], report: Report) -> Envelope:
        """Keys of an envelope, and no payload."""
        if "kind" in document:
            report.problem(
                "missing_payload", "payload", 'there is a kind but no payload; use "payload": {} if it is empty'
            )
        else:
            name = next(name for name in document if name in MARKS)
            report.problem(
                "envelope_key", name, f"{name} is a key of the envelope; put the API's own body under the key payload"
            )
        for name in document:
            near = nearest(name, ("payload",))
            if near:
                report.problem("unknown_key", None, "a key is misspelt, is payload meant?")
        job_id = _read_id(document.get("id"))
        return Envelope(job_id, self._kind_of(document), (), None, b"", "normal", None, None, None)

    def _open_envelope(self, document: dict[str, Any], body: bytes | None, line: Line, report: Report) -> Envelope:
        for name in document:
            if name not in ENVELOPE:
                near = nearest(name, ENVELOPE)
                hint = f"; is {near} meant?" if near else f"; the keys are {', '.join(sorted(ENVELOPE))}"
                report.problem("unknown_key", near, f"the envelope has a key that does not exist{hint}")
        kind = self._kind_of(document)
        if kind is None:
            near = nearest(document["kind"], KINDS) if isinstance(document["kind"], str) else None
            hint = f"is {near} meant?" if near else f"the kinds are {', '.join(KINDS)}"
            report.problem("unknown_kind", "kind", f"there is no such kind; {hint}")
        payload = document["payload"]
        if not isinstance(payload, dict):
            report.problem(
                "wrong_type", "payload", "payload must be an object, the API's own body; use {} if it is empty"
            )
        if body is None:
            body = payload_bytes(line.data) if isinstance(payload, dict) else b""
        return Envelope(
            _check_id(document, kind, report, needed=line.identity is None),
            kind,
            _check_path_ids(document, kind, report),
            payload,
            body,
            _check_priority(document, report, line.priority),
            _check_workspace(document, report, self._workspaces),
            _check_expiry(document, report),
            _check_meta(document, report),
        )

    def _kind_of(self, document: dict[str, Any]) -> Kind | None:
        if "kind" not in document:
            return self._default
        name = document["kind"]
        return KINDS.get(name) if isinstance(name, str) else None


def _may_name_another_lane(data: bytes) -> bool:
    return b"broadcast" in data or b"newsletter" in data or b"content" in data or b"\\u" in data


def is_blank(data: bytes) -> bool:
    """Whether a line holds nothing but white space."""
    return not data or data.isspace()


def _decode(data: bytes) -> dict[str, Any] | Problem:
    data = data.removeprefix(BOM)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _why_not_json(data, str(error))
    if isinstance(document, dict):
        return document
    return Problem("not_an_object", None, "the line is JSON but not an object; write one object per line")


def _why_not_json(data: bytes, reason: str) -> Problem:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return Problem("invalid_utf8", None, f"the line is not UTF-8 (at byte {error.start}); save the file as UTF-8")
    if "depth limit" in reason:
        return Problem("too_deep", None, "the line nests too deep; about 250 levels are taken")
    place = reason.rpartition(": ")[2] if ": line" in reason else "its end"
    if not data.rstrip().endswith(b"}"):
        return Problem("invalid_json", None, f"the line is not JSON ({place}); it seems to be torn")
    return Problem("invalid_json", None, f"the line is not JSON ({place}); write one object per line")


def _job(envelope: Envelope, line: Line, warnings: tuple[Problem, ...]) -> Job:
    kind = envelope.kind
    assert kind is not None  # noqa: S101 - an unknown kind is a problem, and problems make no job
    content = content_of(kind.name, envelope.path_ids, envelope.payload, envelope.body)
    shown = envelope.id
    if shown is not None:
        key = key_of_id(envelope.workspace, shown)
    elif line.identity is not None:
        shown, text = line.identity
        key = key_of_id(envelope.workspace, text)
    else:
        shown = key = key_of_content(envelope.workspace, content)
    path = kind.path.format(**dict(zip(kind.path_ids, envelope.path_ids, strict=True))) if kind.path_ids else kind.path
    return Job(
        shown,
        key,
        content,
        kind,
        path,
        envelope.body,
        line.source,
        line.number,
        envelope.priority,
        envelope.workspace,
        envelope.expires_at,
        envelope.meta,
        warnings,
    )


def _read_id(value: Any) -> str | None:
    if type(value) is str and 0 < len(value) <= MOST_ID:
        return value
    return str(value) if type(value) is int else None


def _check_id(document: dict[str, Any], kind: Kind | None, report: Report, *, needed: bool) -> str | None:
    if "id" not in document:
        if kind is not None and kind.needs_id and needed:
            report.problem("missing_id", "id", f"a {kind.name} needs an id, since sending the same again can be meant")
        return None
    job_id = _read_id(document["id"])
    if job_id is None:
        report.problem("bad_id", "id", f"id must be a text of 1 to {MOST_ID} characters, or an integer")
    return job_id


def _check_path_ids(document: dict[str, Any], kind: Kind | None, report: Report) -> tuple[int, ...]:
    wanted = kind.path_ids if kind is not None else ()
    found: list[int] = []
    for name in wanted:
        value = document.get(name)
        if value is None:
            report.problem("missing_path_id", name, f"{name} is missing; it stands in the request's path")
        elif type(value) is not int or value <= 0:
            report.problem("bad_path_id", name, f"{name} must be a positive integer")
        else:
            found.append(value)
    if kind is not None:
        for name in PATH_IDS:
            if name in document and name not in wanted:
                report.problem("unused_path_id", name, f"a job of kind {kind.name} has no {name}")
    return tuple(found)


def _check_priority(document: dict[str, Any], report: Report, default: Priority) -> Priority:
    value = document.get("priority", default)
    if value in ("high", "normal", "low"):
        return value  # type: ignore[no-any-return]
    report.problem("bad_priority", "priority", "priority must be high, normal or low")
    return "normal"


def _check_workspace(document: dict[str, Any], report: Report, known: Container[str] | None) -> str | None:
    value = document.get("workspace")
    if value is None or (type(value) is str and known is not None and value in known):
        return value
    if type(value) is str and 0 < len(value) <= 100 and known is None:
        report.warn("other_workspace", "workspace", "the job names a workspace; it is sent with this run's one key")
        return value
    report.problem("bad_workspace", "workspace", "workspace must be a name from the configuration")
    return None


def _check_expiry(document: dict[str, Any], report: Report) -> float | None:
    value = document.get("expires_at")
    if value is None or type(value) in (int, float):
        return value
    report.problem("bad_expires_at", "expires_at", "expires_at must be unix seconds")
    return None


def _check_meta(document: dict[str, Any], report: Report) -> bytes | None:
    if "meta" not in document:
        return None
    meta = orjson.dumps(document["meta"])
    if len(meta) > MOST_META:
        report.problem(
            "meta_too_large", "meta", f"meta is {len(meta):,} bytes; {MOST_META:,} are copied to the outcome"
        )
        return None
    return meta
