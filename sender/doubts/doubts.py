"""What a run does about jobs in doubt: remembers what will settle them, and settles them at its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.known_deliveries import NOTE, KnownDeliveries
from sender.doubts.reconciler import Reconciler
from sender.doubts.resolver import DoubtResolver, Settlement
from sender.engine.trigger_follower import WaitingTrigger
from sender.jobs.problem import Problem
from sender.ledger import FinalRecord

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.jobs.kinds import Kind
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import Recorder

ALIVE: Final = "alive"
SIGN_OF_LIFE: Final = 1.0
"""Seconds between signs of life in the ledger, which tell a later run when this one died."""
DYING: Final = 10.0

log = structlog.get_logger()


class Doubts:
    """The run's part in what nobody knows; `note_end` is told of every end."""

    def __init__(self, workspace: Workspace, ledger: Ledger, recorder: Recorder, settings: Settings) -> None:
        self._workspace = workspace
        self._ledger = ledger
        self._recorder = recorder
        self._settings = settings
        self._witnesses = KnownDeliveries()
        self._kept: dict[str, JobExecution] = {}
        self._room = settings.memory
        self.settlement = Settlement()
        """What the last `settle` came to."""

    async def open(self) -> set[str]:
        """Take up what earlier runs left; returns the keys of jobs that they left handed over, in doubt from now on."""
        self._witnesses = KnownDeliveries(await self._ledger.get_note(NOTE))
        return await self.carry()

    async def carry(self) -> set[str]:
        """Put in doubt what a run or replica that died left handed over; returns the keys."""
        alive = float(await self._ledger.get_note(ALIVE) or 0) + SIGN_OF_LIFE + DYING
        carried = await carry(self._ledger, alive)
        if carried:
            await self._recorder.replay()
        if self._workspace.triggers is not None:
            for waiting in carried.values():
                if waiting is not None:
                    self._workspace.triggers.doubted(waiting)
        return set(carried)

    @property
    def kept(self) -> list[str]:
        """Keys of the jobs that go again once they are surely absent."""
        return list(self._kept)

    def keeps(self, key: str) -> bool:
        """Whether the job is one of them."""
        return key in self._kept

    def keep(self, execution: JobExecution) -> None:
        """Keep it while there is room; what does not fit waits for the next run."""
        if len(execution.job.body) <= self._room and execution.job.key not in self._kept:
            self._room -= len(execution.job.body)
            self._kept[execution.job.key] = execution

    def take(self, key: str) -> JobExecution | None:
        """Keep it no longer."""
        execution = self._kept.pop(key, None)
        if execution is not None:
            self._room += len(execution.job.body)
        return execution

    async def note_end(self, execution: JobExecution, outcome: Outcome, resendable: bool) -> None:
        """Remember what a later settlement needs: proof of what was accepted, and the job that may go again."""
        kind = execution.job.kind
        if outcome.status == "in_doubt":
            self._witnesses.doubted(outcome.finished_at or time.time())
            if resendable and self._goes_again(kind, execution):
                self.keep(execution)
        elif outcome.status == "sent" and kind.lane == "send" and execution.tried_at is not None:
            delivery_id = str(dict(outcome.result).get("delivery_id", ""))
            self._witnesses.sent(kind.name, execution.template, delivery_id, execution.tried_at)
        if kind.lane == "trigger" and self._workspace.triggers is not None:
            await self._workspace.triggers.ended(execution, outcome)

    async def keep_notes(self) -> None:
        """Save what is remembered every few seconds, until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(SIGN_OF_LIFE)

    async def save(self) -> None:
        """Save what is remembered, with a sign of life."""
        await self._ledger.put_note(ALIVE, repr(time.time()).encode())
        if self._witnesses.changed:
            await self._ledger.put_note(NOTE, self._witnesses.save())

    async def settle(self) -> list[JobExecution]:
        """Wait until the API's lists can be trusted, read them, settle; returns the jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        self._workspace.reader.alone = True
        await self.save()
        following = asyncio.create_task(self._follow_broadcasts())
        try:
            self.settlement = await self._settle_all() if self._settings.reconcile else Settlement()
            await following
        finally:
            following.cancel()
        return self._absent()

    async def settle_ripe(self) -> list[JobExecution]:
        """The same without a wait, beside the work: whatever is too young stays open; returns jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        await triggers.look()
        resolver = self._resolver()
        if await resolver.doubtful_jobs():
            self.settlement = await resolver.settle(self._kept)
            return self._absent()
        return []

    def _absent(self) -> list[JobExecution]:
        executions = [self.take(key) for key in self.settlement.absent]
        return [execution for execution in executions if execution is not None]

    async def _settle_all(self) -> Settlement:
        resolver = self._resolver()
        doubtful_jobs = await resolver.doubtful_jobs()
        if not doubtful_jobs:
            return Settlement()
        wait = max(one.until for one in doubtful_jobs) + self._settings.reconcile_lag - time.time()
        log.info("settling jobs in doubt", in_doubt=len(doubtful_jobs), wait_s=round(max(0.0, wait)), skip="Ctrl-C")
        await asyncio.sleep(max(0.0, wait))
        settlement = await resolver.settle(self._kept)
        log.info("settled", **settlement.counts(), to_send_again=len(settlement.absent),
                 still_in_doubt=len(settlement.still_open))
        for why, number in settlement.reasons().items():
            log.info("still in doubt", jobs=number, because=why)
        if not self._workspace.reader.readable:
            log.warning("the key may not read: nothing is polled or reconciled")
        return settlement

    async def _follow_broadcasts(self) -> None:
        triggers = self._workspace.triggers
        if triggers is None or not triggers.waiting:
            return
        log.info("following broadcasts", waiting=triggers.waiting, at_most_s=self._settings.broadcast_wait)
        try:
            async with asyncio.timeout(self._settings.broadcast_wait):
                await triggers.finish()
        except TimeoutError:
            log.warning("broadcasts are not processed yet; sender reconcile follows them", waiting=triggers.waiting)

    def _resolver(self) -> DoubtResolver:
        if self._workspace.triggers is None:
            raise ValueError("the lanes are not open")
        reconciler = Reconciler(
            self._workspace.reader, self._ledger, self._witnesses, lag=self._settings.reconcile_lag, wall=time.time
        )
        return DoubtResolver(reconciler, self._ledger, self._recorder.put, self._workspace.triggers, time.time)

    def _goes_again(self, kind: Kind, execution: JobExecution) -> bool:
        """Whether the job is sent again once it is surely absent; a newsletter always may, as it goes out once only."""
        if not self._settings.reconcile or execution.attempts >= self._settings.max_attempts:
            return False
        absent = self._settings.in_doubt == "resend-if-absent" and kind.lane == "send"
        return absent or kind.name == "newsletter_send"


async def carry(ledger: Ledger, alive: float) -> dict[str, WaitingTrigger | None]:
    """Put in doubt what earlier runs left handed over; returns their keys, with the trigger that may wait at the API.

    `alive` is the unix time until which the last of them may have lived, as far as it told.
    """
    carried: dict[str, WaitingTrigger | None] = {}
    entries: list[FinalRecord] = []
    now = time.time()
    async for doubt in ledger.doubts(earlier_runs_handed_over=True):
        detail: dict[str, Any] = orjson.loads(doubt.detail)
        since = detail.get("since") or 0.0
        detail |= {"until": now, "likely_until": min(now, max(alive, since + DYING))}
        detail["attempts"] = detail.get("attempts", 0) + 1
        one = DoubtfulJob.of(doubt._replace(detail=orjson.dumps(detail)), now)
        problem = Problem("unanswered", None, "an earlier run handed the job over and left no answer")
        line = one.outcome("in_doubt", problem).to_line()
        entries.append(FinalRecord(doubt.key, doubt.content, "in_doubt", line, detail=orjson.dumps(detail)))
        names = ("id", "source", "line", "attempts", "started_at", "written_at")
        facts = {name: detail.get(name) for name in names}
        waits = one.kind == "broadcast"
        carried[doubt.key] = (
            WaitingTrigger(one.key, one.content, one.resource_id, None, since, facts) if waits else None
        )
    if entries:
        await ledger.finish(entries)
    return carried
