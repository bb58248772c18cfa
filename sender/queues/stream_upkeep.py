"""The StreamUpkeep of a Redis stream: takes out what every group has acknowledged, and the names of readers that left.

One script every few seconds, so that nothing comes between the look and the deed. An entry that a group has not read,
or not acknowledged, is never taken out; a reader's name only when nothing stands on it, and it comes back by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog
from redis.exceptions import NoPermissionError, ResponseError

if TYPE_CHECKING:
    import redis.asyncio as client

Trim = Literal["acked", "never"]
EVERY: Final = 10.0
"""Seconds between two looks."""
GONE: Final = 60_000
"""Milliseconds after its last sign of life in which a reader's name leaves the group."""
MOST_ROUNDS: Final = 20
"""Of 10,000 entries, in one look."""
_SCRIPT: Final = """
local function pairs_of(flat)
  local found = {}
  for n = 1, #flat, 2 do found[flat[n]] = flat[n + 1] end
  return found
end
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  return ms, seq, ms < 1e15 and seq < 1e15
end
local function earlier(one, other)
  local ms, seq = parts(one)
  local other_ms, other_seq = parts(other)
  return ms < other_ms or (ms == other_ms and seq < other_seq)
end
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local one = pairs_of(flat)
  if one.pending == 0 and one.idle > tonumber(ARGV[3]) and one.name ~= ARGV[2]
     and string.match(one.name, '%-%x%x%x%x%x%x%x%x$') then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], one.name)
  end
end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if ARGV[4] == 'never' or (ARGV[4] == '' and #groups > 1) then return {#groups, 0} end
local first
for _, flat in ipairs(groups) do
  local group = pairs_of(flat)
  local waits = redis.call('XPENDING', KEYS[1], group.name)
  local ms, seq, exact = parts(group['last-delivered-id'])
  if not exact then return {#groups, 0} end  -- numbers that are not exact here
  local needed = waits[1] > 0 and waits[2] or string.format('%.0f-%.0f', ms, seq + 1)
  if not first or earlier(needed, first) then first = needed end
end
return {#groups, redis.call('XTRIM', KEYS[1], 'MINID', '~', first)}
"""

log = structlog.get_logger()


class StreamUpkeep:
    """Of one reader; `trim` as its URL says, None where it says nothing: then only a group that is alone trims."""

    def __init__(self, shown: str, stream: str, group: str, name: str, trim: Trim | None) -> None:
        self._shown = shown
        self._arguments = (stream, group, name, GONE, trim or "")
        self._trim = trim
        self._told = False
        self._next = float("-inf")

    async def look(self, redis: client.Redis) -> None:
        """Do it, when it is time."""
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return
        self._next = now + EVERY
        try:
            await self._look(redis)
        except (NoPermissionError, ResponseError) as error:
            if str(error).startswith("NOGROUP"):
                raise
            self._tell("the stream cannot be trimmed: it grows until somebody else does", error=str(error)[:200])
            self._next = float("inf")

    async def _look(self, redis: client.Redis) -> None:
        for _ in range(MOST_ROUNDS):
            found: Any = await redis.eval(_SCRIPT, 1, *self._arguments)
            groups, trimmed = found
            if groups > 1 and self._trim is None:
                self._tell(
                    "the stream has other groups: what this one has acknowledged stays; &trim=acked takes out what all "
                    "groups have acknowledged, &trim=never ends this warning", groups=groups,
                )
            if not trimmed:
                return

    def _tell(self, what: str, **more: object) -> None:
        if not self._told:
            log.warning(what, queue=self._shown, **more)
        self._told = True
