"""Letters of a Redis stream: entries that are read without a group, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried
from sender.queues.redis_streams import RedisStreamsConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis.asyncio as client


class RedisStreamsLetters(LetterBox["client.Redis"]):
    """See `LetterBox`."""

    connection_type = RedisStreamsConnection
    _after = "-"
    _last: str | None = None

    async def _begin(self, client: client.Redis) -> None:
        newest: Any = await client.xrevrange(self.address.parameters["stream"], count=1)
        self._last = newest[0][0].decode() if newest else None

    async def _read(self, client: client.Redis) -> list[Letter]:
        if self._last is None:
            return []
        stream = self.address.parameters["stream"]
        found: Any = await client.xrange(stream, min=self._after, max=self._last, count=PAGE)
        if found:
            self._after = f"({found[-1][0].decode()}"
        return [
            Letter(fields.get(b"job", b""), read_reason(fields.get(b"reason")), entry, carried(fields))
            for entry, fields in found
        ]

    async def _remove(self, client: client.Redis, letters: Sequence[Letter]) -> None:
        await client.xdel(self.address.parameters["stream"], *(letter.handle for letter in letters))
