"""A Station is one workspace at work in a consumer: takes jobs on, runs its lanes, ends their messages."""

from __future__ import annotations

import asyncio
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.closer import reason_of
from sender.doubts import Doubts
from sender.engine.admission import admit
from sender.engine.delivery import Delivery
from sender.engine.identities import Identities
from sender.errors import HaltError, OutputError, StateLost
from sender.kinds import LANES
from sender.outcome import Outcome
from sender.outcome_lines import OutcomeLines
from sender.preflight import look_ahead
from sender.problem import Problem
from sender.recorder import Ended, Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sender.consume.closer import Closer
    from sender.consume.holdings import Holding, Holdings
    from sender.engine.desk import Desk
    from sender.job import Job
    from sender.kinds import LaneName
    from sender.ledger import Ledger, Standing
    from sender.metrics import Observer
    from sender.recorder import Log
    from sender.settings import Settings
    from sender.tracing import Tracer
    from sender.workspace import Workspace

MOST_WAITING: Final = 200
"""Jobs that wait in one lane; what comes above that is given back."""
BURIED: Final = ("invalid", "rejected", "failed", "in_doubt")
RECONCILE_EVERY: Final = 5.0
LOST_HORIZON: Final = 6 * 3600.0
"""Seconds after the loss of a shared state for which a message that was given out before may have been sent."""
LEASE: Final = "reconciler"
LEASE_SECONDS: Final = 120.0

log = structlog.get_logger()


