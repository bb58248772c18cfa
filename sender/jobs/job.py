"""A Line is what a source gives; a Job is a line that passed its checks and is ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from sender.jobs.payload import read_payload, traits_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.jobs.kinds import Kind
    from sender.jobs.problem import Problem

Priority = Literal["high", "normal", "low"]
REHEARSAL: Final = "sender_rehearsal"
"""The key in `meta` that marks a job which was sent to another recipient than its own (docs/guard-rails.md)."""

MOST_LINE: Final = 26 * 2**20
"""Bytes of a job line; the API's largest payload is 25 MB (docs/api.md, "Triggering a broadcast")."""


class FilesToRead(Protocol):
    """Files that belong into a job's body, and are read when the job starts."""

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with them as they are now; nothing of them is read."""

    def read_into(self, body: bytes) -> bytes | Problem:
        """The body with the files in it, or why it cannot be made; it blocks."""


class Row(NamedTuple):
    """What is known of a line that was made of a row of a table."""

    columns: Mapping[str, str]
    """The column of each field of the job, by the field's path: `identifiers.id`."""
    id: str | None = None
    """The id of a row that makes no job."""
    problems: tuple[Problem, ...] = ()
    """Why it makes none."""
    files: FilesToRead | None = None


class Line(NamedTuple):
    """One line of an input, as it came, without its line end."""

    source: str
    """The input's name as the user gave it; `-` is stdin."""
    number: int
    """Counted from 1, blank lines included."""
    data: bytes
    """Empty when the line was too long to be held; `fault` then says so."""
    fault: Problem | None = None
    """What was wrong with the line before anyone looked into it (too long, torn)."""
    identity: tuple[str, str] | None = None
    """What identifies a job that names no id: the id to show, and the identity of the message that brought it."""
    priority: Priority = "normal"
    """Of a job that names none."""
    row: Row | None = None
    """Where the line was made of a row; its number then counts the rows."""
    expires_at: float | None = None
    """Unix seconds, of a job that names none."""
    passed: int = 0
    """How many lines this one stands for, all of which an earlier run sent: they are only counted."""


class Job(NamedTuple):
    """A checked job. It holds the body as bytes, never the decoded payload, so that a full lane stays small."""

    id: str
    """The job's own id, or the text of its content hash."""
    key: str
    """Identity within one workspace, 22 characters (see `identity`)."""
    content: str
    """Hash of kind, path ids and canonical payload, 22 characters: tells an edited job from a repeated one."""
    kind: Kind
    path: str
    """The request's path with its ids filled in."""
    body: bytes
    """The payload in the bytes in which it stands in the line."""
    source: str
    line: int
    priority: Priority = "normal"
    workspace: str | None = None
    expires_at: float | None = None
    """Unix seconds after which the job is not started any more."""
    meta: bytes | None = None
    """JSON to be copied to the outcome, at most 1 KB."""
    warnings: tuple[Problem, ...] = ()
    files: FilesToRead | None = None
    """What is read into the body when the job starts."""
    traits: Mapping[str, Any] | None = None
    """See `traits_of`; None where the payload was not looked through, or is large."""

    def recognised_by(self) -> Mapping[str, Any]:
        """The traits, read out of the body where they are not known; none of a job that is no send."""
        if self.kind.lane != "send":
            return {}
        return traits_of(read_payload(self.body), self.body) if self.traits is None else self.traits

    @property
    def path_ids(self) -> tuple[str, ...]:
        """The ids that stand in the path, in its order."""
        return self.kind.ids_in(self.path)


class Invalid(NamedTuple):
    """A line that failed its checks: nothing is requested and it claims no identity."""

    id: str | None
    kind: str | None
    source: str
    line: int
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    meta: bytes | None = None
