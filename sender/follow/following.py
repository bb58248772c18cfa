"""Following is the work on the deliveries of some runs: news come in, are made durable, and then they are counted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.follow.deliveries import Deliveries
from sender.follow.delivery import Delivery, delivery_of, read_line
from sender.follow.delivery_log import DeliveryLog, read_deliveries
from sender.follow.waiting_news import WaitingNews

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from sender.follow.books import FateBooks
    from sender.follow.followed_run import FollowedRun
    from sender.follow.news import News

LATELY: Final = 60.0
"""Seconds for which it is asked again and again whether a delivery is ours after all."""
RESTORED: Final = 2000
"""Lines of an earlier run that are taken up in one go."""


class Following:
    """Opened over runs; closed by `close`."""

    def __init__(self, runs: Sequence[FollowedRun]) -> None:
        self._runs = runs
        self._deliveries = Deliveries()
        self._logs: list[DeliveryLog] = []
        self._writing = asyncio.Lock()
        self._waiting: WaitingNews | None = None
        self._kept: dict[str, float] = {}
        """Deliveries of which news was kept lately, with the loop time of it."""
        self._keeping_news = asyncio.Lock()
        self._keeping: set[asyncio.Task[list[str]]] = set()

    @classmethod
    async def open(cls, runs: Sequence[FollowedRun], *, waits: bool = False) -> Following:
        """Hold the deliveries files, and take up what earlier runs have learned; UsageError where one is in use.

        `waits` keeps news of deliveries that are not known yet, for `take_or_keep`.
        """
        if len({run.deliveries.resolve() for run in runs}) < len(runs):
            raise UsageError("two of the runs have the same deliveries file: name each run once")
        self = cls(runs)
        try:
            for run in runs:
                self._logs.append(DeliveryLog.open(run.deliveries))
            await self.read_on()
            for run in runs:
                await self._restore(run.deliveries)
            if waits:
                self._waiting = WaitingNews.open(runs[0].deliveries)
                await self._take_waiting(self._waiting, self._waiting.ids())
        except BaseException:
            await self.aclose()
            raise
        return self

    @property
    def deliveries(self) -> Deliveries:
        """All that are followed."""
        return self._deliveries

    @property
    def books(self) -> FateBooks:
        """Where they stand."""
        books = self._deliveries.books
        books.unnamed = sum(run.unnamed for run in self._runs)
        return books

    @property
    def since(self) -> float | None:
        """Unix seconds from which on deliveries have to be looked for; None where the runs name them all."""
        found = [run.since for run in self._runs if run.since is not None]
        return min(found) if found else None

    @property
    def paths(self) -> list[Path]:
        """The deliveries files."""
        return [log.path for log in self._logs]

    @property
    def grows(self) -> bool:
        """Whether one of the runs still works."""
        return any(run.grows for run in self._runs)

    async def read_on(self) -> int:
        """Take up the deliveries that the runs have made since; returns their number."""
        new = 0
        lately = asyncio.get_running_loop().time() - LATELY
        self._kept = {name: at for name, at in self._kept.items() if at > lately}
        for number, run in enumerate(self._runs):
            while found := await asyncio.to_thread(run.read):
                new += self._deliveries.add(number, found)
                if self._waiting is not None:
                    await self._take_waiting(self._waiting, [one.id for one in found])
        self._deliveries.books.made = sum([await run.count() for run in self._runs])
        if self._waiting is not None:
            await self._learn((name, None, None) for name in self._kept)
            await self._take_waiting(self._waiting, self._kept)
        return new

    async def take(self, news: Iterable[News], by: str) -> list[str]:
        """Make what is new of it durable, and count it; returns which of these deliveries are open still.

        What is not of ours is passed over. OutputError when it cannot be written: then nothing of it counts.
        Whoever waits may be cancelled: it is carried out all the same.
        """
        task = asyncio.get_running_loop().create_task(self._take(news, by))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return await asyncio.shield(task)

    async def take_or_keep(self, news: Sequence[News], by: str = "webhook") -> None:
        """The same for news that nobody asked for: those of deliveries that are not known yet are kept, durably."""
        learned = await self._learn((one.delivery_id, one.kind, one.created) for one in news)
        if learned and self._waiting is not None:
            await self._take_waiting(self._waiting, learned)
        known = self._deliveries.find({one.delivery_id for one in news})
        unknown = [one for one in news if one.delivery_id not in known]
        if unknown and self._waiting is not None:
            async with self._keeping_news:
                await asyncio.to_thread(self._waiting.keep, unknown, time.time())
            self._kept.update(dict.fromkeys((one.delivery_id for one in unknown), asyncio.get_running_loop().time()))
        await self.take([one for one in news if one.delivery_id in known], by)

    async def _learn(self, told: Iterable[tuple[str, str | None, float | None]]) -> list[str]:
        """Of deliveries that are not known, by id, kind and time, take up those that a run says are its own."""
        if self.since is None:
            return []
        named = {name: Delivery(name, None, kind, at) for name, kind, at in told}
        known = self._deliveries.find(named)
        unknown = [name for name in named if name not in known]
        for number, run in enumerate(self._runs):
            own = await run.known(unknown)
            self._deliveries.add(number, [named[name] for name in unknown if name in own])
        return list(self._deliveries.find(unknown))

    async def _take(self, news: Iterable[News], by: str) -> list[str]:
        news = list(news)
        async with self._writing:
            await self._learn((one.delivery_id, one.kind, one.created) for one in news)
            changed, still_open = self._changes(news)
            for number, log in enumerate(self._logs):
                lines = [after.to_line(time.time(), by) for run, _, after in changed if run == number]
                if lines:
                    await log.append(lines)
            self._deliveries.put([(before, after) for _, before, after in changed])
            return still_open

    async def aclose(self) -> None:
        """Let go of the files, when what is being written stands in them."""
        if self._keeping:
            await asyncio.wait(self._keeping)
        for log in self._logs:
            log.close()
        if self._waiting is not None:
            self._waiting.close()
        self._deliveries.close()

    def _changes(self, news: Iterable[News]) -> tuple[list[tuple[int, Delivery, Delivery]], list[str]]:
        """(run, before, after) of each delivery that more is known of; the ids of those that are open."""
        told = list(news)
        known = self._deliveries.find({one.delivery_id for one in told})
        now = {name: one.delivery for name, one in known.items()}
        for one in told:
            if one.delivery_id in now:
                now[one.delivery_id] = now[one.delivery_id].told(one)
        changed = [(one.run, one.delivery, now[name]) for name, one in known.items() if now[name] != one.delivery]
        return changed, [name for name, one in now.items() if one.standing.fate == "open"]

    async def _take_waiting(self, waiting: WaitingNews, ids: Collection[str]) -> None:
        """Of what waits, that of those of these deliveries which are known by now."""
        known = list(self._deliveries.find(ids)) if ids else []
        if not known:
            return
        async with self._keeping_news:
            news = await asyncio.to_thread(waiting.find, known)
            if news:
                await self.take(news, "webhook")
                await asyncio.to_thread(waiting.forget, known)

    async def _restore(self, path: Path) -> None:
        """What stands in a deliveries file counts, and is not written anew."""
        batch: list[News] = []
        for line in read_deliveries(path):
            news = read_line(line)
            if news is not None:
                if self.since is not None:  # what is written was known once
                    self._deliveries.add(0, [delivery_of(line)])
                batch.append(news)
            if len(batch) >= RESTORED:
                self._count(batch)
                batch = []
                await asyncio.sleep(0)
        self._count(batch)

    def _count(self, news: Sequence[News]) -> None:
        changed, _ = self._changes(news)
        self._deliveries.put([(before, after) for _, before, after in changed])
