"""One run of `sender send`, from its plan to its exit status: opened first is closed last.

source -> intake -> lane -> transport          (one intake and one lane for each of send, trigger, app)
                      |
                      v
                  recorder -> ledger, outcome log -> books
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final

import anyio
import orjson
import structlog

from sender.doubts.doubts import Doubts
from sender.engine.identities import Identities
from sender.engine.preflight import Preflight, TemplateCheck, look_ahead
from sender.engine.workspace import Workspace
from sender.errors import HaltError, InputError, OutputError, SenderError, UsageError
from sender.inputs.inputs import Inputs, open_inputs
from sender.inputs.line_count import LineCount
from sender.outcomes.outcome_log import OutcomeLog
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.outcomes.summary import Books, exit_status, summary_text
from sender.outcomes.tally import Tally
from sender.runtime.progress import Progress, Snapshot
from sender.runtime.stop_signals import StopSignals
from sender.send.intake import Intake
from sender.session.stores import open_ledger, open_shared, refuse_older_log
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from sender.engine.job_execution import JobExecution
    from sender.engine.lane import Lane
    from sender.engine.lane_context import LaneContext
    from sender.ledger import JobRecord, Ledger
    from sender.ledger.sqlite_ledger import SqliteLedger
    from sender.send.send_plan import SendPlan
    from sender.shared_state.redis_ledger import RedisLedger
    from sender.shared_state.shared_state import SharedState

OTHERS_EVERY: Final = 1.0
OTHERS_WAIT: Final = 60.0
"""Seconds that a run waits at its end for jobs that another replica holds; a dead one is known after 30."""
UNCLEAN_WAIT: Final = 60.0
"""Seconds after which a run that was killed can no longer count towards the limit."""

log = structlog.get_logger()


async def send_jobs(plan: SendPlan) -> int:
    """Do it all; returns the exit status, raises UsageError before anything is sent."""
    if plan.settings.dry_run:
        from sender.send.dry_run import rehearse

        return rehearse(plan)
    async with AsyncExitStack() as stack:
        source = open_inputs(plan.inputs)
        stack.push_async_callback(source.aclose)
        state = None
        if plan.state:
            state = await open_shared(
                plan.state, plan.base_url, plan.settings, stack, on_lost=lambda error: run.halt(error)
            )
            await refuse_older_log(plan.outcomes, state)
        run = Run(plan, source, state)
        stack.push_async_callback(run.workspace.transport.aclose)
        stack.enter_context(StopSignals(run.stop))
        return await run.execute(stack)


class Run:
    """The parts of one run and how they are wired."""

    def __init__(self, plan: SendPlan, source: Inputs, state: SharedState | None = None) -> None:
        settings = plan.settings
        if plan.api_key is None:
            raise ValueError("a run needs a key")
        self._plan = plan
        self._source = source
        self._state = state
        self._memory = str(plan.ledger) if state is None else state.shown
        self._intakes: list[Intake] = []
        self._settings = settings
        self._begin = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._stop_asked = asyncio.Event()
        self._halted: HaltError | None = None
        self._late: SenderError | None = None
        self._line_count = LineCount(source.files)
        self.books = Books()
        self._tally = Tally(self.books, settings.limit or None)
        self._left = 0
        self.workspace = Workspace(plan.base_url, plan.api_key, settings, time.time, state=state, joins=True)

    async def execute(self, stack: AsyncExitStack) -> int:
        """From the preflight to the exit status."""
        seen = await self._look_ahead()
        if seen.warning:
            log.warning(seen.warning)
        ledger = await self._open_ledger(stack)
        if seen.workspace is not None:
            await ledger.bind_workspace(seen.workspace)
        outcome_log = OutcomeLog.open(self._plan.outcomes)
        stack.callback(outcome_log.close)
        await self._announce(ledger)
        return await self._work(ledger, outcome_log, seen)

    async def _open_ledger(self, stack: AsyncExitStack) -> SqliteLedger | RedisLedger:
        if self._state is not None:
            return self._state.ledger
        ledger = await open_ledger(self._plan.ledger, self._plan.base_url, self._settings, stack)
        self._wait_out(ledger)
        return ledger

    async def _look_ahead(self) -> Preflight:
        """The preflight, which a signal cuts short."""
        if not self._settings.preflight:
            return Preflight()
        looking = asyncio.create_task(look_ahead(self.workspace.reader.get, self._plan.base_url))
        stopping = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if looking.done():
            return looking.result()
        looking.cancel()
        return Preflight()

    async def _work(self, ledger: Ledger, outcome_log: OutcomeLog, seen: Preflight) -> int:
        identities = Identities(ledger)
        recorder = Recorder(ledger, outcome_log, lambda batch: self._count(batch, identities))
        doubts = Doubts(self.workspace, ledger, recorder, self._settings)
        context = await self.workspace.open_lanes(
            ledger, identities, recorder.put,
            halt=self.halt, on_end=doubts.note_end, on_refused=self._refused,
        )
        beside = [
            asyncio.create_task(self._record(recorder), name="recorder"),
            asyncio.create_task(Progress(self._snapshot, shown=self._settings.progress).run(), name="progress"),
        ]
        try:
            await recorder.replay()
            carried = await doubts.open()
            beside.append(asyncio.create_task(self._guard(doubts.keep_notes()), name="notes"))
            self.workspace.reader.readable = seen.readable
            beside.append(asyncio.create_task(self._guard(self.workspace.follow_triggers()), name="triggers"))
            if self._stopped:
                self._stop_lanes()
            else:
                await self.workspace.warm()
            beside.append(asyncio.create_task(self._line_count.run(), name="line count"))
            await self._run_lanes(context, carried, seen)
            await recorder.drain()
            await self._wait_for_others(doubts, recorder)
            await self._settle(doubts, recorder, beside[0])
        except OutputError as error:
            self.halt(error)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return self._finish()

    async def _wait_for_others(self, doubts: Doubts, recorder: Recorder) -> None:
        """Jobs that another replica has in hand: count them as it leaves them, and start those that it gives back."""
        until = self._loop.time() + OTHERS_WAIT
        while self._elsewhere() and not self._ends_early and self._loop.time() < until:
            carried = await doubts.carry()
            for intake in self._intakes:
                await intake.look_again(carried)
            async with anyio.create_task_group() as group:
                for lane in self.workspace.lanes.values():
                    if lane.waiting:
                        lane.take_again(())
                        group.start_soon(self._run_lane, lane)
            await recorder.drain()
            if self._elsewhere():
                await self._pause(OTHERS_EVERY)

    @property
    def _ends_early(self) -> bool:
        return self._stopped or self._halted is not None or self._tally.full

    def _elsewhere(self) -> int:
        return sum(len(intake.elsewhere) for intake in self._intakes)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not after a signal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()

    async def _settle(self, doubts: Doubts, recorder: Recorder, recording: asyncio.Task[None]) -> None:
        """Settle what is in doubt, and send again what surely was not accepted, until nothing changes; or a signal."""
        while not self._stopped and self._halted is None:
            settling = asyncio.create_task(doubts.settle())
            stopping = asyncio.create_task(self._stop_asked.wait())
            await asyncio.wait({settling, stopping, recording}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not settling.done():
                settling.cancel()
                await asyncio.gather(settling, return_exceptions=True)
                break
            again = settling.result()
            if again:
                await self._send_again(again)
            await recorder.drain()
            if not again:
                break
        await doubts.save()
        await recorder.drain()

    async def _send_again(self, executions: list[JobExecution]) -> None:
        async with anyio.create_task_group() as group:
            for lane in self.workspace.lanes.values():
                mine = [execution for execution in executions if execution.job.kind.lane == lane.name]
                if mine:
                    lane.take_again(mine)
                    group.start_soon(self._guard, lane.run())

    async def _guard(self, work: Awaitable[object]) -> None:
        """A ledger or log that cannot be written ends the run."""
        try:
            await work
        except OutputError as error:
            self.halt(error)

    async def _run_lanes(self, context: LaneContext, carried: set[str], seen: Preflight) -> None:
        parser = Parser(
            self._settings.kind,
            Options(self._settings.require_identifiers, frozenset(self._settings.risky_extensions)),
        )
        check = TemplateCheck(seen.templates)
        if self._stopped:
            self._source.stop()
        async with anyio.create_task_group() as group:
            for name, lane in self.workspace.lanes.items():
                feed = self._source.feed(name, parser.lane_of)
                intake = Intake(
                    feed, lane, parser, context, self._tally,
                    retry=frozenset(self._settings.retry), carried=carried, check=check,
                )
                self._intakes.append(intake)
                group.start_soon(self._feed, intake, lane)
                group.start_soon(self._run_lane, lane)

    async def _feed(self, intake: Intake, lane: Lane) -> None:
        """What breaks an input ends the reading; what was read goes on."""
        try:
            await intake.run()
        except (InputError, OutputError) as error:
            if isinstance(error, OutputError):
                self.halt(error)
            elif self._late is None:
                self._late = error
        except SenderError as error:
            self._late = self._late or error
            self._source.stop()
        finally:
            lane.fed()

    async def _run_lane(self, lane: Lane) -> None:
        try:
            left = await lane.run()
            self._left += len(left)
        except OutputError as error:
            self.halt(error)

    async def _record(self, recorder: Recorder) -> None:
        try:
            await recorder.run()
        except OutputError as error:
            self.halt(error)

    async def _announce(self, ledger: Ledger) -> None:
        counts = await ledger.count()
        finished = sum(number for state, number in counts.items() if state in ("sent", "rejected"))
        log.info("ledger", path=self._memory, finished=finished, in_doubt=counts.get("in_doubt", 0))

    def _wait_out(self, ledger: SqliteLedger) -> None:
        """Keep the ceiling over a kill and restart: what the last run wrote may still count."""
        if ledger.last_hand_over is None:
            return
        since = time.time() - ledger.last_hand_over
        for pacer in self.workspace.pacers.values():
            if pacer.window + (0 if ledger.was_clean else UNCLEAN_WAIT) > since > -UNCLEAN_WAIT:
                rest = pacer.window if pacer.window <= 1 else min(pacer.window, max(0.0, pacer.window - since) + 1)
                pacer.pause_until(self._loop.time() + rest)

    def _stop_lanes(self) -> None:
        for lane in self.workspace.lanes.values():
            lane.stop()

    def stop(self, *, now: bool) -> None:
        """A signal: finish what is in hand within the grace, or let go at once."""
        self._stopped = True
        self._stop_asked.set()
        self._source.stop()
        for lane in self.workspace.lanes.values():
            if now:
                lane.abort()
            else:
                lane.stop()
                self._loop.call_later(self._settings.grace, lane.abort)

    def halt(self, error: HaltError) -> None:
        """Start nothing further, for a reason."""
        if self._halted is None:
            self._halted = error
        self._source.stop()
        for lane in self.workspace.lanes.values():
            if isinstance(error, OutputError):
                lane.abort()
            else:
                lane.stop()

    def _count(self, batch: Sequence[FinishedJob], identities: Identities) -> None:
        for ended in batch:
            key = ended.entry.key if ended.entry is not None else None
            if ended.later and key is not None:
                self._tally.settled(key, ended.outcome)
                continue
            self._tally.ended(key, ended.outcome)
            if key is not None:
                identities.ended(key)

    def _refused(self, execution: JobExecution, standing: JobRecord) -> None:
        """Another replica has the job: it counts as that one leaves it, or as not started here."""
        for intake in self._intakes:
            if intake.lane_name == execution.job.kind.lane:
                intake.refused(execution.job, standing)

    def _snapshot(self) -> Snapshot:
        statuses, count = self.books.statuses, self._line_count
        return Snapshot(
            total=self._tally.most(count.total), countable=count.countable, done=self.books.ended,
            sent=statuses["sent"], sent_before=self.books.sent_before, invalid=statuses["invalid"],
            rejected=statuses["rejected"], failed=statuses["failed"], in_doubt=statuses["in_doubt"],
            in_hand=sum(lane.in_hand for lane in self.workspace.lanes.values()), stopping=self._stopped,
        )

    def _finish(self) -> int:
        self.books.not_started = self._left + self._elsewhere()
        if self.books.balance:
            # Only ends that could not be written are missing here: they are handed over, and in doubt for the next run.
            log.error("the books do not balance: the ledger holds the rest as handed over", lines=self.books.balance)
        for name in self.workspace.lanes:
            self.books.lanes[name] = self.workspace.figures(name)
        if isinstance(self._late, UsageError) and not self.books.attempts:
            raise self._late
        stopped = self._halted is not None or self._stopped or bool(self._halted_kinds())
        if stopped:
            self.books.count_unread(self._line_count.total)
        status = exit_status(self.books, halted=stopped, errors_late=self._late is not None)
        self._print(status)
        if self._halted is not None or self._late is not None:
            sys.stderr.write(f"sender: {self._halted or self._late}\n")
        return status

    def _halted_kinds(self) -> set[str]:
        kinds = self.workspace.halted_kinds()
        for kind in sorted(kinds):
            sys.stderr.write(f"sender: the API refuses jobs of kind {kind}; they were not started\n")
        return kinds

    def _print(self, status: int) -> None:
        summary = self.books.summary(
            time.monotonic() - self._begin, outcomes=str(self._plan.outcomes), ledger=self._memory
        )
        if self._settings.json:
            sys.stdout.write(orjson.dumps(summary).decode() + "\n")
        else:
            sys.stdout.write(summary_text(summary, status, self.books.in_all) + "\n")
