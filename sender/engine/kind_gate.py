"""The KindGate of a session: kinds of job that the API does not take from this key, whatever the job. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.jobs.job import Job

SAME_IN_A_ROW: Final = 20
"""Refusals with one status, for different persons and nothing accepted between, after which a kind is closed."""


class KindGate:
    """Counts refusals of each kind; a closed kind stays closed until a job of it that was let through is accepted."""

    def __init__(
        self, on_close: Callable[[str, str], None] | None = None, on_open: Callable[[str], None] | None = None
    ) -> None:
        self._on_close = on_close
        self._on_open = on_open
        self.closed: dict[str, str] = {}
        """Kinds of which nothing further is started, and what the API said."""
        self._closed_by: dict[str, int] = {}
        self._same: dict[str, tuple[int, set[str]]] = {}
        self._trials: set[str] = set()
        """Closed kinds of which one job may be tried."""
        self._tried: set[str] = set()
        """Closed kinds of which one was."""

    def accepted(self, kind: str) -> None:
        """A job of this kind was accepted; a closed one of which a job was let through is open again."""
        self._same.pop(kind, None)
        if kind in self._tried:
            self._tried.discard(kind)
            self._trials.discard(kind)
            del self.closed[kind], self._closed_by[kind]
            if self._on_open is not None:
                self._on_open(kind)

    def let_one_through(self) -> None:
        """Have one job of each closed kind tried: what the API said may hold no longer."""
        self._trials.update(self.closed)

    @property
    def shut(self) -> dict[str, str]:
        """Kinds of which not even one job may be tried, and what the API said."""
        return {kind: said for kind, said in self.closed.items() if kind not in self._trials}

    def may_start(self, kind: str) -> bool:
        """Whether a job of this kind may be requested now; the trial of a closed kind is taken with that."""
        if kind not in self.closed:
            return True
        if kind not in self._trials:
            return False
        self._trials.discard(kind)
        self._tried.add(kind)
        return True

    def refused(self, kind: str, status: int, person: str, said: str) -> None:
        """The API said so to a job for this person; closes the kind when it says the same to everybody."""
        before, persons = self._same.get(kind, (status, set()))
        if before != status:
            persons = set()
        persons.add(person)
        self._same[kind] = status, persons
        if len(persons) >= SAME_IN_A_ROW:
            self.close(kind, status, f"{said}, to {len(persons)} jobs in a row")

    def close(self, kind: str, status: int, said: str) -> None:
        """Start nothing further of this kind."""
        if kind not in self.closed:
            self.closed[kind] = said
            self._closed_by[kind] = status
            if self._on_close is not None:
                self._on_close(kind, said)

    def was_closed_by(self, kind: str | None, status: int | None) -> bool:
        """Whether the kind is closed because of this status: a job that gets it as well is not at fault."""
        return status is not None and self._closed_by.get(kind or "") == status


def person_of(job: Job) -> str:
    """For whom a job is, as far as it says; a job for nobody counts for itself."""
    try:
        payload = orjson.loads(job.body) if job.kind.lane == "send" else None
    except orjson.JSONDecodeError:
        payload = None
    person = (payload.get("identifiers") or payload.get("to")) if isinstance(payload, dict) else None
    return repr(person) if person else job.key
