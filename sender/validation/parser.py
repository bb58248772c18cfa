"""From a line to a Job, or to what is wrong with it (docs/job-format.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.jobs.identity import canonical, content_of, key_of_content, key_of_id, key_of_message
from sender.jobs.job import Invalid, Job, Line
from sender.jobs.kinds import KINDS
from sender.jobs.payload import MOST_READ, mend, read_exactly, traits_of
from sender.jobs.problem import Problem
from sender.validation.check import CHECKS
from sender.validation.check_options import DEFAULT, Options
from sender.validation.envelope import Envelope, Opener, read_id
from sender.validation.field_types import is_ours
from sender.validation.findings import Report
from sender.validation.line import BOM, TOO_DEEP, Document, read_line
from sender.validation.plain_line import plain_job
from sender.validation.repeated_keys import is_plain, may_repeat_keys, repeated_keys
from sender.validation.rows import of_row

if TYPE_CHECKING:
    from collections.abc import Container

    from sender.jobs.kinds import LaneName

_OTHER_LANE: Final = re.compile(
    rb'"kind"[ \t\r\n]*:[ \t\r\n]*"(?:%b)"' % b"|".join(
        kind.name.encode() for kind in KINDS.values() if kind.lane != "send"
    )
)


class Parser:
    """Parses the lines of one run."""

    def __init__(
        self, default_kind: str = "email", options: Options | None = None, workspaces: Container[str] | None = None
    ) -> None:
        """`workspaces` are the names that a job may give; None where a run has one key and takes no notice."""
        self._opener = Opener(default_kind, workspaces)
        self._options = options or DEFAULT

    def lane_of(self, data: bytes) -> LaneName:
        """The lane of a raw line; one that cannot be read belongs to the default kind's."""
        default = self._opener.default
        if default.lane == "send" and not _may_name_another_lane(data):
            return "send"
        document = read_line(data)
        kind = None if isinstance(document, Problem) else document.members.get("kind")
        known = KINDS.get(kind) if isinstance(kind, str) else None
        return known.lane if known is not None else default.lane

    def key_of(self, data: bytes) -> str | None:
        """The identity of a line that names its job's id, without any check; None for every other line."""
        document = read_line(data)
        if isinstance(document, Problem) or "payload" not in document.members:
            return None
        members = document.members
        if type(members.get("id")) is float:
            members = read_exactly(data.removeprefix(BOM)) or members
        job_id, workspace = read_id(members.get("id")), members.get("workspace")
        return None if job_id is None else key_of_id(workspace if isinstance(workspace, str) else None, job_id)

    def parse(self, line: Line, now: float) -> Job | Invalid:
        """The line's job; `now` is unix time. Never raises, whatever stands in the line."""
        try:
            found = self._parse(line, now)
        except (orjson.JSONEncodeError, RecursionError):
            return _unreadable(line, TOO_DEEP)
        return found if line.row is None else of_row(found, line.row)

    def _parse(self, line: Line, now: float) -> Job | Invalid:
        if line.fault is not None:
            return _unreadable(line, line.fault)
        if line.row is not None and line.row.problems:
            return Invalid(line.row.id, None, line.source, line.number, line.row.problems)
        document = read_line(line.data)
        if isinstance(document, Problem):
            return _unreadable(line, document)
        if line.row is None and line.expires_at is None and (job := plain_job(line, document)) is not None:
            return job
        found = self._judge(line, document, document.members, now)
        if isinstance(found, Invalid) and (exact := read_exactly(line.data.removeprefix(BOM))) is not None:
            return self._judge(line, document, exact, now)
        return found

    def _judge(self, line: Line, document: Document, members: dict[str, Any], now: float) -> Job | Invalid:
        """Check the line's `members`, which may hold longer integers than those of the document."""
        report = Report()
        envelope = self._opener.open(members, document.body, line, report)
        if document.halves:
            _tell_halves(document.halves, envelope.body, report)
        if envelope.kind is not None and isinstance(envelope.payload, dict) and envelope.body:
            CHECKS[envelope.kind.name](envelope.payload, envelope.body, report, now, self._options)
        if envelope.expires_at is not None and envelope.expires_at < now and not report.has_problems:
            message = "the job's time was over before it could start; it was not requested"
            report.problem("expired", "expires_at", message)
        if report.has_problems:
            kind = None if envelope.kind is None else envelope.kind.name
            return Invalid(envelope.id, kind, line.source, line.number, *report.findings(), envelope.meta)
        return _job(envelope, document, line, report)


def _unreadable(line: Line, problem: Problem) -> Invalid:
    return Invalid(None, None, line.source, line.number, (problem,))


def _may_name_another_lane(data: bytes) -> bool:
    """Whether a kind of another lane than `send` stands there, or letters that are written by their numbers."""
    return _OTHER_LANE.search(data) is not None or (b"\\" in data and b"\\u" in data)


def _tell_halves(halves: tuple[int, ...], body: bytes, report: Report) -> None:
    """The API puts U+FFFD for each; ids and meta are ours, and have to be readable by everybody."""
    what = f"half an emoji (a surrogate without its other half) stands at byte {halves[0]} of the line"
    if len(mend(body).halves) < len(halves):
        report.problem("invalid_json", None, f"{what}, outside of the payload; write the whole character")
    else:
        more = f"; there are {len(halves) - 1:,} more" if len(halves) > 1 else ""
        report.warn("half_character", None, f"{what}; readers see \N{REPLACEMENT CHARACTER} in its place{more}")


def _job(envelope: Envelope, document: Document, line: Line, report: Report) -> Job:
    kind = envelope.kind
    assert kind is not None  # noqa: S101 - an unknown kind is a problem, and problems make no job
    members, body = document.members, envelope.body
    payload = members.get("payload", members)
    text, whole = canonical(payload, mend(body).data if document.halves else body)
    content = content_of(kind.name, envelope.path_ids, text)
    if not (whole and is_plain(line.data, members, document.body)):
        _check_keys(members, text, line.data, report)
    shown = envelope.id
    if shown is not None:
        key = key_of_id(envelope.workspace, shown)
    elif line.identity is not None:
        shown, message = line.identity
        key = key_of_message(envelope.workspace, message)
    else:
        shown = key = key_of_content(envelope.workspace, content)
    path = kind.path.format(**dict(zip(kind.path_ids, envelope.path_ids, strict=True))) if kind.path_ids else kind.path
    return Job(
        shown,
        key,
        content,
        kind,
        path,
        body,
        line.source,
        line.number,
        envelope.priority,
        envelope.workspace,
        envelope.expires_at,
        envelope.meta,
        report.findings().warnings if report.has_warnings else (),
        None,
        traits_of(payload, body) if len(body) <= MOST_READ and kind.lane == "send" else None,
    )


def _check_keys(members: dict[str, Any], canonical: bytes, data: bytes, report: Report) -> None:
    """Warn of keys that stand twice; the line is read anew only if its number of keys is not what was understood."""
    if not may_repeat_keys(data, members, canonical):
        return
    repeated = repeated_keys(data.removeprefix(BOM))
    others = [name for name in repeated if not is_ours(name)]
    for name in repeated:
        if is_ours(name):
            report.warn("duplicate_key", name, f"{name} stands twice in one object; the API takes the last one")
    if others:
        message = f"{len(others):,} names of your own stand twice in one object; the API takes the last one"
        report.warn("duplicate_key", None, message)
