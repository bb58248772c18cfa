"""The RedisLedger: the run's memory for many replicas at once (docs/queues-and-state.md, "Shared state").

A job is a hash. It is claimed by an owner, a replica that says every few seconds that it lives; what a dead one left
handed over is taken by exactly one other, and is in doubt. Finished identities are forgotten after `keep`, jobs in
doubt and handed-over ones never. `count` counts what was recorded, forgotten or not.

Outcome lines wait in a list of their owner's until they are logged; a dead owner's are taken over.
How durable it is depends on the server, see `sender.shared_state.server_settings`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError, StateLost, UsageError
from sender.ledger import LOST_NOTE, Doubt, Ledger
from sender.runtime.live.figures import Replica
from sender.runtime.tasks import end, start_told
from sender.shared_state.heartbeat import Heartbeat
from sender.shared_state.recent_records import RecentRecords
from sender.shared_state.redis_records import STATES, batches, final_fields, job_records, rows, seen_as

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sender.ledger import FinalRecord, HandOverRecord, JobRecord
    from sender.shared_state.redis_connection import RedisConnection

PAGE: Final = 500
MOST_REMEMBERED: Final = 100_000
DAY: Final = 86400
CLOSING: Final = 3.0
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks whether the other replicas have said what they know."""

log = structlog.get_logger()


class RedisLedger(Ledger):
    """Made by `sender.shared_state.state_url.open_state`."""

    def __init__(
        self, connection: RedisConnection, *, keep: float, on_lost: Callable[[BaseException], None] | None = None
    ) -> None:
        self._connection = connection
        self._keep = max(1, int(keep * 1000))
        self._heartbeat = Heartbeat(connection)
        self._on_lost = on_lost or (lambda _: None)
        self._logged = 0
        self._seen: dict[str, str] = {}
        """Records, rejected or in doubt, that this replica saw: while they stand it may hand their jobs over."""
        self._recent = RecentRecords()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._settling = False
        self.restarts = 0
        """How often the server was another, or anew, and was told again what it may have forgotten."""
        self.run = 0
        """This replica's number, also its name as an owner."""

    @property
    def born(self) -> float:
        """Server's unix seconds at which the state began: of a message first delivered earlier, that has no record,
        nobody knows whether it was sent."""
        return self._connection.born

    @property
    def settled(self) -> bool:
        """Whether all that a restarted server may have forgotten was said again, as far as anybody can."""
        return not (self._settling or self._connection.restarted.is_set())

    async def join(self) -> None:
        """Become an owner; again after StateLost."""
        self.run = int(await self._connection.call("join"))
        self._logged = 0
        self._recent.clear()
        await end(self._tasks)
        self._tasks = (
            start_told(self._heartbeat.keep_beating(self.run), "state: heartbeat", self._on_lost),
            start_told(self._tell_again(), "state: after a restart", self._on_lost),
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
        found: dict[str, JobRecord] = {}
        for batch in batches(keys):
            found.update(job_records(await self._connection.call("find", self.run, *batch)))
        for key, record in found.items():
            if record.state in ("rejected", "in_doubt"):
                self._remember(key, record)
        return found

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        """See `Ledger.hand_over`; one that was rejected or is in doubt is given only to who had seen it so."""
        refused: dict[str, JobRecord] = {}
        for batch in batches(records):
            jobs = ((one.key, one.content, one.detail, self._seen.get(one.key, "")) for one in batch)
            fields = [field for job in jobs for field in job]
            refused.update(job_records(await self._connection.call("hand_over", self.run, *fields, lasting=True)))
        for record in records:
            self._seen.pop(record.key, None)
            if record.key not in refused:
                self._recent.handed_over(record)
        return refused

    async def release(self, keys: Sequence[str]) -> None:
        for batch in batches(keys):
            await self._connection.call("release", self.run, self._keep, *batch)
        self._recent.released(keys)

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        last = 0
        for batch in batches(records):
            fields = [field for record in batch for field in final_fields(record)]
            day = int(time() // DAY)
            last = int(
                await self._connection.call("finish", self.run, self._keep, self._logged, day, *fields, lasting=True)
            )
        self._recent.finished(records)
        return last

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; told to the server with the next `finish`."""
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
            found = await self._connection.call("doubts", self.run, letter, after, PAGE)
            for key, content, detail, resendable in rows(found, 4):
                yield Doubt(key.decode(), content.decode(), STATES[letter.encode()], detail, resendable != b"0")
            if len(found) < 4 * PAGE:
                return
            after = found[-4].decode()

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; as far back as `keep`."""
        today = int(time() // DAY)
        first = today - self._keep // (DAY * 1000) - 1
        known: set[str] = set()
        for batch in batches(results):
            known.update(found.decode() for found in await self._connection.call("results", first, today + 1, *batch))
        return known

    async def count(self) -> dict[str, int]:
        counts = rows(await self._connection.call("count"), 2)
        return {STATES[state]: int(number) for state, number in counts if int(number) > 0}

    async def replicas(self) -> list[Replica]:
        """All that have not left, in the order in which they came."""
        found = [tuple(map(int, one)) for one in await self._connection.call("replicas")]
        return [Replica(number, seen / 1e6, jobs, number == self.run) for number, seen, jobs in sorted(found)]

    async def get_note(self, name: str) -> bytes | None:
        value: bytes | None = await self._connection.call("note", "get", name)
        return value

    async def put_note(self, name: str, value: bytes) -> None:
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

    async def beat(self, *, patient: bool = False) -> None:
        """Say that this replica lives; with patience until the server hears it, else Away when it does not."""
        await self._heartbeat.beat(self.run, patient=patient)

    async def _tell_again(self) -> None:
        """A restarted server may have forgotten its last moments: say again what is in flight, and what just ended."""
        while True:
            await self._connection.restarted.wait()
            self._settling = True
            self._connection.restarted.clear()
            with suppress(OutputError):
                await self._settle()
            self._settling = False
            self.restarts += 1

    async def _settle(self) -> None:
        """Until every replica that lives has said what it knows; what the dead ones may have sent is in doubt, if
        anything was forgotten."""
        before = self._connection.replication
        forgotten = await self._recent.tell_again(self)
        left, waits = await self._connection.call("told", self.run)
        while left and waits:
            await asyncio.sleep(LOOK_AGAIN)
            left, waits = await self._connection.call("told", self.run)
        now = await self._connection.look_at_history()
        if now is not None:
            forgotten = forgotten or now.lost(before) or bool(left and now.follows(before))
        if forgotten:
            log.warning("the state's server has forgotten its last moments: what living replicas knew was said again, "
                        "redelivered messages without a record are in doubt", state=self._connection.shown)
            await self.put_note(LOST_NOTE, repr(time()).encode())

    def _remember(self, key: str, record: JobRecord) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = seen_as(record)
