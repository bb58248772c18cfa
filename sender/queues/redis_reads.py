"""The reads of a Redis stream that are bounded by bytes: scripts, since Redis itself bounds a read by number alone.

All return entries as `[id, fields, bytes, deliveries]`. Where `bytes` is not 0 the entry is larger than any job: of
each field stands only the beginning there, and the rest never leaves the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis.asyncio as client

_TAKE: Final = """
local group, name, most, room, largest, head = ARGV[1], ARGV[2], ARGV[3] + 0, ARGV[4] + 0, ARGV[5] + 0, ARGV[6] + 0
local found, held = {}, 0
local function take(entry, deliveries)
  local fields, size = entry[2], 0
  for at = 2, #fields, 2 do size = size + #fields[at] end
  local unread = 0
  if size > largest then
    unread = size
    for at = 1, #fields do fields[at] = string.sub(fields[at], 1, head) end
    size = head
  end
  held = held + size
  found[#found + 1] = {entry[1], fields, unread, deliveries}
end
"""
_READ_NEW: Final = _TAKE + """
while #found < most and held < room do
  local got = redis.call('XREADGROUP', 'GROUP', group, name, 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not got then break end
  take(got[1][2][1], 1)
end
return found
"""
_CLAIM: Final = _TAKE + """
local idle, cursor = ARGV[7], ARGV[8]
for looks = 1, most do
  local got = redis.call('XAUTOCLAIM', KEYS[1], group, name, idle, cursor, 'COUNT', 1)
  cursor = got[1]
  local entry = got[2][1]
  if entry and entry[2] then
    take(entry, redis.call('XPENDING', KEYS[1], group, entry[1], entry[1], 1)[1][4])
  end
  if cursor == '0-0' or held >= room then break end
end
return {cursor, found}
"""
_TAKE_OVER: Final = _TAKE + """
for at = 7, #ARGV do
  local entry = redis.call('XCLAIM', KEYS[1], group, name, 0, ARGV[at])[1]
  if entry and entry[2] then
    take(entry, redis.call('XPENDING', KEYS[1], group, entry[1], entry[1], 1)[1][4])
  end
  if #found >= most or held >= room then break end
end
return found
"""


class ReadBounds(NamedTuple):
    """How much one read takes."""

    most: int
    """Entries."""
    room: int
    """Bytes after which no further entry is taken."""
    largest: int
    """Bytes of the largest job."""
    head: int
    """Bytes that are kept of each field of what is larger."""


class StreamEntry(NamedTuple):
    """One entry as it was read."""

    id: bytes
    fields: dict[bytes, bytes]
    unread: int
    """Its bytes where it is larger than any job, else 0."""
    deliveries: int


class RedisReads:
    """Of one reader of a group."""

    def __init__(self, stream: str, group: str, name: str) -> None:
        self._stream, self._group, self._name = stream, group, name

    async def new(self, redis: client.Redis, bounds: ReadBounds) -> list[StreamEntry]:
        """What nobody has read yet, without waiting."""
        return [_entry(one) for one in await self._run(redis, _READ_NEW, bounds)]

    async def left(
        self, redis: client.Redis, bounds: ReadBounds, idle: int, cursor: bytes
    ) -> tuple[bytes, list[StreamEntry]]:
        """What others left and put back: entries that are idle for so many milliseconds; and where to look next."""
        cursor, found = await self._run(redis, _CLAIM, bounds, idle, cursor)
        return cursor, [_entry(one) for one in found]

    async def stuck(self, redis: client.Redis, bounds: ReadBounds, ids: Iterable[Any]) -> list[StreamEntry]:
        """Those of these entries that have room, whoever holds them, and however long."""
        return [_entry(one) for one in await self._run(redis, _TAKE_OVER, bounds, *ids)]

    async def _run(self, redis: client.Redis, script: str, bounds: ReadBounds, *more: Any) -> Any:
        return await redis.eval(script, 1, self._stream, self._group, self._name, *bounds, *more)


def whole(entry: tuple[bytes, dict[bytes, bytes]], bounds: ReadBounds) -> StreamEntry:
    """An entry that was waited for, and came as it is."""
    key, fields = entry
    size = sum(map(len, fields.values()))
    if size > bounds.largest:
        return StreamEntry(key, {name: value[: bounds.head] for name, value in fields.items()}, size, 1)
    return StreamEntry(key, fields, 0, 1)


def _entry(found: Any) -> StreamEntry:
    key, flat, unread, deliveries = found
    return StreamEntry(key, dict(zip(flat[::2], flat[1::2], strict=True)), unread, deliveries)
