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
    """Counts refusals of each kind; a closed kind stays closed."""

    def __init__(self, on_close: Callable[[str, str], None] | None = None) -> None:
        self._on_close = on_close
        self.closed: dict[str, str] = {}
        """Kinds of which nothing further is started, and what the API said."""
        self._closed_by: dict[str, int] = {}
        self._same: dict[str, tuple[int, set[str]]] = {}

    def accepted(self, kind: str) -> None:
        """A job of this kind was accepted."""
        self._same.pop(kind, None)

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
