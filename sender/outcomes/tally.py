"""The Tally counts lines as they are taken up, and knows when a run has started as many jobs as it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sender.jobs.job import Job
    from sender.jobs.status import Status
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.summary import Books


class Tally:
    """What the intakes of all lanes count together."""

    def __init__(self, books: Books, limit: int | None = None) -> None:
        self._books = books
        self._left = limit
        self.doubts: dict[str, Counted] = {}
        """Identities that this run counts as in doubt."""

    @property
    def read(self) -> int:
        """Lines taken up, blank ones not counted."""
        return self._books.read

    @read.setter
    def read(self, value: int) -> None:
        self._books.read = value

    @property
    def full(self) -> bool:
        """Whether `--limit` jobs have been taken on."""
        return self._left is not None and self._left <= 0

    def most(self, total: int | None) -> int | None:
        """How many of the input's lines this run can come to, within its limit."""
        if total is None or self._left is None:
            return total
        return min(total, self._books.read + self._left)

    def take_one(self) -> None:
        """A job was taken on."""
        if self._left is not None:
            self._left -= 1

    def known(self, job: Job, record: JobRecord) -> None:
        """A job that an earlier run ended: only counted, as a duplicate if it was sent."""
        key, state = job.key, record.state
        status: Status = "duplicate" if state == "sent" else "in_doubt" if state == "handed_over" else state
        self._books.count(status)
        self._books.sent_before += state == "sent"
        if status == "in_doubt":
            self.doubts[key] = Counted(self.doubts.get(key, Counted()).lines + 1)

    def passed_over(self, lines: int) -> None:
        """Lines whose jobs an earlier run sent, counted as `known` counts each."""
        self._books.read += lines
        self._books.count("duplicate", lines)
        self._books.sent_before += lines

    def ended(self, key: str | None, outcome: Outcome) -> None:
        """A line ended and its outcome is on disk; a doubt that was tried again has changed its fate."""
        before = self.doubts.get(key or "")
        if before is None:
            self._books.enter(outcome)
        else:
            self._move(before, outcome)
        if outcome.status == "in_doubt" and key is not None:
            self.doubts[key] = Counted(before.lines if before else 1, outcome.attempts)
        else:
            self.doubts.pop(key or "", None)

    def settled(self, key: str, outcome: Outcome) -> None:
        """A job that ended before has changed its fate; counts only if it was read in this run."""
        before = self.doubts.pop(key, None)
        if before is not None:
            self._books.move("in_doubt", outcome.status, before.lines)
        if outcome.status == "sent" and outcome.problems:
            self._books.warnings["broadcast_error"] += 1

    def _move(self, before: Counted, outcome: Outcome) -> None:
        if outcome.status != "in_doubt":
            self._books.move("in_doubt", outcome.status, before.lines)
        self._books.attempts += max(0, outcome.attempts - before.attempts)


class Counted(NamedTuple):
    """How a job in doubt stands in the books."""

    lines: int = 0
    attempts: int = 0
