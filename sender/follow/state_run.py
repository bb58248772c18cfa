"""A StateRun is what the replicas of a shared state have sent: the state says of a delivery whether it is theirs.

It is asked about deliveries that the API tells of, in lists or webhooks; nobody has to name them all before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sender.follow.delivery import Delivery

COUNT_EVERY: Final = 5.0
"""Seconds for which a count of the state's is good."""


class SentJobs(Protocol):
    """What is asked of the state's ledger."""

    @property
    def born(self) -> float:
        """Unix seconds at which the state began."""

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """Those of these delivery ids that its jobs were sent with."""

    async def count(self) -> Mapping[str, int]:
        """Jobs by their state."""


class StateRun:
    """The sends of a shared state; a `FollowedRun`."""

    unnamed = 0

    def __init__(self, jobs: SentJobs, deliveries: Path) -> None:
        self.deliveries = deliveries
        self._jobs = jobs
        self._counted_at = float("-inf")
        self.sent = 0
        """Jobs that stand as sent in the state, of other kinds too."""

    @property
    def since(self) -> float | None:
        """See `FollowedRun.since`: when the state began."""
        return self._jobs.born

    @property
    def grows(self) -> bool:
        """See `FollowedRun.grows`: where nothing was sent yet, there is still all to come."""
        return not self.sent

    def read(self) -> list[Delivery]:
        """See `FollowedRun.read`: none is named before the API tells of it."""
        return []

    async def known(self, ids: Iterable[str]) -> set[str]:
        """See `FollowedRun.known`."""
        wanted = list(ids)
        return await self._jobs.known_results(wanted) if wanted else set()

    async def count(self) -> int:
        """See `FollowedRun.count`."""
        now = asyncio.get_running_loop().time()
        if now - self._counted_at >= COUNT_EVERY:
            self._counted_at = now
            self.sent = (await self._jobs.count()).get("sent", 0)
        return self.sent
