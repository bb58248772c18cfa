"""`sender.open_session`: what `sender send` does, for Python programs (docs/library.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.config.api_key import ApiKey
from sender.config.load import checked, state_of
from sender.config.settings import Settings
from sender.errors import HaltError, SenderError, UsageError
from sender.jobs.job import Line
from sender.outcomes.outcome import Outcome
from sender.runtime.stop_signals import StopRequest
from sender.send.exclusions.exclusions import Exclusions
from sender.send.exclusions.suppressions import read_suppressions
from sender.send.intake import Intake
from sender.send.job_check import JobCheck, parser_of
from sender.send.job_feed import JobFeed
from sender.send.redirect import Redirect
from sender.send.stop_rules import StopRules
from sender.session.front_end import Listener
from sender.session.opening import open_session as open_inner_session
from sender.session.session_plan import SessionPlan
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sender.engine.job_execution import JobExecution
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.recorder import FinishedJob
    from sender.session.session import Session

SOURCE: Final = "python"
"""The `source` of these outcomes; their `line` counts the jobs of the session."""
MOST_OUTSTANDING: Final = 2000
"""Jobs of one `send_all` that are taken from their source and have not ended."""
LOOK_AGAIN: Final = 1.0
"""Seconds between looks at jobs that another replica has in hand."""

JobInput = Mapping[str, Any] | str | bytes
"""A job as in docs/job-format.md: an envelope or a bare payload, as a mapping or as its line."""


class SendSession(Listener):
    """Sends jobs, and tells what became of each; made by `open_session`."""

    def __init__(self, settings: Settings) -> None:
        exclusions = Exclusions.of(settings)
        self._check = JobCheck(parser_of(settings), exclusions, Redirect.of(settings))
        self._rules = StopRules(settings.stop_when)
        self._session: Session | None = None
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._numbers = count(1)
        self._feeds: dict[LaneName, JobFeed] = {}
        self._intakes: list[Intake] = []
        self._error: HaltError | None = None
        self.read = 0
        """Jobs that were taken up."""

    async def send(self, job: JobInput) -> Outcome:
        """The job's outcome, as soon as it is durable; HaltError when the session cannot go on, or was closed.

        A job that an earlier session sent is `duplicate`; one that it left otherwise has the status that stands.
        """
        return await (await self._hand_in(job))

    async def send_all(self, jobs: AsyncIterable[JobInput] | Iterable[JobInput]) -> AsyncIterator[Outcome]:
        """The outcomes of these jobs, each as soon as it is durable; HaltError as in `send`.

        At most `MOST_OUTSTANDING` jobs are taken ahead of the outcomes that were read.
        """
        ends: asyncio.Queue[asyncio.Future[Outcome] | None] = asyncio.Queue()
        room = asyncio.Semaphore(MOST_OUTSTANDING)
        feeding = asyncio.create_task(self._hand_in_all(jobs, ends, room))
        feeding.add_done_callback(lambda _: ends.put_nowait(None))
        outstanding: int | None = None
        read = 0
        try:
            while outstanding is None or read < outstanding:
                end = await ends.get()
                if end is None:
                    outstanding = feeding.result()
                    continue
                read += 1
                room.release()
                yield end.result()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _hand_in_all(
        self,
        jobs: AsyncIterable[JobInput] | Iterable[JobInput],
        ends: asyncio.Queue[asyncio.Future[Outcome] | None],
        room: asyncio.Semaphore,
    ) -> int:
        number = 0
        async for job in _each(jobs):
            await room.acquire()
            (await self._hand_in(job)).add_done_callback(ends.put_nowait)
            number += 1
        return number

    async def _hand_in(self, job: JobInput) -> asyncio.Future[Outcome]:
        if self._error is not None:
            raise self._error
        data = job if isinstance(job, bytes) else job.encode() if isinstance(job, str) else orjson.dumps(dict(job))
        number = next(self._numbers)
        ended = self._waiting[number] = asyncio.get_running_loop().create_future()
        if not await self._feeds[self._check.parser.lane_of(data)].put(Line(SOURCE, number, data)):
            self._fail(number, self._error or HaltError("the session is closed, and the job was not started"))
        return ended

    async def begin(self, session: Session, settings: Settings) -> None:
        """Feed the lanes of this session from now on."""
        self._session, retry = session, settings.retry
        if self._check.exclusions is not None and settings.suppressions:
            await read_suppressions(session.workspace.reader, self._check.exclusions.suppressed)
        for name, lane in session.workspace.lanes.items():
            feed = self._feeds[name] = JobFeed()
            intake = Intake(feed, lane, session, self._check, self, retry=frozenset(retry))
            self._intakes.append(intake)
            session.supervise(intake.run(), f"intake {name}", ends=True)
        session.supervise(self._look_again(session), "look at other replicas")

    async def finish(self, session: Session) -> None:
        """Take no further job, and return when those that were handed in have ended."""
        for feed in self._feeds.values():
            await feed.stop()
        if self._waiting and not session.ended:
            await asyncio.wait(self._waiting.values())
        await session.drain()
        self.on_halt(HaltError("the session is closed, and the job was not started"))

    async def _look_again(self, session: Session) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            if any(intake.elsewhere for intake in self._intakes):
                session.orphans |= await session.doubts.adopt_orphans()
                for intake in self._intakes:
                    await intake.look_again()

    @property
    def full(self) -> bool:
        """See `Tally.full`: a program says itself when it is done."""
        return False

    def take_one(self) -> None:
        """See `Tally.take_one`."""

    def known(self, job: Job, record: JobRecord) -> None:
        """See `Tally.known`: an earlier session ended the job."""
        status = {"sent": "duplicate", "handed_over": "in_doubt"}.get(record.state, record.state)
        self._end(Outcome(job.id, job.kind.name, status, job.source, job.line, meta=job.meta))  # type: ignore[arg-type]

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `FrontEnd.on_recorded`."""
        for ended in batch:
            if not ended.later:
                self._rules.see(ended.outcome)
                self._end(ended.outcome)
        if self._session is not None and self._rules.broken is not None:
            self._session.halt(self._rules.broken)

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `FrontEnd.on_refused`."""
        for intake in self._intakes:
            if intake.lane.name == execution.job.kind.lane:
                intake.refused(execution.job, record)

    def on_left(self, execution: JobExecution) -> None:
        """See `FrontEnd.on_left`."""
        kind = execution.job.kind.name
        self._fail(
            execution.job.line, self._error or HaltError(f"the job was not started: nothing of kind {kind} is sent now")
        )

    def on_halt(self, error: HaltError) -> None:
        """See `FrontEnd.on_halt`: whoever waits is told."""
        self._error = self._error or error
        for number in list(self._waiting):
            self._fail(number, self._error)

    def _end(self, outcome: Outcome) -> None:
        waiting = self._waiting.pop(outcome.line, None) if outcome.source == SOURCE else None
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def _fail(self, number: int, error: SenderError) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # it is told to whoever waits; if nobody does, asyncio need not complain


@asynccontextmanager
async def open_session(settings: Settings | None = None, *, api_key: str | None = None) -> AsyncIterator[SendSession]:
    """A session with the guarantees of `sender send`: paced, recorded in ledger and outcome log, doubts resolved.

    `settings` are those of the command line (docs/configuration.md); the key comes from `api_key`, from the file that
    the settings name, or from SENDER_API_KEY. At its end the session waits for the jobs in hand and resolves what is
    in doubt. Raises UsageError when something is surely wrong before anything is sent, HaltError when it had to stop.
    """
    plan = _plan(checked(settings or Settings()), api_key)
    front_end, stop = SendSession(plan.settings), StopRequest()
    async with open_inner_session(plan, front_end, stop) as (session, _):
        await front_end.begin(session, plan.settings)
        session.start()
        try:
            yield front_end
            await front_end.finish(session)
            await session.settle()
        except BaseException:
            stop.ask()
            await front_end.finish(session)
            raise
        if session.halted is not None:
            raise session.halted


def _plan(settings: Settings, api_key: str | None) -> SessionPlan:
    if settings.canary:
        raise UsageError("canary is for files: a program sends a few jobs and looks at their outcomes itself")
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    key = ApiKey.load(settings.api_key_file) if api_key is None else ApiKey(api_key)
    outcomes = Path(settings.outcomes or f"sender.{'rehearsal' if settings.redirect_to else 'outcomes'}.jsonl")
    ledger = Path(settings.ledger or f"{outcomes}.ledger")
    return SessionPlan(settings, base_url, outcomes, ledger, key, state_of(settings))


async def _each(jobs: AsyncIterable[JobInput] | Iterable[JobInput]) -> AsyncIterator[JobInput]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job
