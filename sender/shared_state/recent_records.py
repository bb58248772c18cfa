"""The RecentRecords of a replica: what a server that was killed may have forgotten, and is told again."""

from __future__ import annotations

from collections import deque
from time import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sender.ledger import FinalRecord, HandOverRecord, JobRecord, Ledger

FORGETTABLE: Final = 60.0
"""Seconds that a server may forget: 2 with appendfsync everysec, or those by which a promoted replica lagged."""
MOST: Final = 20_000
"""Ends that are remembered, at most."""


class RecentRecords:
    """Every job that this replica has handed over and not finished, and those that it has just finished."""

    def __init__(self) -> None:
        self._in_flight: dict[str, HandOverRecord] = {}
        self._finished: deque[tuple[float, FinalRecord]] = deque()

    def handed_over(self, record: HandOverRecord) -> None:
        """This job is this replica's now."""
        self._in_flight[record.key] = record

    def released(self, keys: Iterable[str]) -> None:
        """These are nobody's again."""
        for key in keys:
            self._in_flight.pop(key, None)

    def finished(self, records: Sequence[FinalRecord]) -> None:
        """These have just ended."""
        now = time()
        self.released(record.key for record in records)
        self._finished.extend((now, record) for record in records)
        while self._finished and (self._finished[0][0] < now - FORGETTABLE or len(self._finished) > MOST):
            self._finished.popleft()

    def clear(self) -> None:
        """The state began anew."""
        self._in_flight.clear()
        self._finished.clear()

    async def tell_again(self, ledger: Ledger) -> bool:
        """Bring a restarted server to what it may have forgotten; whether it had forgotten anything."""
        in_flight, finished = list(self._in_flight.values()), [record for _, record in self._finished]
        known = await ledger.find([one.key for one in in_flight] + [one.key for one in finished])
        lost = [record for record in in_flight if record.key not in known and record.key in self._in_flight]
        await ledger.hand_over(lost)
        stale = [record for record in finished if _is_stale(known.get(record.key), ledger.run)]
        await ledger.finish(stale)
        await ledger.release([record.key for record in lost if record.key not in self._in_flight])
        return bool(lost or stale)


def _is_stale(known: JobRecord | None, run: int) -> bool:
    return known is None or (known.state == "handed_over" and known.run == run)
