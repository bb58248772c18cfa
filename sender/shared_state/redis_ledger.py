"""The RedisLedger: the run's memory for many replicas at once (docs/queues-and-state.md, "Shared state").

A job is a hash. It is claimed by an owner, a replica that says every few seconds that it lives; what a dead one left
handed over is taken by exactly one other, and is in doubt. Finished identities are forgotten after `keep`, jobs in
doubt and handed-over ones never. `count` counts what was recorded, forgotten or not.

Outcome lines wait in a list of their owner's until they are logged; a dead owner's are taken over.
How durable it is depends on the server, see `sender.shared_state.server_settings`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, Final, cast

from sender.errors import OutputError, StateLost, UsageError
from sender.ledger import Doubt, JobRecord
from sender.runtime.tasks import end
from sender.shared_state.redis_connection import Away

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from sender.ledger import FinalRecord, HandOverRecord, State
    from sender.shared_state.redis_connection import RedisConnection

KEEP: Final = 30 * 86400.0
"""Seconds after which a finished identity is forgotten."""
BEAT: Final = 4.0
"""Seconds between two signs of life; an owner is dead after 22 s without one, so that others have its part in 30."""
BATCH: Final = 400
"""Jobs in one script, so that the server never stands still for the others."""
PAGE: Final = 500
FORGETTABLE: Final = 3.0
"""Seconds that a server with appendfsync everysec may forget."""
MOST_REMEMBERED: Final = 100_000
DAY: Final = 86400
CLOSING: Final = 3.0

_LETTERS: Final[dict[str, str]] = {"handed_over": "h", "sent": "s", "rejected": "j", "failed": "f", "in_doubt": "d"}
_STATES: Final = {letter.encode(): cast("State", state) for state, letter in _LETTERS.items()}


class RedisLedger:
    """See `sender.ledger.Ledger`; made by `sender.shared_state.state_url.open_state`."""

    def __init__(
        self, connection: RedisConnection, *, keep: float = KEEP, on_lost: Callable[[StateLost], None] | None = None
    ) -> None:
        self._connection = connection
        self._keep = max(1, int(keep * 1000))
        self._on_lost = on_lost
        self._logged = 0
        self._retaken: dict[str, str] = {}
        self._mine: dict[str, HandOverRecord] = {}
        self._ended: deque[tuple[float, FinalRecord]] = deque()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.run = 0
        """This replica's number, also its name as an owner."""

    @property
    def born(self) -> float:
        """Server's unix seconds at which the state began: of a message first delivered earlier, that has no record,
        nobody knows whether it was sent."""
        return self._connection.born

    async def join(self) -> None:
        """Become an owner; again after StateLost."""
        self.run = int(await self._connection.call("join"))
        self._logged = 0
        self._mine.clear()
        self._ended.clear()
        await end(self._tasks)
        self._tasks = (
            asyncio.create_task(self._live(), name="state: heartbeat"),
            asyncio.create_task(self._reassure(), name="state: after a restart"),
        )

    async def bind_workspace(self, name: str) -> None:
        """Say which workspace the key belongs to; UsageError when the state knows another."""
        known = (await self._connection.call("bind", "workspace", name)).decode()
        if known != name:
            raise UsageError(
                f"the state at {self._connection.shown} belongs to the workspace {known}, this key to {name}: "
                "use the other key, or another database"
            )

    async def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """See `Ledger.find`."""
        found: dict[str, JobRecord] = {}
        for batch in _batches(keys):
            found.update(_standings(await self._connection.call("find", self.run, *batch)))
        for key, standing in found.items():
            if standing.state in ("rejected", "in_doubt"):
                self._remember(key, standing)
        return found

    async def hand_over(self, claims: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        """See `Ledger.hand_over`; one that stands as rejected or in doubt is given only to who had seen it so."""
        refused: dict[str, JobRecord] = {}
        for batch in _batches(claims):
            fields = [
                field
                for claim in batch
                for field in (claim.key, claim.content, claim.detail, self._retaken.get(claim.key, ""))
            ]
            refused.update(_standings(await self._connection.call("hand_over", self.run, *fields, lasting=True)))
        for claim in claims:
            self._retaken.pop(claim.key, None)
            if claim.key not in refused:
                self._mine[claim.key] = claim
        return refused

    async def release(self, keys: Sequence[str]) -> None:
        """See `Ledger.release`."""
        for batch in _batches(keys):
            await self._connection.call("release", self.run, self._keep, *batch)
        for key in keys:
            self._mine.pop(key, None)

    async def settle(self, entries: Sequence[FinalRecord]) -> int:
        """See `Ledger.settle`."""
        last = 0
        for batch in _batches(entries):
            fields = [field for entry in batch for field in _fields(entry)]
            day = int(time() // DAY)
            last = int(
                await self._connection.call("settle", self.run, self._keep, self._logged, day, *fields, lasting=True)
            )
        self._note_ended(entries)
        return last

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; told to the server with the next settle."""
        self._logged = max(self._logged, upto)

    async def unlogged(self) -> list[bytes]:
        """See `Ledger.unlogged`; what dead replicas left is among them."""
        return list((await self._connection.call("outbox", self.run, self._logged))[1])

    async def last_seq(self) -> int:
        """See `Ledger.last_seq`; takes over what dead replicas left."""
        return int((await self._connection.call("outbox", self.run, self._logged))[0])

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        """See `Ledger.doubts`; with the flag what dead replicas left, each for one taker, until it is settled."""
        if earlier_runs_handed_over:
            while await self._connection.call("take", self.run, PAGE):
                pass
        letter = "h" if earlier_runs_handed_over else "d"
        after = ""
        while True:
            rows = await self._connection.call("doubts", self.run, letter, after, PAGE)
            for key, content, detail, resendable in _rows(rows, 4):
                yield Doubt(key.decode(), content.decode(), _STATES[letter.encode()], detail, resendable != b"0")
            if len(rows) < 4 * PAGE:
                return
            after = rows[-4].decode()

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; as far back as `keep`."""
        today = int(time() // DAY)
        first = today - self._keep // (DAY * 1000) - 1
        known: set[str] = set()
        for batch in _batches(results):
            known.update(found.decode() for found in await self._connection.call("results", first, today + 1, *batch))
        return known

    async def count(self) -> dict[str, int]:
        """See `Ledger.count`."""
        rows = _rows(await self._connection.call("count"), 2)
        return {_STATES[state]: int(number) for state, number in rows if int(number) > 0}

    async def get_note(self, name: str) -> bytes | None:
        """See `Ledger.get_note`."""
        value: bytes | None = await self._connection.call("note", "get", name)
        return value

    async def put_note(self, name: str, value: bytes) -> None:
        """See `Ledger.put_note`."""
        await self._connection.call("note", "put", name, "", b"1" + value, lasting=True)

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """See `Ledger.swap_note`; give each value something of its writer's own, then a lost answer is no riddle."""
        values = [b"0" if value is None else b"1" + value for value in (expected, new)]
        before = self._connection.calls
        swapped = bool(await self._connection.call("note", "swap", name, *values, lasting=True))
        if swapped or self._connection.calls == before + 1:
            return swapped
        return await self.get_note(name) == new  # an earlier try of this call may have been carried out unheard

    async def close(self) -> None:
        """See `Ledger.close`; gives up after a few seconds when the server is away."""
        await end(self._tasks)
        with suppress(TimeoutError, StateLost):
            async with asyncio.timeout(CLOSING):
                await self._connection.call("outbox", self.run, self._logged)
                await self._connection.call("leave", self.run)

    async def beat(self) -> None:
        """Say that this replica lives; Away when nobody hears it."""
        await self._connection.call("beat", self.run, patient=False)

    async def beat_until_heard(self) -> None:
        """Say that this replica lives, and wait until the server hears it."""
        await self._connection.call("beat", self.run)

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat()
            except Away:
                await asyncio.sleep(0)
            except StateLost as lost:
                if self._on_lost is not None:
                    self._on_lost(lost)
                return

    async def _reassure(self) -> None:
        """A restarted server may have forgotten its last moments: say again what is in hand, and what just ended."""
        while True:
            await self._connection.restarted.wait()
            self._connection.restarted.clear()
            with suppress(OutputError):
                mine, ended = list(self._mine.values()), [entry for _, entry in self._ended]
                known = await self.find([claim.key for claim in mine] + [entry.key for entry in ended])
                lost = [claim for claim in mine if claim.key not in known and claim.key in self._mine]
                await self.hand_over(lost)
                await self.settle([entry for entry in ended if self._is_stale(known.get(entry.key))])
                await self.release([claim.key for claim in lost if claim.key not in self._mine])

    def _is_stale(self, standing: JobRecord | None) -> bool:
        return standing is None or (standing.state == "handed_over" and standing.run == self.run)

    def _note_ended(self, entries: Sequence[FinalRecord]) -> None:
        now = time()
        for entry in entries:
            self._mine.pop(entry.key, None)
            self._ended.append((now, entry))
        while self._ended and self._ended[0][0] < now - FORGETTABLE:
            self._ended.popleft()

    def _remember(self, key: str, standing: JobRecord) -> None:
        if len(self._retaken) >= MOST_REMEMBERED:
            del self._retaken[next(iter(self._retaken))]
        self._retaken[key] = f"{_LETTERS[standing.state]} {standing.run}"


def _fields(entry: FinalRecord) -> tuple[Any, ...]:
    return (
        entry.key,
        entry.content,
        _LETTERS[entry.state],
        int(entry.resendable),
        entry.result or "",
        entry.detail or b"{}",
        entry.line,
    )


def _standings(rows: Sequence[bytes]) -> dict[str, JobRecord]:
    return {
        key.decode(): JobRecord(_STATES[state], content.decode(), int(run), resendable != b"0", held == b"1")
        for key, state, content, run, resendable, held in _rows(rows, 6)
    }


def _rows(flat: Sequence[bytes], width: int) -> Iterator[Any]:
    return zip(*[iter(flat)] * width, strict=True)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
