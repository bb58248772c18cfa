"""OtherLedgers: what the ledgers of this user's other runs know of deliveries, and what is in doubt there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sender.doubts.doubted_attempts import NOTE, read_note
from sender.doubts.doubtful_job import DoubtfulJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sender.engine.api_clock import ApiClock
    from sender.ledger.ledger import Doubt, Ledger


IN_FLIGHT: Final = 120.0
"""Seconds within which the answer to every request is recorded."""


class OtherLedger(Protocol):
    """One of them, of the same API and workspace; used in one thread at a time."""

    def doubts(self) -> Iterable[Doubt]:
        """Every job that is in doubt there, or handed over."""

    def known_results(self, results: Sequence[str]) -> set[str]:
        """Which of these delivery ids belong to its jobs."""

    def fact(self, name: str) -> str | None:
        """One of its notes."""

    def close(self) -> None:
        """Let go of its file."""


class OtherLedgers:
    """Made for one pass over the jobs in doubt."""

    def __init__(self, own: Ledger, others: Sequence[OtherLedger]) -> None:
        self._own = own
        self._others = others
        self._in_flight = 0

    @classmethod
    async def open(cls, own: Ledger, find: Callable[[], Sequence[OtherLedger]]) -> OtherLedgers:
        """Those that are there now."""
        return cls(own, await asyncio.to_thread(find))

    async def attempts(self, own: Sequence[DoubtfulJob], clock: ApiClock) -> list[DoubtfulJob]:
        """All that were in doubt there, but for those that our own ledger has taken over.

        Each is another job's, even where it has the same identity as one of ours.
        """
        ours = {(one.key, one.begun) for one in own}
        found: list[DoubtfulJob] = []
        for number, other in enumerate(self._others):
            doubts = [(doubt.state, DoubtfulJob.of(doubt, clock)) for doubt in await _doubts_of(other)]
            alive = clock.wall() - IN_FLIGHT
            self._in_flight += sum(state == "handed_over" and one.begun > alive for state, one in doubts)
            note = read_note(_bytes(await asyncio.to_thread(other.fact, NOTE)), clock)
            attempts = [*(one for _, one in doubts), *note.unbound.values()]
            found += [
                replace(one, key=f"{number}:{one.key}") for one in attempts if (one.key, one.begun) not in ours
            ]
        return found

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """Which of these delivery ids belong to a job, here or there."""
        known = await self._own.known_results(results)
        for other in self._others:
            known |= await asyncio.to_thread(other.known_results, results)
        return known

    async def in_flight(self) -> bool:
        """Whether a job may wait for its answer, here or there; asked after `attempts`."""
        return bool(self._in_flight or (await self._own.count()).get("handed_over", 0))

    def close(self) -> None:
        """Let go of their files."""
        for other in self._others:
            other.close()


async def _doubts_of(other: OtherLedger) -> list[Doubt]:
    return await asyncio.to_thread(lambda: list(other.doubts()))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
