"""One run of `sender send`, from its plan to its exit status.

inputs -> intake -> session          (one intake for each lane: send, trigger, app)
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
import structlog
from anyio import move_on_after

from sender.engine.preflight import TemplateCheck
from sender.errors import HaltError, InputError, UsageError
from sender.inputs.inputs import open_inputs
from sender.inputs.line_count import LineCount
from sender.outcomes.summary import Books, exit_status, summary_text
from sender.outcomes.tally import Tally
from sender.runtime.progress import Progress, Snapshot
from sender.runtime.screen import SCREEN
from sender.runtime.stop_signals import StopRequest, StopSignals
from sender.runtime.supervisor import halt_of
from sender.send.intake import Intake
from sender.send.look_through import look_through, tell_changed
from sender.send.most_rejected import MostRejected
from sender.session.front_end import Listener
from sender.session.opening import open_session
from sender.session.other_memories import GuardedFeed, OtherMemories, find_memories
from sender.session.stores import host_of, shown_memory
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.engine.job_execution import JobExecution
    from sender.engine.preflight import Preflight
    from sender.inputs import Feed
    from sender.inputs.inputs import Inputs
    from sender.ledger import JobRecord
    from sender.outcomes.recorder import FinishedJob
    from sender.send.send_plan import SendPlan
    from sender.session.session import Session

COUNT_WITHIN: Final = 3.0
"""Seconds that a stopped run takes to count lines that it never read."""
OTHERS_EVERY: Final = 1.0
OTHERS_WAIT: Final = 60.0
"""Seconds that a run waits at its end for jobs that another replica holds; a dead one is known after 30."""

log = structlog.get_logger()


class RunEnd(NamedTuple):
    """What a run has to say at its end."""

    status: int
    """Exit status."""
    summary: str
    reasons: tuple[str, ...]
    """Why it did not come to its end."""

    def tell(self) -> int:
        """Print it, and return the exit status."""
        sys.stdout.write(f"{self.summary}\n")
        sys.stdout.flush()
        for reason in self.reasons:
            SCREEN.write(f"sender: {reason}\n")
        return self.status


async def send_jobs(plan: SendPlan) -> RunEnd:
    """Do it all but tell of it; raises UsageError before anything is sent."""
    stop = StopRequest()
    async with aclosing(open_inputs(plan.inputs, plan.reading)) as inputs:
        with StopSignals(stop):
            return await SendRun(plan, inputs, stop).execute()


class SendRun(Listener):
    """Feeds a session from the inputs, and counts what becomes of each line."""

    def __init__(self, plan: SendPlan, inputs: Inputs, stop: StopRequest) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._inputs = inputs
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._intakes: list[Intake] = []
        self._guards: list[GuardedFeed] = []
        self._late: InputError | UsageError | None = None
        """What broke an input after its beginning."""
        self._line_count = LineCount(inputs.files)
        self._books = Books()
        self._stop_rule = MostRejected.parse(plan.settings.max_rejected)
        self._session: Session | None = None
        self._tally = Tally(self._books, plan.settings.limit or None)

    async def execute(self) -> RunEnd:
        """From the preflight to what there is to say."""
        self._stop.on_asked(self._stop_reading)
        async with open_session(self._plan, self, self._stop) as (session, seen):
            self._session = session
            try:
                await self._work(session, seen)
            except UsageError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the books are told
                session.halt(halt_of(error))
            if self._stop.count < 2:  # what was never read is told, too, where it can be counted soon
                with move_on_after(COUNT_WITHIN):
                    await self._line_count.complete()
            return self._finish(session)

    async def _work(self, session: Session, seen: Preflight) -> None:
        progress = Progress(partial(self._snapshot, session), shown=self._settings.progress)
        session.supervise(progress.run(), "progress", ends=True)
        options = Options(self._settings.require_identifiers, frozenset(self._settings.risky_extensions))
        parser = Parser(self._settings.kind, options)
        others = None if self._settings.send_again else await self._refuse_known(session, parser)
        await tell_changed(self._inputs, session.ledger)
        self._line_count.rows = await look_through(self._inputs, lambda: session.ended)
        if not session.ended:
            await session.workspace.warm()
        session.start()
        session.supervise(self._line_count.run(), "line count", ends=True)
        await self._feed_lanes(session, parser, TemplateCheck(seen.templates, session.workspace.reader.get), others)
        if others is not None:
            others.close()
        await session.drain()
        await self._wait_for_others(session)
        await session.settle()

    async def _refuse_known(self, session: Session, parser: Parser) -> OtherMemories | None:
        """UsageError when another memory knows jobs of the files; returns what the streams are held against."""
        plan, files = self._plan, self._inputs.file_names
        workspace = await session.ledger.get_note("workspace")
        memories = await asyncio.to_thread(
            find_memories, plan.ledger, plan.outcomes, [Path(name) for name in files], host_of(plan.base_url),
            None if workspace is None else workspace.decode(),
        )
        if not memories:
            return None
        others = OtherMemories(memories, session.ledger, parser)
        if files:
            log.info("comparing with other memories", memories=len(others))
            await others.refuse(self._inputs.lines_of_files(), lambda: session.ended)
        if len(files) < len(plan.inputs):
            return others
        others.close()
        return None

    async def _feed_lanes(
        self, session: Session, parser: Parser, templates: TemplateCheck, others: OtherMemories | None
    ) -> None:
        feeding = []
        for name, lane in session.workspace.lanes.items():
            feed: Feed = self._inputs.feed(name, parser.lane_of)
            if others is not None:
                feed = others.guard(feed)
                self._guards.append(feed)
            retry = frozenset(self._settings.retry)
            intake = Intake(feed, lane, session, parser, self._tally, retry=retry, templates=templates)
            self._intakes.append(intake)
            feeding.append(session.supervise(self._feed(intake), f"intake {name}", ends=True))
        await asyncio.wait(feeding)

    async def _feed(self, intake: Intake) -> None:
        """What breaks an input ends the reading; what was read goes on."""
        try:
            await intake.run()
            if self._tally.full:  # a stream that stays open would never end for the other lanes
                self._inputs.stop()
        except InputError as error:
            self._late = self._late or error
        except UsageError as error:
            self._late = self._late or error
            self._inputs.stop()

    async def _wait_for_others(self, session: Session) -> None:
        """Jobs that another replica has in hand: count them as it leaves them, and start those that it gives back."""
        until = self._loop.time() + OTHERS_WAIT
        while self._elsewhere() and not (session.ended or self._tally.full) and self._loop.time() < until:
            session.orphans |= await session.doubts.adopt_orphans()
            for intake in self._intakes:
                await intake.look_again()
            await session.drain()
            if self._elsewhere():
                await self._stop.unless_asked(asyncio.sleep(OTHERS_EVERY))

    def _elsewhere(self) -> int:
        return sum(len(intake.elsewhere) for intake in self._intakes)

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `FrontEnd.on_recorded`: count them."""
        for ended in batch:
            key = ended.entry.key if ended.entry is not None else None
            if ended.later and key is not None:
                self._tally.settled(key, ended.outcome)
            else:
                self._tally.ended(key, ended.outcome)
        if self._session is not None and (error := self._stop_rule.broken(self._books)) is not None:
            self._session.halt(error)

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `FrontEnd.on_refused`: the job counts as the other replica leaves it, or as not started here."""
        for intake in self._intakes:
            if intake.lane.name == execution.job.kind.lane:
                intake.refused(execution.job, record)

    def on_left(self, execution: JobExecution) -> None:
        """See `FrontEnd.on_left`."""
        del execution
        self._books.not_started += 1

    def on_halt(self, error: HaltError) -> None:
        """See `FrontEnd.on_halt`."""
        del error
        self._inputs.stop()

    def _stop_reading(self, *, now: bool) -> None:
        del now
        self._inputs.stop()

    def _snapshot(self, session: Session) -> Snapshot:
        statuses, count = self._books.statuses, self._line_count
        return Snapshot(
            total=self._tally.most(count.total), countable=count.countable, done=self._books.ended,
            sent=statuses["sent"], sent_before=self._books.sent_before, invalid=statuses["invalid"],
            rejected=statuses["rejected"], failed=statuses["failed"], in_doubt=statuses["in_doubt"],
            in_hand=session.in_hand, stopping=self._stop.asked,
        )

    def _finish(self, session: Session) -> RunEnd:
        books, recorder = self._books, session.recorder
        unread = sum(guard.refused for guard in self._guards) + (0 if self._tally.full else self._inputs.unread)
        books.read += unread
        books.not_started += unread
        unclaimed = sum(ended.entry is None for ended in recorder.unrecorded)
        books.not_started += self._elsewhere() + recorder.dropped + unclaimed
        if books.balance > 0:
            log.error("ends could not be recorded: the ledger holds these jobs as handed over, and the next run "
                      "reports them in doubt", jobs=books.balance)
            books.statuses["in_doubt"] += books.balance
        if recorder.unlogged:
            log.warning("the ledger keeps outcome lines that the log did not take; the next run writes them",
                        lines=recorder.unlogged)
        for name in session.workspace.lanes:
            books.lanes[name] = session.workspace.figures(name)
        if isinstance(self._late, UsageError) and not books.attempts:
            raise self._late
        closed = session.workspace.closed_kinds
        stopped = session.halted is not None or self._stop.asked or bool(closed)
        if stopped:
            books.count_unread(self._line_count.total)
        status = exit_status(books, halted=stopped, errors_late=self._late is not None)
        reasons = [f"the API takes no jobs of kind {kind}: {said}. Those that are left were not sent; the same command "
                   "takes them up" for kind, said in sorted(closed.items())]
        if session.halted is not None or self._late is not None:
            reasons.append(str(session.halted or self._late))
        return RunEnd(status, self._summary(status), tuple(reasons))

    def _summary(self, status: int) -> str:
        summary = self._books.summary(
            self._loop.time() - self._begin, outcomes=str(self._plan.outcomes), ledger=shown_memory(self._plan)
        )
        as_json = self._settings.json
        return orjson.dumps(summary).decode() if as_json else summary_text(summary, status, self._books.in_all)
