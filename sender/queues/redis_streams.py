"""Redis Streams (redis-py): the job line is the field `job` of an entry; Redis 6.2 or newer, 7 to know the lag.

A message in hand is an entry in the group's pending list. Who does not keep it within `return_after` seconds loses it
to the next reader (XAUTOCLAIM). What is acknowledged is trimmed by a group that is alone on its stream
(`stream_upkeep`), or stays for other groups. Where the writer trims too: an entry trimmed away before it was read is
lost, and Redis says so to nobody.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,  # noqa: A004 - the library's own name
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from sender.queues.broker_connection import PATIENCE, BrokerConnection
from sender.queues.broker_queue import HEAD, BrokerQueue
from sender.queues.publisher import OutgoingLine, Publisher
from sender.queues.queue import Message, QueueError, trace_context
from sender.queues.redis_reads import ReadBounds, RedisReads, StreamEntry, whole
from sender.queues.redis_server import RedisServer, answers_of
from sender.queues.stream_upkeep import StreamUpkeep
from sender.queues.stuck_readers import StuckReaders

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis.asyncio as client

    from sender.queues.address import Address
    from sender.queues.queue import QueueOrigins, RequeueCounts
    from sender.queues.stream_upkeep import Trim

CLAIM_EVERY: Final = 0.5
"""Seconds between two looks for what others left."""
MOST_LOOKED_AT: Final = 1000
STUCK_LOOKS: Final = 5
"""Looks in which a reader's first entry has to seem idle for no time at all, before it is stuck."""
LONG_IDLE: Final = 2**31 - 1
"""Milliseconds: whoever asks takes over an entry that is idle for so long."""
_START: Final = b"0-0"
_PASSING: Final = (ConnectionError, TimeoutError, ReadOnlyError, MasterDownError, OutOfMemoryError, OSError)
_REFUSALS: Final = (AuthenticationError, AuthorizationError, NoPermissionError)
_LEAVE: Final = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""

log = structlog.get_logger()


class RedisStreamsConnection(BrokerConnection["client.Redis"]):
    """The library's pool, without tries of its own."""

    async def _connect(self) -> client.Redis:
        stream = self.address.parameters["stream"]
        server = RedisServer(self.address.url, self.address.hosts, self.address.parameters)
        return server.open(stream, protocol=2, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)

    async def _disconnect(self, client: client.Redis) -> None:
        await client.aclose()

    def _is_lost(self, error: Exception) -> bool | None:
        if isinstance(error, _REFUSALS):
            return False
        # A server that lost its data has no group: connecting anew makes it.
        if isinstance(error, _PASSING) or "NOGROUP" in str(error):
            return True
        return False if isinstance(error, RedisError | QueueError) else None


