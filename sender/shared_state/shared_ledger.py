"""The SharedLedger: the run's memory for many replicas at once (docs/queues-and-state.md, "Shared state").

A job is claimed by an owner, a replica that says every few seconds that it lives; what a dead one left handed over is
taken by exactly one other, and is in doubt. Finished identities are forgotten after `keep`, jobs in doubt and
handed-over ones never. Outcome lines wait until they are logged; a dead owner's are taken over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError, UsageError
from sender.ledger import LOST_NOTE, Ledger
from sender.runtime.live.figures import Replica
from sender.runtime.tasks import end, start_told
from sender.shared_state.heartbeat import Heartbeat
from sender.shared_state.recent_records import RecentRecords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sender.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord
    from sender.shared_state.state_server import StateServer

PAGE: Final = 500
MOST_REMEMBERED: Final = 100_000
CLOSING: Final = 3.0
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks whether the other replicas have said what they know."""

log = structlog.get_logger()


class SharedLedger(Ledger):
    """Made by `sender.shared_state.state_url.open_state`."""

    def __init__(self, server: StateServer, *, on_lost: Callable[[BaseException], None] | None = None) -> None:
        self._connection = server.connection
        self._jobs = server.jobs
        self._heartbeat = Heartbeat(server.connection, server.jobs)
        self._on_lost = on_lost or (lambda _: None)
        self._logged = 0
        self._seen: dict[str, JobRecord] = {}
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
        self.run = await self._jobs.join()
        self._logged = 0
        self._recent.clear()
        await end(self._tasks)
        self._tasks = (
            start_told(self._heartbeat.keep_beating(self.run), "state: heartbeat", self._on_lost),
            start_told(self._tell_again(), "state: after a restart", self._on_lost),
        )

    async def bind_workspace(self, name: str) -> None:
        """Say which workspace the key belongs to; UsageError when the state knows another."""
        known = await self._jobs.bind("workspace", name)
        if known != name:
            raise UsageError(
                f"the state at {self._connection.shown} belongs to the workspace {known}, this key to {name}: "
                "use the other key, or another database"
            )

    async def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        found = await self._jobs.find(self.run, keys)
        for key, record in found.items():
            if record.state in ("rejected", "in_doubt"):
                self._remember(key, record)
        return found

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        """See `Ledger.hand_over`; one that was rejected or is in doubt is given only to who had seen it so."""
        refused = await self._jobs.hand_over(self.run, records, self._seen)
        for record in records:
            self._seen.pop(record.key, None)
            if record.key not in refused:
                self._recent.handed_over(record)
        return refused

    async def release(self, keys: Sequence[str]) -> None:
        await self._jobs.release(self.run, keys)
        self._recent.released(keys)

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        last = await self._jobs.finish(self.run, records, self._logged)
        self._recent.finished(records)
        return last

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; told to the server with the next `finish`."""
        self._logged = max(self._logged, upto)

    async def unlogged(self) -> list[bytes]:
        """See `Ledger.unlogged`; what dead replicas left is among them."""
        return (await self._jobs.outbox(self.run, self._logged))[1]

    async def last_seq(self) -> int:
        """See `Ledger.last_seq`; takes over what dead replicas left."""
        return (await self._jobs.outbox(self.run, self._logged))[0]

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        """See `Ledger.doubts`; with the flag what dead replicas left, each for one taker, until it is settled."""
        if earlier_runs_handed_over:
            while await self._jobs.take(self.run, PAGE):
                pass
        after = ""
        while True:
            found = await self._jobs.doubts(self.run, taken=earlier_runs_handed_over, after=after, most=PAGE)
            for doubt in found:
                yield doubt
            if len(found) < PAGE:
                return
            after = found[-1].key

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; as far back as `keep`."""
        return await self._jobs.known_results(results)

    async def count(self) -> dict[str, int]:
        return await self._jobs.count()

    async def replicas(self) -> list[Replica]:
        """All that have not left, in the order in which they came."""
        found = sorted(await self._jobs.owners())
        return [Replica(number, seen / 1e6, jobs, number == self.run) for number, seen, jobs in found]

    async def get_note(self, name: str) -> bytes | None:
        return await self._jobs.get_note(name)

    async def put_note(self, name: str, value: bytes) -> None:
        await self._jobs.put_note(name, value)

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """See `Ledger.swap_note`; give each value something of its writer's own, then a lost answer is no riddle."""
        before = self._connection.calls
        swapped = await self._jobs.swap_note(name, expected, new)
        if swapped or self._connection.calls == before + 1:
            return swapped
        return await self.get_note(name) == new  # an earlier try of this call may have been carried out unheard

    async def close(self) -> None:
        """See `Ledger.close`; gives up after a few seconds when the server is away."""
        await end(self._tasks)
        with suppress(TimeoutError, OutputError):
            async with asyncio.timeout(CLOSING):
                await self._jobs.outbox(self.run, self._logged)
                await self._jobs.leave(self.run)

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
        before = self._connection.history
        forgotten = await self._recent.tell_again(self)
        left, waits = await self._jobs.told(self.run)
        while left and waits:
            await asyncio.sleep(LOOK_AGAIN)
            left, waits = await self._jobs.told(self.run)
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
        self._seen[key] = record
