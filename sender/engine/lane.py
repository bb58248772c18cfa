"""A Lane: a pacer with its crew. It hands jobs over just ahead of their slots, starts them in time, and concludes.

    queue, retries --pick--> [hand over: ledger] --ready--> [turn: pacer] --> attempt --> conclude: outcome or retry

The hand-over is durable before a turn is waited for, at most `AHEAD` seconds of slots ahead, so that the commit never
stands in the pace and a kill leaves no more than that in doubt.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Final

from sender.engine.conclusion import Attempt, conclude
from sender.engine.delivery import Delivery
from sender.errors import HaltError
from sender.masking import words_of
from sender.problem import Problem
from sender.recorder import Ended
from sender.transport import Reply, Request, TransportFault, Wire
from sender.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.engine.breaker import Breaker
    from sender.engine.desk import Desk
    from sender.engine.guard import Guard
    from sender.engine.pacer import Pace, Permit
    from sender.engine.queue import JobQueue
    from sender.engine.triggers import Triggers
    from sender.job import Job
    from sender.kinds import LaneName
    from sender.outcome import Outcome
    from sender.verdict import Verdict

AHEAD: Final = 0.05
"""Seconds of slots that are handed over ahead."""
MOST_AHEAD: Final = 500
WATCH_EVERY: Final = 0.25
REFUSALS_OF_A_KIND: Final = 3
STORM: Final = 3
"""429s in a row after which the lane itself waits."""


@dataclass(slots=True)
class Hand:
    """A started attempt."""

    delivery: Delivery
    turn: Permit
    started: float
    begun: bool = False
    """Whether its task has run at all; one that is cancelled before it has is as if it had not been started."""


class Lane:
    """One of `send`, `trigger`, `app`, at work."""

    def __init__(
        self,
        name: LaneName,
        desk: Desk,
        pacer: Pace,
        queue: JobQueue,
        breaker: Breaker,
        *,
        guard: Guard | None = None,
        triggers: Triggers | None = None,
        concurrency: int = 256,
    ) -> None:
        self.name = name
        self.pacer = pacer
        self.queue = queue
        self.breaker = breaker
        self.http_429 = 0
        self.attempts = 0
        self._desk = desk
        self._guard = guard
        self._triggers = triggers
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Delivery] = deque()
        self._retries: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._in_hand: dict[asyncio.Task[None], Hand] = {}
        self._trial: asyncio.Task[None] | None = None
        self._written_off: set[asyncio.Task[None]] = set()
        self._left: list[Delivery] = []
        self._storm = 0
        self._slowed_at = float("-inf")
        self._fed = False
        self._stopping = False
        self._changed = asyncio.Event()
        if triggers is not None:
            triggers.on_change = self._changed.set

    def accept(self, job: Job) -> None:
        """Take on an admitted job."""
        self.accept_delivery(Delivery(job))

    def accept_delivery(self, delivery: Delivery) -> None:
        """Take on a job that is in the engine's hands already."""
        self.queue.put(delivery)
        self._changed.set()

    def take_again(self, deliveries: Iterable[Delivery]) -> None:
        """Take up jobs that ended in doubt and surely were not accepted, for another `run` after the first."""
        self._stopping = False
        self._left.clear()
        for delivery in deliveries:
            self.queue.put(delivery)

    def fed(self) -> None:
        """No further job will come; `run` returns when the last one has ended."""
        self._fed = True
        self._changed.set()

    def stop(self) -> None:
        """Start nothing more; `run` returns when what is in hand has ended."""
        self._stopping = True
        self._changed.set()

    def abort(self) -> None:
        """Stop, and let go of what is in hand at once: what was written becomes in doubt."""
        self.stop()
        for task in tuple(self._in_hand):
            task.cancel()

    @property
    def stopping(self) -> bool:
        """Whether nothing further is started."""
        return self._stopping

    @property
    def halted_kinds(self) -> set[str]:
        """Kinds that the API does not allow."""
        return self._desk.halted_kinds

    @property
    def in_hand(self) -> int:
        """Requests under way."""
        return len(self._in_hand)

    @property
    def waiting(self) -> int:
        """Jobs taken on and not under way."""
        return len(self.queue) + len(self._ready) + len(self._retries)

    @property
    def demand(self) -> tuple[int, int, int]:
        """Jobs that could start now: high, normal, low."""
        if self._stopping or not self._may_start():
            return 0, 0, 0
        high, normal, low = self.queue.startable
        return high, normal + len(self._ready) + len(self._retries), low

    async def run(self) -> list[Delivery]:
        """Work until every job has ended, or `stop`; returns those that were not started or went back."""
        watch = asyncio.create_task(self._watch(), name=f"{self.name}: watch")
        start = asyncio.create_task(self._start(), name=f"{self.name}: start")
        try:
            await self._hand_over()
            await self._settle_down()
        finally:
            watch.cancel()
            start.cancel()
            self.abort()
            await asyncio.gather(watch, start, *self._in_hand, return_exceptions=True)
        left = [*self._left, *self._ready, *self.queue.drain(), *(entry[2] for entry in self._retries)]
        await self._desk.ledger.release([delivery.job.key for delivery in self._ready])
        return left

    async def _settle_down(self) -> None:
        while self._in_hand or (self._ready and not self._stopping):
            self._changed.clear()
            await self._changed.wait()

    async def _hand_over(self) -> None:
        """Keep the next slots' jobs handed over, until there are none left or the lane stops."""
        while not self._stopping:
            batch, wait_until = self._pick()
            if batch:
                self._ready.extend(await self._claim(batch))
                self._changed.set()
            elif self._fed and not self.waiting and not self._in_hand:
                return
            else:
                await self._wait(wait_until)

    async def _claim(self, batch: list[Delivery]) -> list[Delivery]:
        """Hand these over; those that another replica got before are none of ours any more."""
        wall = self._desk.wall()
        refused = await self._desk.ledger.hand_over([delivery.claim(wall) for delivery in batch])
        for delivery in batch:
            standing = refused.get(delivery.job.key)
            if standing is not None:
                self.queue.finish(delivery)
                self._desk.on_refused(delivery, standing)
        return [delivery for delivery in batch if delivery.job.key not in refused]

    def _pick(self) -> tuple[list[Delivery], float | None]:
        """The jobs to hand over now; if there are none, when to look again (None: at the next change)."""
        now = self._loop.time()
        at = self.pacer.next_at(now) - AHEAD
        ahead = min(MOST_AHEAD, max(1, int(self.pacer.rate * AHEAD)))
        room = min(ahead, self._concurrency - len(self._in_hand)) - len(self._ready)
        if not self._queue_open() or room <= 0 or len(self._ready) > ahead // 2 or (self._ready and at > now):
            return [], None
        if at > now:
            return [], at if at < float("inf") else None
        batch: list[Delivery] = []
        while len(batch) < room and (delivery := self._take(now)) is not None:
            batch.append(delivery)
        return batch, self._retries[0][0] if self._retries else None

    def _take(self, now: float) -> Delivery | None:
        while True:
            if self._retries and self._retries[0][0] <= now:
                delivery: Delivery | None = heapq.heappop(self._retries)[2]
            else:
                delivery = self.queue.take()
            if delivery is None:
                return None
            if delivery.withdrawn:
                self.queue.finish(delivery)
            elif delivery.job.kind.name in self._desk.halted_kinds:
                self._leave(delivery)
            elif self._expired(delivery):
                self._end_expired(delivery)
            else:
                return delivery

    def _expired(self, delivery: Delivery) -> bool:
        expires_at = delivery.job.expires_at
        return expires_at is not None and not delivery.attempts and self._desk.wall() > expires_at

    async def _start(self) -> None:
        """Start what is handed over, each in its slot."""
        while True:
            while not self._ready or not self._may_start():
                if self._ready or not self.waiting:
                    self.pacer.rest()
                await self._wait(None)
            asked = self._loop.time()
            turn = await self.pacer.turn()
            self._desk.observer.observe_turn(self.name, self._loop.time() - asked)
            if self._stopping or not self._ready or not self._may_start():
                turn.give_back()
                continue
            delivery = self._ready.popleft()
            hand = Hand(delivery, turn, self._loop.time())
            task = self._loop.create_task(self._attempt(hand))
            self._in_hand[task] = hand
            if self.breaker.state == "trying":
                self._trial = task
            task.add_done_callback(self._attempt_ended)
            self._changed.set()

    def _may_start(self) -> bool:
        if self._stopping or self.breaker.state == "open" or not self._queue_open():
            return False
        if self.breaker.state == "trying":
            return self._trial is None or self._trial.done()
        return len(self._in_hand) < self._concurrency and not self._braked()

    def _queue_open(self) -> bool:
        """Whether the API takes another trigger into its queue; always so in the other lanes."""
        return self._triggers is None or self._triggers.open

    def _braked(self) -> bool:
        return len(self._in_hand) - len(self._written_off) >= self.breaker.most_in_hand()

    def _attempt_ended(self, task: asyncio.Task[None]) -> None:
        hand = self._in_hand.pop(task)
        self._written_off.discard(task)
        if not hand.begun:
            hand.turn.give_back()
            self._ready.appendleft(hand.delivery)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._desk.halt(error if isinstance(error, HaltError) else HaltError(f"an attempt broke: {error!r}"))

    async def _attempt(self, hand: Hand) -> None:
        """One try of one job, from its turn to what follows from the answer."""
        hand.begun = True
        delivery, turn = hand.delivery, hand.turn
        job = delivery.job
        delivery.attempts += 1
        self.attempts += 1
        delivery.tried_at = self._desk.wall()
        if delivery.started_at is None:
            delivery.started_at = delivery.tried_at
        key_version = self._desk.key.version
        wire = Wire(on_written=turn.written)
        answer: Reply | TransportFault
        try:
            answer = await self._desk.transport.send(Request(job.kind.method, job.path, job.body), wire)
        except TransportFault as fault:
            answer = fault
        except asyncio.CancelledError:
            turn.give_back()
            await asyncio.shield(self._interrupted(delivery, wire))
            raise
        turn.give_back()
        self._observe(delivery, answer)
        await self._judge(delivery, answer, hand.started, key_version)

    def _observe(self, delivery: Delivery, answer: Reply | TransportFault) -> None:
        seconds = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        status = answer.status if isinstance(answer, Reply) else answer.code
        self._desk.observer.observe_attempt(self.name, delivery.job.kind.name, status, seconds)
        delivery.span.attempt(status, seconds)

    async def _interrupted(self, delivery: Delivery, wire: Wire) -> None:
        if wire.written_at is None:
            await self._desk.ledger.release([delivery.job.key])
            self._leave(delivery)
            return
        problem = Problem("interrupted", None, "the run was stopped before the API's answer came")
        await self._end(delivery, delivery.outcome("in_doubt", problem, finished_at=self._desk.wall()))

    async def _judge(
        self, delivery: Delivery, answer: Reply | TransportFault, started: float, key_version: int
    ) -> None:
        verdict = judge(delivery.job.kind, answer, self._desk.rules, wall=self._desk.wall())
        latency = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        self._learn(verdict, latency, started)
        body = answer.body if isinstance(answer, Reply) else None
        attempt = Attempt(delivery, verdict, latency, body, outage=self.breaker.state != "closed")
        if self._triggers is not None and verdict.what == "rejected":
            attempt = await self._ask_why(attempt, self._triggers)
        conclusion = conclude(attempt, self._desk)
        if conclusion.outcome is not None:
            await self._end(delivery, conclusion.outcome, resendable=conclusion.resendable)
        else:
            await self._again(delivery, verdict, conclusion.delay, key_version)

    async def _ask_why(self, attempt: Attempt, triggers: Triggers) -> Attempt:
        """A refused trigger: either the queue is full, which is safe, or its errors endpoint knows more."""
        verdict = attempt.verdict
        if verdict.queue_full and triggers.waiting:
            triggers.told_full()
            return replace(attempt, queue_full=True)
        if verdict.error.trigger_id is None:
            return attempt
        job = attempt.delivery.job
        try:
            details = await triggers.errors_of(job.path.split("/")[3], verdict.error.trigger_id, words_of(job.body))
        except asyncio.CancelledError:  # let go at once: the refusal itself is known, and has to be recorded
            return attempt
        return replace(attempt, details=details)

    async def _again(self, delivery: Delivery, verdict: Verdict, delay: float, key_version: int) -> None:
        """Nothing was accepted: say so in the ledger, then wait for the next try or leave the job to the next run."""
        await self._desk.ledger.release([delivery.job.key])
        if verdict.what == "halt_run" and not (verdict.http_status == 401 and self._has_new_key(key_version)):
            self._leave(delivery)
            self._desk.halt(HaltError(verdict.message))
            return
        if verdict.what == "kind_refused" and self._refuse_kind(delivery.job.kind.name):
            self._leave(delivery)
            return
        delivery.due = self._loop.time() + delay
        heapq.heappush(self._retries, (delivery.due, next(self._order), delivery))
        self._changed.set()

    def _has_new_key(self, used: int) -> bool:
        """Whether another key than the refused one is at hand; others that failed with it may have fetched it."""
        return self._desk.key.version != used or self._desk.key.reload()

    def _refuse_kind(self, kind: str) -> bool:
        refused = self._desk.refused_kinds[kind] = self._desk.refused_kinds.get(kind, 0) + 1
        if refused >= REFUSALS_OF_A_KIND:
            self._desk.halted_kinds.add(kind)
        return kind in self._desk.halted_kinds

    def _learn(self, verdict: Verdict, latency: float | None, started: float) -> None:
        """What an answer tells about the lane as a whole."""
        now = self._loop.time()
        if verdict.throttled:
            self._slow_down(verdict, now, started)
            return
        self._storm = 0
        if self._guard is not None:
            self._guard.accepted(now)
        if verdict.what in ("retry", "ambiguous"):
            self.breaker.bad(now, started)
            if verdict.retry_after is not None:
                self._pause(verdict.retry_after, now)
        elif latency is not None:
            self._answered(now, latency)

    def _slow_down(self, verdict: Verdict, now: float, started: float) -> None:
        self.http_429 += 1
        if started > self._slowed_at:  # those under way together are one refusal
            self._storm += 1
            self._slowed_at = now
        if self._guard is not None:
            self._guard.refused(now)
        self._answered(now, 0.0)
        if verdict.retry_after is not None:
            self._pause(verdict.retry_after, now)
        elif self._guard is None or self._storm > STORM:
            self._pause(self._desk.backoff.delay(self._storm, self._desk.random) + self.pacer.window / 2, now)

    def _answered(self, now: float, latency: float) -> None:
        tried = self.breaker.state == "trying"
        self.breaker.good(now, latency)
        if tried and self.breaker.state == "closed":
            self._written_off = set(self._in_hand)  # what hung before the outage ended explains nothing any more

    def _pause(self, seconds: float, now: float) -> None:
        if seconds > self._desk.policy.max_wait:
            self._desk.halt(HaltError(_told_to_wait(self.name, seconds, self._desk.wall() + seconds)))
            return
        self.pacer.pause_until(now + seconds)

    async def _end(self, delivery: Delivery, outcome: Outcome, *, resendable: bool = True) -> None:
        delivery.doubted = outcome.status == "in_doubt"
        if outcome.kind in self._desk.refused_kinds:
            self._desk.refused_kinds[outcome.kind] = 0
        self.queue.finish(delivery)
        self._desk.record(Ended(outcome, delivery.entry(outcome, resendable=resendable)))
        await self._desk.on_end(delivery, outcome, resendable)

    def _end_expired(self, delivery: Delivery) -> None:
        problem = Problem(
            "expired", "expires_at", "the job's time was over before it could start; it was not requested"
        )
        self.queue.finish(delivery)
        self._desk.identities.ended(delivery.job.key)
        self._desk.record(Ended(delivery.outcome("invalid", problem), None, key=delivery.job.key))

    def _leave(self, delivery: Delivery) -> None:
        self.queue.finish(delivery)
        self._left.append(delivery)

    async def _watch(self) -> None:
        """Notice stalls and outages, and probe an API that is down."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            now = self._loop.time()
            if self._stalled(now):
                self._changed.set()
            if self.breaker.state == "open" and now >= self.breaker.retry_at:
                answered = await self._desk.probe()
                self.breaker.probed(self._loop.time(), answered=answered)
                self._changed.set()
            outage = 0.0 if self.breaker.open_since is None else now - self.breaker.open_since
            if outage > self._desk.policy.max_outage:
                self._desk.halt(HaltError(f"the API has answered nothing in the lane {self.name} for {outage:,.0f} s"))

    def _stalled(self, now: float) -> bool:
        in_hand = [hand.started for task, hand in self._in_hand.items() if task not in self._written_off]
        return bool(in_hand) and self.breaker.stalled(now, len(in_hand), min(in_hand))

    async def _wait(self, until: float | None) -> None:
        """Wait for a change, at most until that loop time."""
        self._changed.clear()
        timer = None if until is None else self._loop.call_at(until, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()


def _told_to_wait(lane: str, seconds: float, until: float) -> str:
    when = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"the API asks the lane {lane} to wait {seconds:,.0f} s, until {when}; that is longer than --max-wait. "
        "Run the same command again then"
    )
