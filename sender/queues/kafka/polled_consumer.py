"""The PolledConsumer: a consumer of confluent-kafka, as one thread polls it."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition

from sender.queues.kafka.client import KafkaSettings, Trouble, find_topic, is_lost, refusal_of
from sender.queues.kafka.commits import Commits, refuse
from sender.queues.kafka.partitions import Partitions, Record
from sender.queues.kafka.rebalances import Rebalances
from sender.queues.queue import QueueError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from confluent_kafka import Message as KafkaMessage

    from sender.queues.address import Address
    from sender.queues.kafka.partitions import Given, Handle

TICK: Final = 0.02
"""Seconds between two looks at what the loop wants."""
IDLE: Final = 1.0
"""Seconds without a wish to read after which the partitions are paused; what the library read ahead is dropped then."""
END: Final = KafkaError._PARTITION_EOF
BEGIN_ANEW: Final = (
    KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION,
)
"""The messages where it stands are gone, and maybe the topic: another member looks what is there, and says so."""
REFRESH_EVERY: Final = 5
"""Seconds until partitions that were added are seen."""
PROBE_WITHIN: Final = 2.0
READ_AHEAD: Final = 16 * 1024
"""KiB that the library reads ahead."""
NAP: Final = 0.5
"""Seconds for which a partition rests at least once its next message is not to be given out yet: what the library read
ahead is dropped then."""
BESIDE: Final = 1000
BESIDE_BYTES: Final = 16 * 2**20
"""What may wait behind other messages of its key."""


class Wish:
    """A read that waits for messages: up to `most`, of `room` bytes and one more, `wait` seconds for the first."""

    def __init__(self, most: int, room: int, wait: float) -> None:
        self.most = most
        self.room = max(room, 1)
        self.until = time.monotonic() + wait
        self.found: Future[Sequence[Given]] = Future()


class PolledConsumer:
    """Made, stepped and closed in one thread; others put what it has to do into `work`."""

    def __init__(
        self, address: Address, settings: KafkaSettings, trouble: Trouble, session: float, sizes: tuple[int, int],
        leaving: Callable[[Sequence[Handle]], Coroutine[None, None, None]], loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.stopping = False
        self._by_key = "order" in address.parameters
        self._delay = int(address.parameters.get("delay", "0"))
        self.partitions = Partitions(by_key=self._by_key)
        self._address = address
        self._largest, self._head = sizes
        self._trouble = trouble
        self._wishes: deque[Wish] = deque()
        self._wished_at = time.monotonic()
        self._idle = False
        self._paused: set[int] = set()
        self._joined = False
        self.commits = Commits(address.path, self.partitions)
        self._rebalances = Rebalances(address, self.partitions, self.commits, lambda: self.do_work(TICK), leaving, loop)
        milliseconds = int(session * 1000)
        self.consumer = Consumer(settings.of(
            "consumer", group_id=address.parameters["group"], session_timeout_ms=milliseconds,
            heartbeat_interval_ms=1000, partition_assignment_strategy="cooperative-sticky", enable_auto_commit=False,
            enable_auto_offset_store=False, auto_offset_reset="error", enable_partition_eof=True,
            isolation_level="read_committed", topic_metadata_refresh_interval_ms=REFRESH_EVERY * 1000,
            queued_max_messages_kbytes=READ_AHEAD, queued_min_messages=500,
        ) | {"on_commit": self.commits.answered})

    def want(self, wish: Wish) -> None:
        """Somebody wants messages. The first one who does has it join the group; partitions come while it is polled."""
        if not self._joined:
            self._joined = True
            self._rebalances.join(self.consumer)
        self._wishes.append(wish)

    def step(self) -> None:
        """Once around."""
        self.do_work()
        self._regulate()
        self._poll()
        if self._rebalances.broken is not None:
            raise self._rebalances.broken
        self._serve()
        self.commits.launch(self.consumer)

    def leave(self) -> None:
        """Commit what is known."""
        self.commits.at_once(self.consumer)

    def end(self, error: Exception) -> None:
        """Tell whoever waits, those too whose work was not begun."""
        self.do_work()
        self._fail(error)

    def close(self) -> None:
        """Leave the group; what is in hand returns, counted."""
        self.stopping = self._rebalances.closing = True
        self.consumer.close()

    def do_work(self, wait: float = 0.0) -> None:
        """What others asked for, waiting so many seconds for the first of it."""
        try:
            while True:
                (self.work.get(timeout=wait) if wait else self.work.get_nowait())()
                wait = 0.0
        except Empty:
            pass

    def _regulate(self) -> None:
        """Read only what is wanted, and of no partition too far ahead, nor before its time."""
        if self._wishes:
            self._wished_at = time.monotonic()
        self._idle = time.monotonic() - self._wished_at > IDLE
        ours = self.partitions.numbers
        self._paused -= self._rebalances.take_dropped()
        rests = self.partitions.full | self.partitions.held(time.time())
        paused = ours if self._idle or (self._wishes and not self._has_room) else rests
        if pause := paused - self._paused:
            self.consumer.pause(self._of(pause))
        if resume := (self._paused & ours) - paused:
            self.consumer.resume(self._of(resume))
        self._paused = paused

    @property
    def _has_room(self) -> bool:
        """Whether more is wanted than waits already; what waits behind others of its key is not counted."""
        if not self._wishes:
            return False
        number, size = self.partitions.waiting
        beside = (BESIDE, BESIDE_BYTES) if self._by_key else (0, 0)
        return number < self._wishes[0].most + beside[0] and size < self._wishes[0].room + beside[1]

    def _poll(self) -> None:
        """Take what is wanted; and have the library call us back, which it does in no other moment."""
        if not (self._wishes or self._idle or self.commits.are_waited_for):
            self.do_work(TICK)
            return
        message = self.consumer.poll(TICK)
        while message is not None:
            held = self._take(message)
            message = self.consumer.poll(0) if self._has_room and not held else None

    def _take(self, message: KafkaMessage) -> bool:
        """Returns whether its partition is to rest."""
        error, number, offset = message.error(), message.partition(), message.offset()
        if error is None:
            self._trouble.clear()
            return self.partitions.stash(self._record(message), self._not_before(message))
        if error.code() == END:
            self._trouble.clear()
            self.partitions.reach(number or 0, offset or 0)
        elif error.fatal() or error.code() in BEGIN_ANEW:
            raise KafkaException(error)
        elif is_lost(KafkaException(error)):
            self._trouble(error)
        else:
            self._fail(refusal_of(self._address.shown, error))
        return False

    def _not_before(self, message: KafkaMessage) -> float:
        """Unix seconds until which a delayed message waits, if any; a timestamp in the future counts as now."""
        if not self._delay:
            return 0.0
        kind, stamp = message.timestamp()
        now = time.time()
        due = now if kind == TIMESTAMP_NOT_AVAILABLE else min(stamp / 1000, now) + self._delay
        return max(due, now + NAP) if due > now else 0.0

    def _record(self, message: KafkaMessage) -> Record:
        """Of what is larger than any job no more than the head is kept; a null value is an empty job line."""
        value, key = message.value() or b"", message.key()
        told: Any = message.headers() or ()
        headers = {name: text for name, text in told if isinstance(text, bytes)}
        return Record(
            message.offset() or 0, message.partition() or 0, key if isinstance(key, bytes) else None,
            value if len(value) <= self._largest else value[: self._head], len(value), headers,
        )

    def _serve(self) -> None:
        if self._trouble.latest is not None and (self._wishes or self.commits.are_waited_for):
            self._probe()
        while self._wishes:
            wish = self._wishes[0]
            found = self.partitions.take(wish.most, wish.room, time.time())
            if found:
                self.commits.give_out(wish.found, found)
            elif time.monotonic() >= wish.until:
                wish.found.set_result(())
            else:
                return
            self._wishes.popleft()

    def _probe(self) -> None:
        """Something was told of a connection: see whether anybody answers."""
        try:
            find_topic(
                self.consumer, self._address.shown, self._address.path, self._trouble, PROBE_WITHIN, reads=True
            )
        except (KafkaException, QueueError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Tell whoever waits; what they asked for is done all the same as soon as it can be."""
        self.commits.fail(error)
        for wish in self._wishes:
            refuse(wish.found, error)
        self._wishes.clear()

    def _of(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._address.path, number) for number in sorted(numbers)]
