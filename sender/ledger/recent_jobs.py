"""RecentJobs: what the journal of a run knows of its jobs, while the tables do not know it yet."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.ledger.ledger import JobRecord
from sender.ledger.record_detail import error_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.ledger.ledger import FinalRecord, HandOverRecord

LONGEST: Final = 5.0
"""Seconds after which an end is folded into the tables, however few there are."""
LEAST: Final = 64
MOST: Final = 8000
"""Ends that wait to be folded: enough to share pages, few enough for one go."""
MOST_TAKEN_BACK: Final = 8000
"""Hand-overs that were taken back, as in an outage, after which a new journal is begun."""
STEP: Final = 0.01
"""Seconds that folding may take: where it takes longer (a large file on a slow disk) less is folded at a time."""


class Seen(NamedTuple):
    """How one of them stands."""

    handed_over: str | None
    """Its content, while it is handed over."""
    ended: JobRecord | None


class RecentJobs:
    """Kept in the order in which changes are asked for, as the ledger's thread works them off."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._held: dict[str, HandOverRecord] = {}
        self._ended: dict[str, JobRecord] = {}
        self._taken_back = 0
        self._since = 0.0
        """Monotonic seconds of the first end that is not folded."""
        self._most = MOST

    @property
    def pending(self) -> bool:
        """Whether there is anything that the tables do not know."""
        return bool(self._held or self._ended)

    @property
    def due(self) -> bool:
        """Whether the journal is to be folded."""
        waiting = len(self._ended)
        if waiting >= self._most or self._taken_back >= MOST_TAKEN_BACK:
            return True
        return waiting > 0 and monotonic() - self._since > LONGEST

    @property
    def held(self) -> list[HandOverRecord]:
        """The jobs that are handed over."""
        return list(self._held.values())

    def hand_over(self, records: Sequence[HandOverRecord]) -> None:
        """See `Ledger.hand_over`."""
        self._held.update((record.key, record) for record in records)

    def release(self, keys: Sequence[str]) -> None:
        """See `Ledger.release`."""
        self._taken_back += len(keys)
        for key in keys:
            self._held.pop(key, None)

    def finish(self, records: Sequence[FinalRecord]) -> None:
        """See `Ledger.finish`."""
        if not self._ended:
            self._since = monotonic()
        for record in records:
            self._held.pop(record.key, None)
            self._ended[record.key] = JobRecord(
                record.state, record.content, self._run, record.resendable, result=record.result,
                error=error_of(record.detail),
            )

    def find(self, keys: Sequence[str]) -> dict[str, Seen]:
        """Those of these jobs that are known here."""
        held, ended = self._held, self._ended
        return {
            key: Seen(held[key].content if key in held else None, ended.get(key))
            for key in keys if key in held or key in ended
        }

    def folded(self) -> None:
        """The tables know of all ends."""
        self._ended.clear()
        self._taken_back = 0

    def took(self, seconds: float) -> None:
        """Folding took so long."""
        self._most = max(LEAST, self._most // 2) if seconds > STEP else min(MOST, self._most * 2)
