"""Readings of the API for groups of jobs in doubt, a few at once; where it cannot be read the doubt stays."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sender.doubts.resolution import stays_open
from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.resolution import Resolution

AT_ONCE: Final = 8
"""Readings under way together: enough to use the rate at a latency of most of a second."""
REFUSED: Final = "the key may not read (401 or 403), so nothing could be looked up"


async def read_each(
    groups: Iterable[list[DoubtfulJob]], read: Callable[[list[DoubtfulJob]], Awaitable[Sequence[Resolution]]]
) -> list[Resolution]:
    """What `read` says of each group; every job of a group that could not be read stays open."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def guarded(group: list[DoubtfulJob]) -> Sequence[Resolution]:
        async with gate:
            try:
                return await read(group)
            except ReadingRefusedError:
                return [stays_open(one, REFUSED) for one in group]
            except ReadingFailedError as error:
                return [stays_open(one, f"the API could not be read: {error}") for one in group]

    return [one for resolutions in await asyncio.gather(*map(guarded, groups)) for one in resolutions]


def grouped(
    doubtful_jobs: Iterable[DoubtfulJob], by: Callable[[DoubtfulJob], Hashable]
) -> list[list[DoubtfulJob]]:
    """The jobs in groups of one value each."""
    groups: dict[Hashable, list[DoubtfulJob]] = defaultdict(list)
    for one in doubtful_jobs:
        groups[by(one)].append(one)
    return list(groups.values())