class Station:
    """Everything that one workspace needs; `run` works until `stop`."""

    def __init__(
        self, name: str | None, workspace: Workspace, ledger: Ledger, sink: Log, settings: Settings,
        holdings: Holdings, closer: Closer, observer: Observer, tracer: Tracer, on_halt: Callable[[], None],
    ) -> None:  # fmt: skip
        self.name = name
        self.workspace = workspace
        self.ledger = ledger
        self.halted: HaltError | None = None
        self._settings = settings
        self._holdings = holdings
        self._closer = closer
        self._observer = observer
        self._tracer = tracer
        self._on_halt = on_halt
        self._recorder = Recorder(ledger, sink, self._recorded)
        self._identities = Identities(ledger)
        self._doubts = Doubts(workspace, ledger, self._recorder, settings)
        self._lines = OutcomeLines(settings.log_level)
        self._desk: Desk | None = None
        self._stopping = False

    async def open(self, base_url: str) -> None:
        """Preflight and memory; UsageError when key or URL are surely wrong."""
        if self._settings.preflight:
            seen = await look_ahead(self.workspace.reader.get, base_url)
            self.workspace.reader.readable = seen.readable
            if seen.warning:
                log.warning(seen.warning)
            bind = getattr(self.ledger, "bind_workspace", None)
            if seen.workspace is not None and bind is not None:
                await bind(seen.workspace)
        self._desk = await self.workspace.open_lanes(
            self.ledger, self._identities, self._recorder.put,
            halt=self.halt, on_end=self._note_end, on_refused=self._refused,
        )  # fmt: skip
        await self._recorder.replay()
        await self._doubts.open()
        await self.workspace.warm()

    async def run(self) -> None:
        """Lanes, records and reconciliation, until `stop` and all that is in hand has ended."""
        beside = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("recorder", self._guard(self._recorder.run())),
                ("notes", self._guard(self._doubts.keep_notes())),
                ("triggers", self._guard(self.workspace.follow_triggers())),
                ("reconcile", self._guard(self._reconcile())),
            )
        ]
        try:
            await asyncio.gather(*(self._run_lane(name) for name in LANES))
            async with asyncio.timeout(max(1.0, self._settings.grace / 2)):
                await self._recorder.drain()
                await self._doubts.save()
        except TimeoutError:
            log.warning("outcomes could not be recorded; their jobs are in doubt for the next replica")
        except OutputError as error:
            self.halt(error)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def room(self, lane: LaneName) -> int:
        """Jobs that the lane takes on now."""
        waiting = self.workspace.lanes[lane].waiting if lane in self.workspace.lanes else MOST_WAITING
        return 0 if self._stopping or self.halted else max(0, MOST_WAITING - waiting)

    async def take_on(self, arrived: Sequence[tuple[Job, Holding]]) -> list[Holding]:
        """Start these jobs, or end their messages by what is known of them; returns those to be given back."""
        with await self._identities.look_up([job.key for job, _ in arrived]) as standings:
            return [holding for job, holding in arrived if not self._take_on(job, holding, standings.get(job.key))]

    def _take_on(self, job: Job, holding: Holding, standing: Standing | None) -> bool:
        """Start the job, or end its message by what is known of it; False: give the message back."""
        held = self._identities.held(job.key)
        if standing is not None and held is None and (standing.held or standing.state == "handed_over"):
            return False
        if standing is not None and standing.state == "failed":
            standing = None  # given up by an earlier delivery, and surely not accepted
        admission = admit(job, held, standing, run=0)
        if admission == "start":
            return self._take_up(job, holding)
        if admission == "duplicate":
            self._holdings.add(job.key, holding)
        elif admission == "id_conflict":
            problem = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
            self.refuse(holding, Outcome(job.id, job.kind.name, "invalid", job.source, job.line, problems=(problem,)))
        elif standing is not None:
            self._end_standing(job, holding, standing)
        return True

    def refuse(self, holding: Holding, outcome: Outcome) -> None:
        """A message that is no job."""
        key = f"message {holding.message.source} {holding.message.id}"
        self._holdings.add(key, holding)
        self._recorder.put(Ended(outcome, None, key=key))

    def stop(self, *, now: bool) -> None:
        """Start nothing more; or let go of what is in hand at once."""
        self._stopping = True
        for lane in self.workspace.lanes.values():
            if now:
                lane.abort()
            else:
                lane.stop()

    def halt(self, error: HaltError) -> None:
        """Nothing of this workspace is sent any more, for a reason."""
        if self.halted is None:
            self.halted = error
            log.error("a workspace has halted", workspace=self.name or "default", because=str(error))
        self.stop(now=isinstance(error, OutputError))
        self._on_halt()

    def withdraw(self, keys: Sequence[str]) -> None:
        """These jobs go back to their queue: those that wait are not started any more."""
        for key in keys:
            for holding in self._holdings.pop(key):
                if holding.delivery is not None:
                    holding.delivery.withdrawn = True
                self._identities.ended(key)

    def _take_up(self, job: Job, holding: Holding) -> bool:
        """Start a job of which nothing is known, unless something speaks against it; False: there is no room."""
        deliveries = holding.message.deliveries
        if holding.suspect:
            self._doubt(job, holding)
        elif deliveries > self._settings.max_deliveries:
            text = f"it was delivered {deliveries - 1} times, and nobody came to an end with it"
            problem = Problem("too_many_deliveries", None, text)
            self.refuse(holding, Delivery(job).outcome("invalid", problem))
        elif not self.room(job.kind.lane):
            return False
        else:
            self._start(job, holding)
        return True

    def _doubt(self, job: Job, holding: Holding) -> None:
        """Nobody knows whether it was sent before the shared state was lost."""
        now = time.time()
        delivery = Delivery(job, tried_at=now - LOST_HORIZON)
        problem = Problem("state_lost", None, "it was delivered before the shared state was lost")
        outcome = delivery.outcome("in_doubt", problem, finished_at=now)
        self._holdings.add(job.key, holding)
        self._recorder.put(Ended(outcome, delivery.entry(outcome)))

    def _start(self, job: Job, holding: Holding) -> None:
        delivery = Delivery(job, span=self._tracer.begin(job.kind.name, job.kind.lane, holding.message.headers))
        holding.delivery = delivery
        self._holdings.add(job.key, holding)
        self._identities.hold(job.key, job.content)
        self.workspace.lanes[job.kind.lane].accept_delivery(delivery)

    def _end_standing(self, job: Job, holding: Holding, standing: Standing) -> None:
        """A job that ended before: its message only has to go the rest of its way."""
        if standing.state == "sent":
            self._closer.ack(holding)
        elif standing.state == "in_doubt" and self._waits_for_settlement(job.kind.lane):
            self._holdings.add(job.key, holding)
            if standing.resendable:
                self._doubts.keep(Delivery(job))
        else:
            self._closer.bury(holding, {"reason": standing.state, "id": job.id, "kind": job.kind.name})

    def _waits_for_settlement(self, lane: LaneName) -> bool:
        return self._settings.in_doubt == "resend-if-absent" and lane == "send" and self.workspace.reader.readable

    def _refused(self, delivery: Delivery, standing: Standing) -> None:
        """Another replica has the job: its message is given back, or is done."""
        self._identities.ended(delivery.job.key)
        for holding in self._holdings.pop(delivery.job.key):
            if standing.held or standing.state == "handed_over":
                holding.delivery = None
                asyncio.get_running_loop().create_task(_give_back(holding))
            else:
                self._end_standing(delivery.job, holding, standing)

    async def _note_end(self, delivery: Delivery, outcome: Outcome, resendable: bool) -> None:
        code = outcome.problems[0].code if outcome.problems else None
        delivery.span.end(outcome.status, code)
        await self._doubts.note_end(delivery, outcome, resendable)

    def _recorded(self, batch: Sequence[Ended]) -> None:
        """These ends are durable: their messages may go."""
        for ended in batch:
            outcome, key = ended.outcome, ended.entry.key if ended.entry is not None else ended.key
            self._observer.observe_outcome(outcome.status)
            self._lines.tell(outcome)
            if key is None:
                continue
            self._identities.ended(key)
            if outcome.status != "in_doubt":
                self._doubts.take(key)
            elif self._doubts.keeps(key):
                continue  # its message stays in hand until it is settled
            for holding in self._holdings.pop(key):
                if outcome.status in BURIED:
                    self._closer.bury(holding, reason_of(outcome))
                else:
                    self._closer.ack(holding)

    async def _run_lane(self, name: LaneName) -> None:
        try:
            await self.workspace.lanes[name].run()
        except OutputError as error:
            self.halt(error)

    async def _reconcile(self) -> None:
        """Settle doubts again and again; one replica at a time."""
        while self._settings.reconcile:
            await asyncio.sleep(RECONCILE_EVERY)
            await self._follow_settlements()
            if await self._has_lease():
                await self._doubts.carry()
                for delivery in await self._doubts.settle_ripe():
                    self._send_again(delivery)

    async def _follow_settlements(self) -> None:
        """What another replica settled of the jobs that wait here."""
        for key, standing in (await self.ledger.find(self._doubts.kept)).items():
            if standing.state == "in_doubt" or (delivery := self._doubts.take(key)) is None:
                continue
            if standing.state == "failed":
                self._send_again(delivery)
                continue
            for holding in self._holdings.pop(key):
                self._end_standing(delivery.job, holding, standing)

    def _send_again(self, delivery: Delivery) -> None:
        self._identities.hold(delivery.job.key, delivery.job.content)
        self.workspace.lanes[delivery.job.kind.lane].accept_delivery(delivery)

    async def _has_lease(self) -> bool:
        """Whether this replica is the one that reconciles; the right is renewed, or taken when it has run out."""
        known = await self.ledger.get_note(LEASE)
        owner, _, until = (known or b"").decode().partition(" ")
        mine = str(self.ledger.run)
        if owner not in ("", mine) and time.time() < float(until or 0):
            return False
        return await self.ledger.swap_note(LEASE, known, f"{mine} {time.time() + LEASE_SECONDS}".encode())

    async def _guard(self, work: Awaitable[object]) -> None:
        """A memory that cannot be written halts the workspace, and so does a fault of our own."""
        try:
            await work
        except HaltError as error:
            self.halt(error)
        except Exception as error:  # noqa: BLE001 - a part that is missing must not go unnoticed
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            self.halt(HaltError(f"a fault of sender itself, {type(error).__name__} at {where}; please report it"))


async def _give_back(holding: Holding) -> None:
    with suppress(Exception):
        await holding.queue.give_back([holding.message])


def is_lost(error: HaltError | None) -> bool:
    """Whether the shared state has gone, and has to be joined anew."""
    return isinstance(error, StateLost)
