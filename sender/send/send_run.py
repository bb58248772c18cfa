"""One run of `sender send`, from its plan to its exit status.

inputs -> intake -> session          (one intake for each lane: send, trigger, app)
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.errors import HaltError, OutputError, UsageError
from sender.inputs.inputs import open_inputs
from sender.inputs.line_count import LineCount
from sender.outcomes.summary import EXITS, Books, exit_status, summary_text
from sender.outcomes.tally import Tally
from sender.runtime.live.open_live import open_live
from sender.runtime.progress import Progress, Snapshot
from sender.runtime.stop_signals import StopRequest, StopSignals
from sender.runtime.supervisor import halt_of
from sender.send.canary import MOST_SHOWN, PartFeed, choose, command_that_goes_on, may_go_on
from sender.send.canary import tell as tell_canary
from sender.send.exclusions.exclusions import Exclusions
from sender.send.exclusions.suppressions import read_suppressions
from sender.send.intakes import Intakes
from sender.send.job_check import JobCheck, identities_of, parser_of
from sender.send.look_through import look_through, tell_changed
from sender.send.manifest import Manifest
from sender.send.most_rejected import MostRejected
from sender.send.passing_over import sent_lines
from sender.send.redirect import Redirect
from sender.send.run_end import RunEnd, close_books
from sender.send.stop_rules import StopRules
from sender.session.front_end import Listener
from sender.session.opening import open_session
from sender.session.other_memories import OtherMemories, find_memories, know_content
from sender.session.pauses import tell_pauses
from sender.session.stores import memory_of, shown_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.engine.job_execution import JobExecution
    from sender.engine.preflight import Preflight
    from sender.inputs.inputs import Inputs
    from sender.inputs.sent_lines import SentLines
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.live.live_view import LiveView
    from sender.send.canary import Place
    from sender.send.send_plan import SendPlan
    from sender.session.session import Session
    from sender.validation.parser import Parser

COUNT_WITHIN: Final = 3.0
"""Seconds that a stopped run takes to count lines that it never read."""

log = structlog.get_logger()


async def send_jobs(plan: SendPlan) -> RunEnd:
    """Do it all but tell of it; raises UsageError before anything is sent."""
    stop = StopRequest()
    async with open_live("send", plan.settings) as view, aclosing(
        open_inputs(plan.inputs, plan.reading)
    ) as inputs:
        if plan.settings.canary and len(inputs.file_names) < len(plan.inputs):
            raise UsageError("--canary chooses from files: a stream has nothing to choose from before it is read")
        with StopSignals(stop):
            exclusions = await asyncio.to_thread(Exclusions.of, plan.settings, lambda: stop.asked)
            check = JobCheck(parser_of(plan.settings), exclusions, Redirect.of(plan.settings))
            return await SendRun(plan, inputs, check, stop, view).execute()


class SendRun(Listener):
    """Feeds a session from the inputs, and counts what becomes of each line."""

    def __init__(
        self, plan: SendPlan, inputs: Inputs, check: JobCheck, stop: StopRequest, view: LiveView | None = None
    ) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._inputs = inputs
        self._check = check
        self._stop = stop
        self._view = view
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._intakes: Intakes | None = None
        self._sent: SentLines | None = None
        self._line_count = LineCount(inputs.files)
        self._books = Books()
        self._most_rejected = MostRejected.parse(plan.settings.max_rejected)
        self._rules = StopRules(plan.settings.stop_when)
        self._unsent: list[Outcome] = []
        """The latest ends of a canary that were no success."""
        self._session: Session | None = None
        self._tally = Tally(self._books, plan.settings.limit or None)

    async def execute(self) -> RunEnd:
        """From the preflight to what there is to say."""
        self._stop.on_asked(self._stop_reading)
        observer = None if self._view is None else self._view.observer()
        async with open_session(self._plan, self, self._stop, observer=observer) as (session, seen):
            self._session = session
            self._sent = sent_lines(self._plan, self._check, session.ledger, self._tally)
            if self._view is not None:
                from sender.send.send_view import SendControls, SendView

                self._view.show(
                    SendView(session, self._books, partial(self._snapshot, session)),
                    SendControls(session, self._settings),
                )
            manifest = Manifest(self._plan, session, self._inputs.versions)
            if self._settings.manifest:
                await manifest.begin()
            try:
                await self._work(session, seen)
            except UsageError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the books are told
                session.halt(halt_of(error))
            if self._sent is not None and self._stop.count < 2:
                with suppress(OutputError):
                    await self._sent.close()
            if self._stop.count < 2:  # what was never read is told, too, where it can be counted soon
                with suppress(TimeoutError):
                    async with asyncio.timeout(COUNT_WITHIN):
                        await self._line_count.complete()
            end = self._finish(session)
            if self._view is not None:
                self._view.end(" ".join((f"exit {end.status}: {EXITS[end.status]}", *end.reasons)))
            if self._settings.manifest and self._stop.count < 2:
                await manifest.end(end.status, self._summary(), self._check.exclusions)
            return end

    async def _work(self, session: Session, seen: Preflight) -> None:
        shown = self._settings.progress and not (self._view is not None and self._view.draws)
        progress = Progress(partial(self._snapshot, session), shown=shown)
        session.supervise(progress.run(), "progress", ends=True)
        check = self._check
        if self._settings.canary:
            from sender.send.canary_fates import check_until

            check_until(self._settings.until, self._plan.outcomes, readable=seen.readable)
        if check.exclusions is not None and self._settings.suppressions:
            await read_suppressions(session.workspace.reader, check.exclusions.suppressed)
        alone = self._settings.send_again or check.redirect is not None
        others = None if alone else await self._refuse_known(session, check.parser)
        await tell_changed(self._inputs, session.ledger)
        self._line_count.rows = await look_through(self._inputs, lambda: session.ended)
        if not session.ended:
            await session.workspace.warm()
        session.start()
        if self._plan.state:
            session.supervise(tell_pauses(session.workspace), "pauses")
        session.supervise(self._line_count.run(), "line count", ends=True)
        intakes = self._intakes = Intakes(
            self._inputs, session, check, self._tally, seen, frozenset(self._settings.retry),
            self._sent,
        )
        sent = await self._send_canary(session, check, intakes) if self._settings.canary else None
        await intakes.run(others, None if sent is None else partial(PartFeed, places=sent, inside=False))
        if others is not None:
            others.close()
        await session.drain()
        await intakes.wait_for_others(self._stop)
        await session.settle()

    async def _refuse_known(self, session: Session, parser: Parser) -> OtherMemories | None:
        """UsageError when another memory knows jobs of the files; returns what the streams are held against."""
        plan, files = self._plan, self._inputs.file_names
        workspace = await session.ledger.get_note("workspace")
        memories = await asyncio.to_thread(
            find_memories, plan.ledger, plan.outcomes, [Path(name) for name in files], memory_of(plan),
            None if workspace is None else workspace.decode(),
        )
        if not memories:
            return None
        others = OtherMemories(memories, session.ledger, identities_of(parser, by_content=know_content(memories)))
        if files:
            log.info("comparing with other memories", memories=len(others))
            await others.refuse(self._inputs.lines_of_files(), lambda: session.ended)
        if len(files) < len(plan.inputs):
            return others
        others.close()
        return None

    async def _send_canary(self, session: Session, check: JobCheck, intakes: Intakes) -> frozenset[Place]:
        """Send a few jobs first, and halt where nobody says that the others may follow; returns where these stand."""
        sample = await choose(self._inputs.lines_of_files(), check, self._settings, lambda: session.ended)
        places = sample.places
        await intakes.run(None, partial(PartFeed, places=places, inside=True))
        await session.drain()
        tell_canary(self._books, self._unsent)
        if sample.is_all:  # what is left can only be told of
            return places
        if not session.ended and not await self._may_go_on(session):
            session.halt(HaltError(
                f"the canary's {len(places):,} jobs have ended, and the others were not sent. To send them: "
                f"{command_that_goes_on(sys.argv[1:])}"
            ))
        return places

    async def _may_go_on(self, session: Session) -> bool:
        """Whether the others may be sent: by what became of the canary, or by whoever is asked."""
        if self._settings.until:
            from sender.send.canary_fates import arrived

            return self._books.all_sent and await arrived(self._plan, session.workspace.reader, self._stop)
        return await may_go_on(self._books, self._settings.canary_wait, self._stop)

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `FrontEnd.on_recorded`: count them."""
        for ended in batch:
            key = ended.entry.key if ended.entry is not None else None
            if ended.later and key is not None:
                self._tally.settled(key, ended.outcome)
            else:
                self._tally.ended(key, ended.outcome)
                if self._sent is not None and ended.outcome.status == "sent":
                    self._sent.ended(ended.outcome.source, ended.outcome.line)
                self._rules.see(ended.outcome)
            if ended.outcome.status not in ("sent", "duplicate") and self._settings.canary:
                self._unsent = [*self._unsent[-MOST_SHOWN:], ended.outcome]
        error = self._most_rejected.broken(self._books) or self._rules.broken
        if self._session is not None and error is not None:
            self._session.halt(error)

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `FrontEnd.on_refused`: the job counts as the other replica leaves it, or as not started here."""
        if self._intakes is not None:
            self._intakes.refused(execution, record)

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
        books, intakes = self._books, self._intakes
        late = None if intakes is None else intakes.late
        unread = (0 if intakes is None else intakes.held) + (0 if self._tally.full else self._inputs.unread)
        books.read += unread
        books.not_started += unread + (0 if intakes is None else intakes.elsewhere)
        close_books(books, session)
        if isinstance(late, UsageError) and not books.attempts:
            raise late
        closed = session.workspace.closed_kinds
        stopped = session.halted is not None or self._stop.asked or bool(closed)
        if stopped:
            books.count_unread(self._line_count.total)
        status = exit_status(books, halted=stopped, errors_late=late is not None)
        reasons = [f"the API takes no jobs of kind {kind}: {said}. Those that are left were not sent; the same command "
                   "takes them up" for kind, said in sorted(closed.items())]
        if session.halted is not None or late is not None:
            reasons.append(str(session.halted or late))
        summary = self._summary()
        as_json = self._settings.json
        text = orjson.dumps(summary).decode() if as_json else summary_text(summary, status, books.in_all)
        return RunEnd(status, text, tuple(reasons))

    def _summary(self) -> dict[str, Any]:
        return self._books.summary(
            self._loop.time() - self._begin, outcomes=str(self._plan.outcomes), ledger=shown_memory(self._plan)
        )
