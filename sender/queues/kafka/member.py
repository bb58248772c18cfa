"""A GroupMember is one member of a Kafka group: a thread that owns a consumer of confluent-kafka, seen from the loop.

The library's own asyncio consumer is not used. It takes a thread of a pool for each call, and what a cancelled call
has read is gone; nobody polls it while nobody reads, though only polling keeps a member in its group; and its callbacks
wait for the loop without a bound. Here one thread polls all the time, paused while nothing is wanted, and does what the
loop asks for between two polls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from sender.queues.kafka.client import UNKNOWN, KafkaSettings, Topic, Trouble, error_of, find_topic, id_of
from sender.queues.kafka.commits import refuse
from sender.queues.kafka.polled_consumer import PolledConsumer, Wish
from sender.queues.queue import QueueLost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from sender.queues.address import Address
    from sender.queues.kafka.partitions import Given, Handle

R = TypeVar("R")


class GroupMember:
    """Started, used from one loop, stopped; `leaving` is awaited on the loop before messages in hand are another's."""

    def __init__(
        self, address: Address, session: float, sizes: tuple[int, int],
        leaving: Callable[[Sequence[Handle]], Coroutine[None, None, None]],
    ) -> None:
        self.ended = False
        """Whether it does nothing any more, whatever ended it."""
        self.over: Future[None] = Future()
        """Done when it has left the group, and its thread ends."""
        self.settings: KafkaSettings
        self.watcher: Consumer
        """Knows the group, and is none of its members: it answers questions while the other is busy."""
        self.topic: Topic
        """As it was when the member began, with the partitions that were added since."""
        self._admin: AdminClient | None = None
        self._address = address
        self._session = session
        self._sizes = sizes
        self._leaving = leaving
        self._polled: PolledConsumer

    async def start(self) -> None:
        """Begin to poll, and learn which topic it is; QueueError, or KafkaException."""
        started: Future[None] = Future()
        loop = asyncio.get_running_loop()
        name = f"kafka {self._address.path}"
        threading.Thread(target=self._run, args=(started, loop), name=name, daemon=True).start()
        try:
            await asyncio.shield(asyncio.wrap_future(started))
        except asyncio.CancelledError:
            started.add_done_callback(lambda _: self.stop())
            raise

    async def read(self, most: int, room: int, wait: float) -> Sequence[Given]:
        """Up to `most` messages, of `room` bytes and one more, waiting so many seconds for the first."""
        wish = Wish(most, room, wait)
        self._put(lambda: self._polled.want(wish))
        try:
            found = await asyncio.shield(asyncio.wrap_future(wish.found))
            if found and self.topic.known_id:
                await asyncio.to_thread(self._confirm_topic)
        except BaseException:
            wish.found.add_done_callback(self._return)
            raise
        # Their partition may have become another's since, which gives them out itself.
        return [one for one in found if self._polled.partitions.has_in_hand(one.record.handle)]

    async def finish(self, handles: Sequence[Handle]) -> None:
        """These have an end: returns when that is committed."""
        done: Future[None] = Future()

        def work() -> None:
            self._polled.partitions.finish(handles)
            self._polled.commits.acknowledge(done)

        self._put(work)
        await asyncio.shield(asyncio.wrap_future(done))

    async def give_back(self, handles: Sequence[Handle], delay: float) -> None:
        """These were not started: they are read again, uncounted, by whoever has their partition."""
        until = time.time() + delay if delay else 0.0
        await self._call(lambda: self._polled.partitions.give_back(handles, until))

    def look(self) -> Topic:
        """The topic as it is now; another thread than the member's may ask."""
        admin = self._asked()
        partitions, cluster = find_topic(self.watcher, self._address.shown, self._address.path, Trouble())
        return Topic(id_of(admin, self._address.path), partitions, cluster)

    async def leave(self) -> None:
        """Commit what is known, before `stop`."""
        await self._call(lambda: self._polled.leave())

    def stop(self) -> None:
        """Leave the group, and end; what is in hand returns, counted."""
        if not self.ended:
            self._polled.work.put(lambda: setattr(self._polled, "stopping", True))

    def _confirm_topic(self) -> None:
        """What was read before this was asked is of the topic that we know, since an offset means nothing in another.

        QueueLost ends the member: that topic is no more.
        """
        try:
            found = id_of(self._asked(), self._address.path)
        except KafkaException as error:
            if error_of(error).code() not in UNKNOWN:
                raise
            found = None
        if found != self.topic.id:
            self.stop()
            raise QueueLost(f"{self._address.shown}: the topic was made anew")

    def _asked(self) -> AdminClient:
        admin = self._admin
        if admin is None:
            raise QueueLost(f"{self._address.shown}: the consumer has ended")
        return admin

    async def _call(self, act: Callable[[], R]) -> R:
        done: Future[R] = Future()
        self._put(lambda: done.set_result(act()))
        return await asyncio.shield(asyncio.wrap_future(done))

    def _put(self, work: Callable[[], None]) -> None:
        if self.ended:
            raise QueueLost(f"{self._address.shown}: the consumer has ended")
        self._polled.work.put(work)

    def _return(self, found: Future[Sequence[Given]]) -> None:
        """Nobody gets these."""
        if found.exception() is None:
            handles = [one.record.handle for one in found.result()]
            self._polled.work.put(lambda: self._polled.partitions.give_back(handles))

    def _made_watcher(self) -> Consumer:
        return Consumer(self.settings.of(
            "consumer", group_id=self._address.parameters["group"], enable_auto_commit=False
        ))

    def _run(self, started: Future[None], loop: asyncio.AbstractEventLoop) -> None:
        """The thread."""
        polled, trouble = None, Trouble()
        try:
            self.settings = KafkaSettings(self._address, trouble)
            polled = self._polled = PolledConsumer(
                self._address, self.settings, trouble, self._session, self._sizes, self._leaving, loop
            )
            partitions, cluster = find_topic(polled.consumer, self._address.shown, self._address.path, trouble)
            admin = self._admin = AdminClient(self.settings.of("admin"))
            self.topic = Topic(id_of(admin, self._address.path), partitions, cluster)
            polled.partitions.topic_id = self.topic.known_id
            del admin
            self.watcher = self._made_watcher()
            started.set_result(None)
            while not polled.stopping:
                polled.step()
            error: Exception = QueueLost(f"{self._address.shown}: the consumer has ended")
        except Exception as found:  # noqa: BLE001 - whoever waits is told, whatever it is
            error = found
        self.ended = True
        refuse(started, error)
        if polled is not None:
            polled.end(error)
            polled.close()
        self._admin = None
        if hasattr(self, "watcher"):
            self.watcher.close()
        self.over.set_result(None)