class RedisStreamsQueue(BrokerQueue["client.Redis"]):
    """A consumer group's share of one stream."""

    connection_type = RedisStreamsConnection

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self.keep_every = return_after / 3
        self._stream, self._group = address.parameters["stream"], address.parameters["group"]
        self._name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._reads = RedisReads(self._stream, self._group, self._name)
        self._own = self._name.encode()
        self._upkeep = StreamUpkeep(
            self.source, self._stream, self._group, self._name, cast("Trim | None", address.parameters.get("trim"))
        )
        self._stuck = StuckReaders(return_after)
        self._look_for_stuck_at = 0.0
        self._claim_at = 0.0
        self._new_first = False
        self._cursor = _START

    async def _check(self, client: client.Redis) -> None:
        await client.ping()

    async def _prepare(self, client: client.Redis) -> None:
        try:
            await client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _origin(self, client: client.Redis) -> str | None:
        """A word beside the stream, which is kept and replicated with it; None where we may not write one."""
        key = f"{self._stream}:sender-origin" if "{" in self._stream else f"{{{self._stream}}}:sender-origin"
        try:
            if (found := await client.get(key)) is None:
                await client.set(key, secrets.token_hex(8), nx=True)
                found = await client.get(key)
        except ResponseError:
            return None
        return found.hex() if isinstance(found, bytes) else None

    async def _read(self, client: client.Redis, room: int) -> list[Message]:
        clock = asyncio.get_running_loop().time
        ends = clock() + self._wait
        await self._upkeep.look(client)
        if clock() >= self._look_for_stuck_at and (got := await self._claim_stuck(client, room)):
            return got
        while True:
            if clock() >= self._claim_at and (got := await self._read_left(client, room)):
                return got
            if got := await self._read_new(client, room):
                return got
            if got := await self._wait_for_one(client, max(1, int(min(CLAIM_EVERY, ends - clock()) * 1000))):
                return got + await self._read_new(client, room - 1)
            if clock() >= ends:
                return []

    def _bounds(self, room: int) -> ReadBounds:
        return ReadBounds(room, self.read_bytes, self._largest, HEAD)

    async def _read_new(self, redis: client.Redis, room: int) -> list[Message]:
        """What nobody has read yet."""
        return [self._message(entry) for entry in await self._reads.new(redis, self._bounds(room))]

    async def _wait_for_one(self, redis: client.Redis, milliseconds: int) -> list[Message]:
        """The next that comes: a script cannot wait."""
        got: Any = await redis.xreadgroup(self._group, self._name, {self._stream: ">"}, count=1, block=milliseconds)
        return [self._message(whole(entry, self._bounds(1))) for entry in got[0][1]] if got else []

    async def _read_left(self, redis: client.Redis, room: int) -> list[Message]:
        """What others left and put back, in turns with what is new: else what is always put back would hide it."""
        self._new_first, new_first = False, self._new_first
        if new_first and (got := await self._read_new(redis, room)):
            return got
        left = await self._claim(redis, room)
        self._new_first = bool(left)
        return left

    async def _claim(self, redis: client.Redis, room: int) -> list[Message]:
        """What dead readers left and others put back, the oldest first; entries deleted meanwhile are dropped."""
        idle = int(self.return_after * 1000)
        self._cursor, entries = await self._reads.left(redis, self._bounds(room), idle, self._cursor)
        if self._cursor == _START:
            self._claim_at = asyncio.get_running_loop().time() + CLAIM_EVERY
        return [self._message(entry) for entry in entries]

    async def _claim_stuck(self, redis: client.Redis, room: int) -> list[Message]:
        """What dead readers hold since before the server's clock was set back."""
        now = asyncio.get_running_loop().time()
        self._look_for_stuck_at = now + self.return_after / STUCK_LOOKS
        stuck: Any = self._stuck.look([(name, idle) for name, idle in await self._first_of_others(redis)], now)
        if not stuck:
            return []
        self._look_for_stuck_at = now  # the next read takes what is left
        ids: list[Any] = []
        for name in stuck:
            found = await redis.xpending_range(self._stream, self._group, "-", "+", room - len(ids), name)
            ids += [one["message_id"] for one in found if one["time_since_delivered"] == 0]
            if len(ids) >= room:
                break
        log.warning("the server's clock was set back: its messages are taken over all the same", messages=len(ids))
        return [self._message(entry) for entry in await self._reads.stuck(redis, self._bounds(room), ids)]

    async def _first_of_others(self, redis: client.Redis) -> list[tuple[bytes, int]]:
        """The other readers that hold entries, and for how many milliseconds the first of each seems idle."""
        readers = await redis.xinfo_consumers(self._stream, self._group)
        names = [one["name"] for one in readers if one["pending"] and one["name"] != self._own]
        pipe = redis.pipeline(transaction=False)
        for name in names:
            pipe.xpending_range(self._stream, self._group, "-", "+", 1, name)
        answers = await answers_of(pipe)
        return [(name, found[0]["time_since_delivered"]) for name, found in zip(names, answers, strict=True) if found]

    def _message(self, entry: StreamEntry) -> Message:
        return Message(
            source=self.source, id=entry.id.decode(), identity=self._identity(entry.id.decode(), entry.fields),
            data=entry.fields.get(b"job", b""), deliveries=entry.deliveries, handle=entry.id,
            priority=self.address.priority, headers=trace_context(entry.fields), unread=entry.unread,
            entry=None if b"job" in entry.fields else _entry(entry.fields),
        )

    async def _ack(self, client: client.Redis, batch: list[Message]) -> None:
        await client.xack(self._stream, self._group, *(message.handle for message in batch))

    async def _requeue(self, client: client.Redis, batch: list[Message], delay: float) -> None:
        """An entry is taken over when it has been idle for `return_after`."""
        idle = max(0, int((self.return_after - delay) * 1000)) if delay else LONG_IDLE
        await self._set_pending(client, batch, idle=idle, uncount=True)

    async def _keep(self, client: client.Redis, batch: list[Message]) -> None:
        await self._set_pending(client, batch, idle=0, uncount=False)

    async def _set_pending(self, redis: client.Redis, batch: Iterable[Message], *, idle: int, uncount: bool) -> None:
        """Write idle time (and count) of our own entries; one that another reader has taken over is left alone."""
        by_count: defaultdict[int | None, list[Any]] = defaultdict(list)
        for message in await self._mine(redis, batch):
            by_count[message.deliveries - 1 if uncount else None].append(message.handle)
        for count, ids in by_count.items():
            more: dict[str, Any] = {} if count is None else {"retrycount": count}
            await redis.xclaim(self._stream, self._group, self._name, 0, ids, idle=idle, justid=True, **more)

    async def _mine(self, redis: client.Redis, batch: Iterable[Message]) -> list[Message]:
        messages, pipe = list(batch), redis.pipeline(transaction=False)
        for message in messages:
            pipe.xpending_range(self._stream, self._group, message.handle, message.handle, 1, self._name)
        return [message for message, found in zip(messages, await answers_of(pipe), strict=True) if found]

    async def _lag(self, client: client.Redis) -> int | None:
        for group in await client.xinfo_groups(self._stream):
            if group["name"] == self._group.encode():
                lag = group.get("lag")
                return None if lag is None else int(lag) + int(group["pending"])
        return None

    async def _left_since(self, client: client.Redis, seconds: float) -> bool:
        """Those that were put back do not count: nothing was begun with them."""
        found: Any = await client.xpending_range(
            self._stream, self._group, "-", "+", MOST_LOOKED_AT, idle=int(seconds * 1000)
        )
        return any(one["times_delivered"] and one["time_since_delivered"] < LONG_IDLE for one in found)

    async def _leave(self, client: client.Redis) -> None:
        """Take our name off the group, unless entries stand on it: they would be lost with it."""
        await client.eval(_LEAVE, 1, self._stream, self._group, self._name)


def _entry(fields: dict[bytes, bytes]) -> bytes:
    """An entry as JSON, for people: what is not text is shown with escapes."""
    shown = {key.decode(errors="replace"): value.decode(errors="backslashreplace") for key, value in fields.items()}
    return json.dumps(shown, ensure_ascii=False).encode("utf-8", "replace")


class RedisStreamsPublisher(Publisher["client.Redis"]):
    """XADD to a stream. The reply is the promise: with `appendfsync everysec` a power cut may take a second of it."""

    connection_type = RedisStreamsConnection

    @property
    def _most(self) -> int | None:
        """Entries that the stream holds, or a few more; the oldest go."""
        given = self.address.parameters.get("maxlen")
        return int(given) if given else None

    async def _check(self, client: client.Redis) -> None:
        await client.ping()

    async def _publish(self, client: client.Redis, lines: list[OutgoingLine]) -> None:
        pipe = client.pipeline(transaction=False)
        for one in lines:
            fields: dict[Any, Any] = {one.field: one.line, **one.headers}
            fields |= {"reason": one.reason} if one.reason else {}
            pipe.xadd(self.address.parameters["stream"], fields, maxlen=self._most, approximate=True)
        await answers_of(pipe)
