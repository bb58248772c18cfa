"""FateLists asks the API what became of deliveries: lists of many at once, and single reads for the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sender.engine.api_reader import ReadingFailedError
from sender.follow.news import read_entry
from sender.follow.windows import windows
from sender.jobs.kinds import LIST_TYPES
from sender.runtime.tasks import close_with, end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from sender.engine.api_reader import ApiReader
    from sender.follow.deliveries import Deliveries
    from sender.follow.news import News
    from sender.follow.windows import Window

    Take = Callable[[Sequence[News]], Awaitable[Iterable[str]]]

LISTS: Final = "/v1/messages"
AT_ONCE: Final = 4
"""Lists that are read together: enough to use the rate at a latency of most of a second."""
SINGLES_AT_ONCE: Final = 8
MOST_SINGLES: Final = 300
"""Deliveries that are asked for one by one in one reading: a minute's worth."""
AGAIN: Final = 60.0
"""Seconds that a look reaches back behind the last one and the lists' lag."""
MONTHS: Final = 180 * 86400
"""Seconds over which a list may reach (docs/api.md, "Reading the API")."""


class FateLists:
    """Asks about the deliveries of all runs; `take` gets what it hears, and returns which of them are open still."""

    def __init__(
        self, reader: ApiReader, deliveries: Deliveries, take: Take, lag: float, since: float | None = None
    ) -> None:
        self._reader = reader
        self._deliveries = deliveries
        self._take = take
        self._lag = lag
        self._pages: dict[tuple[int, int], int] = {}
        """How many pages a window's list had when it was last read."""
        self._since = since
        """Unix seconds from which on deliveries are looked for that nobody has named; None where all are named."""
        self._went_back = False
        self._shown: set[str] = set()
        """Deliveries that this reading has shown to be open: they need not be asked for once more."""
        self.failure: str | None = None
        """Why a part of the last reading failed; None where none did."""

    async def read(self, *, whole: bool) -> None:
        """Ask about what is open, or with `whole` about everything: what has arrived may be opened, or come back.

        ReadingRefusedError when the key may not read.
        """
        self.failure = None
        self._shown.clear()
        listed = [window for window in self._windows() if whole or self._many(window)]
        await _together(AT_ONCE, [self._read_window(window) for window in listed])
        if self._since is not None:
            await self._look_for_more(self._since)
        if self._deliveries.undated(1) and not self._went_back:
            await self._read_back()
        rest = self._deliveries.undated(MOST_SINGLES)
        due = self._reader.clock.now() - self._lag
        for window in self._windows():
            if window.open and not self._many(window):
                last = min(window.last, due)
                rest += self._deliveries.open_between(window.first, last, MOST_SINGLES + len(self._shown))
        wanted = [name for name in rest if name not in self._shown][:MOST_SINGLES]
        await _together(SINGLES_AT_ONCE, [self._read_one(name) for name in wanted])

    def _windows(self) -> list[Window]:
        return list(windows(self._deliveries.accepted()))

    def _many(self, window: Window) -> bool:
        return window.is_listed(self._pages.get(window.span))

    async def _read_window(self, window: Window) -> None:
        start, end = window.span
        kinds = self._deliveries.kinds()
        kind = LIST_TYPES.get(kinds[0] or "") if len(kinds) == 1 else None
        pages = 0
        try:
            async for entries in self._reader.pages(LISTS, "messages", type=kind, start_ts=start, end_ts=end):
                pages += 1
                await self._tell(entries)
        except ReadingFailedError as error:
            self.failure = str(error)
        else:
            self._pages[window.span] = pages

    async def _look_for_more(self, since: float) -> None:
        """Everything that the API has sent since the last look: `take` knows what of it is ours."""
        end = int(self._reader.clock.now()) + 1
        start = max(0, int(since), end - MONTHS)
        try:
            async for entries in self._reader.pages(LISTS, "messages", start_ts=start, end_ts=end):
                await self._tell(entries)
        except ReadingFailedError as error:
            self.failure = str(error)
        else:
            self._since = end - self._lag - AGAIN

    async def _read_back(self) -> None:
        """From now back, the newest first, until every delivery has been shown of which nobody told the time."""
        end = int(self._reader.clock.now()) + 1
        try:
            async for entries in self._reader.pages(LISTS, "messages", start_ts=end - MONTHS, end_ts=end):
                await self._tell(entries)
                if not self._deliveries.undated(1):
                    break
        except ReadingFailedError as error:
            self.failure = str(error)
        else:
            self._went_back = True

    async def _read_one(self, delivery_id: str) -> None:
        try:
            document = await self._reader.read(f"{LISTS}/{quote(delivery_id, safe='')}")
        except ReadingFailedError as error:
            if error.status != 404:  # not visible yet
                self.failure = str(error)
            return
        await self._tell([document.get("message")])

    async def _tell(self, entries: Iterable[object]) -> None:
        self._shown.update(await self._take([news for news in map(read_entry, entries) if news is not None]))


async def _together(at_once: int, work: Sequence[Coroutine[None, None, None]]) -> None:
    """Some at once; the first that raises ends the others, and is raised."""
    gate = asyncio.Semaphore(at_once)

    async def guarded(one: Coroutine[None, None, None]) -> None:
        async with gate:
            await one

    tasks = [asyncio.create_task(guarded(one)) for one in work]
    for task, one in zip(tasks, work, strict=True):
        close_with(task, one)
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)
