"""What a session does about jobs in doubt: remembers what they are recognised by, and resolves them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from sender.doubts.doubted_attempts import DoubtedAttempts
from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.known_deliveries import NOTE, KnownDeliveries
from sender.doubts.matching import SKEW
from sender.doubts.orphans import ALIVE, SIGN_OF_LIFE, adopt_orphans
from sender.doubts.other_ledgers import OtherLedgers
from sender.doubts.reconciler import Reconciler
from sender.doubts.resolver import DoubtResolver, Resolved
from sender.engine.api_clock import STEP
from sender.ledger.ledger import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.doubts.other_ledgers import OtherLedger
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.jobs.kinds import Kind
    from sender.ledger.ledger import Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import Recorder

log = structlog.get_logger()


class Doubts:
    """The session's part in what nobody knows; `note_end` is told of every end."""

    def __init__(self, workspace: Workspace, ledger: Ledger, recorder: Recorder) -> None:
        self._workspace = workspace
        self._clock = workspace.clock
        self._ledger = ledger
        self._recorder = recorder
        self._settings = settings = workspace.settings
        self._known = KnownDeliveries()
        self._doubted = DoubtedAttempts(ledger, workspace.clock, settings.reconcile_lag)
        self._resolver = DoubtResolver(ledger, self._doubted, recorder.put, self._clock, self._trigger_resolved)
        self._kept: dict[str, JobExecution] = {}
        self._room = settings.memory
        self.resolved = Resolved()
        """What the last pass came to."""
        self.find_others: Callable[[], Sequence[OtherLedger]] = tuple
        """Opens the ledgers of other runs that may have made what the API shows."""

    async def open(self) -> set[str]:
        """Take up what earlier runs left; returns the keys of jobs that they left handed over, in doubt from now on."""
        self._known = KnownDeliveries(await self._ledger.get_note(NOTE))
        orphans = await self.adopt_orphans()
        await self._resolver.doubtful_jobs()
        return orphans

    async def adopt_orphans(self) -> set[str]:
        """Put in doubt what a run or replica that died left handed over; returns the keys."""
        orphans = await adopt_orphans(self._ledger, self._clock)
        if orphans:
            await self._recorder.replay()
        if self._workspace.triggers is not None:
            for waiting in orphans.values():
                if waiting is not None:
                    self._workspace.triggers.doubted(waiting)
        return set(orphans)

    def was_in_doubt(self, key: str) -> bool:
        """Whether an attempt of this job may have been accepted, in this run or an earlier one."""
        return self._doubted.knows(key)

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

    def note_end(self, execution: JobExecution, outcome: Outcome, resendable: bool) -> None:
        """Remember what a later pass needs: attempts that may have been accepted, proof of those that were, jobs."""
        kind = execution.job.kind
        if outcome.status == "in_doubt" or execution.doubted_since is not None:
            self._note_doubt(execution, outcome)
        if outcome.status == "in_doubt" and resendable and self._goes_again(kind, execution):
            self.keep(execution)
        if outcome.status == "sent" and kind.lane == "send":
            self._note_known(execution, outcome)
        if outcome.status == "sent" and kind.lane == "app":
            self._doubted.done(execution.job.key)

    def _note_doubt(self, execution: JobExecution, outcome: Outcome) -> None:
        job = execution.job
        self._known.doubted(self._clock.now())
        detail = execution.detail(outcome.finished_at, self._clock.marks_since(execution.clock_steps))
        doubt = Doubt(job.key, job.content, "in_doubt", detail, resendable=True)
        self._doubted.add(DoubtfulJob.of(doubt, self._clock))

    def _note_known(self, execution: JobExecution, outcome: Outcome) -> None:
        """Keep it as a proof, if the API's clock is known to agree with the time that we would tell."""
        ahead = self._clock.ahead_since(execution.clock_steps)
        if ahead is None or execution.tried_at is None or execution.doubted_since is not None:
            return
        facts = dict(outcome.result)
        begun, queued = execution.tried_at + ahead, facts.get("queued_at")
        took = (outcome.finished_at or execution.tried_at) - execution.tried_at
        if isinstance(queued, int | float) and not begun - SKEW <= queued <= begun + took + SKEW:
            return
        self._known.sent(execution.job.kind.name, execution.template, str(facts.get("delivery_id", "")), begun)

    async def keep_notes(self) -> None:
        """Save what is remembered every few seconds, until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(SIGN_OF_LIFE)

    async def save(self) -> None:
        """Save what is remembered, with a sign of life."""
        await self._ledger.put_note(ALIVE, repr(time.time()).encode())
        await self._doubted.save()
        if self._known.changed:
            await self._ledger.put_note(NOTE, self._known.save())

    async def resolve(self) -> list[JobExecution]:
        """Wait until the API's lists can be trusted, and resolve what they tell; returns the jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        self._workspace.reader.alone = True
        await self.save()
        following = asyncio.create_task(self._follow_broadcasts())
        try:
            self.resolved = await self._resolve_all() if self._settings.reconcile else Resolved()
            await following
        finally:
            following.cancel()
        return self._absent()

    async def resolve_ripe(self) -> list[JobExecution]:
        """The same without a wait, beside the work: whatever is too young stays open; returns jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        await triggers.look()
        if await self._resolver.doubtful_jobs():
            self.resolved = await self._resolve_now()
            return self._absent()
        return []

    def _absent(self) -> list[JobExecution]:
        executions = [execution for key in self.resolved.absent if (execution := self.take(key)) is not None]
        for execution in executions:
            execution.doubted_since = None  # of those attempts the end is known now
        return executions

    async def _resolve_all(self) -> Resolved:
        doubtful_jobs = await self._resolver.doubtful_jobs()
        if not doubtful_jobs:
            return Resolved()
        wait = self._until_trusted(doubtful_jobs)
        log.info("settling jobs in doubt", in_doubt=len(doubtful_jobs), wait_s=round(wait), skip="Ctrl-C")
        ends = asyncio.get_running_loop().time() + wait + 2 * STEP
        while wait > 0:  # what is thought to be the API's time may change meanwhile
            await asyncio.sleep(wait)
            left = self._until_trusted(await self._resolver.doubtful_jobs())
            wait = min(left, ends - asyncio.get_running_loop().time())
        resolved = await self._resolve_now()
        log.info("settled", **resolved.counts(), to_send_again=len(resolved.absent),
                 still_in_doubt=len(resolved.still_open))
        for why, number in resolved.reasons().items():
            log.info("still in doubt", jobs=number, because=why)
        if not self._workspace.reader.readable:
            log.warning("the key may not read: nothing is polled or reconciled")
        return resolved

    def _until_trusted(self, doubtful_jobs: Sequence[DoubtfulJob]) -> float:
        """Seconds until the API's lists show all of these attempts."""
        lag = self._settings.reconcile_lag
        last = max((one.until for one in doubtful_jobs), default=float("-inf"))
        return min(lag, max(0.0, last + lag - self._clock.now()))

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

    async def _resolve_now(self) -> Resolved:
        others = await OtherLedgers.open(self._ledger, self.find_others)
        try:
            lag = self._settings.reconcile_lag
            reconciler = Reconciler(self._workspace.reader, others, self._known, self._doubted, lag=lag)
            return await self._resolver.resolve(reconciler, self._kept)
        finally:
            others.close()

    def _trigger_resolved(self, key: str, trigger: int | None) -> None:
        if self._workspace.triggers is not None:
            self._workspace.triggers.resolved(key, trigger)

    def _goes_again(self, kind: Kind, execution: JobExecution) -> bool:
        """Whether the job is sent again once it is surely absent; a newsletter always may, as it goes out once only."""
        if not self._settings.reconcile or execution.attempts >= self._settings.max_attempts:
            return False
        absent = self._settings.in_doubt == "resend-if-absent" and kind.lane == "send"
        return absent or kind.name == "newsletter_send"
