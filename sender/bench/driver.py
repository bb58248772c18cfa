"""The Driver starts requests on schedule, whatever becomes of the earlier ones.

When all hands are full the schedule goes on without them: requests start as soon as a hand is free, and the time that
they stood waiting is part of their latency. Those that were still waiting at the end are counted with that time.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from sender.bench.failure import is_hopeless, reason
from sender.bench.measures import Measures
from sender.jobs.kinds import KINDS
from sender.transport import Reply, TransportFault, Wire
from sender.transport.verdict import Rules, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.bench.clock import Alarm
    from sender.bench.plan import BenchPlan
    from sender.transport import Request, Transport
    from sender.transport.verdict import Verdict

RULES: Final = Rules()
AT_ONCE: Final = 16
"""Requests started before answers get a turn."""
LATE: Final = 0.25
"""Seconds after the end of the schedule in which the last requests may still start: a stall of the process, no more."""
GROUPS: Final = 1000
"""Parts in which requests that were never started are counted."""


class Driver:
    """One process's share of a benchmark: requests `index`, `index + processes`, …"""

    def __init__(
        self, plan: BenchPlan, transport: Transport, alarm: Alarm, clock: Callable[[], float], index: int = 0
    ) -> None:
        self._plan = plan
        self._schedule = plan.schedule
        self._transport = transport
        self._alarm = alarm
        self._clock = clock
        self._index = index
        self._hands = plan.hands(index)
        self._free = asyncio.Event()
        self._over = False
        self._starter: asyncio.Task[None] | None = None
        self._start = 0.0
        self._failures: Counter[int | str] = Counter()
        self.in_hand = 0
        """Requests under way."""
        self.connected = False
        """Whether the server took a connection before the start."""
        self.measures = Measures(plan.schedule)

    @property
    def passed(self) -> float:
        """Seconds since the start of the schedule; below 0 before it."""
        return self._clock() - self._start if self._starter is not None else -1.0

    async def run(self, start: float) -> Measures:
        """Drive from the instant `start` of the clock to the end of the schedule, and wait for the last answers."""
        self._start = start
        work = self._as_fast_as_it_goes() if math.isinf(self._schedule.rate) else self._on_schedule()
        self._starter = asyncio.get_running_loop().create_task(work)
        try:
            await self._starter
        except asyncio.CancelledError:
            if not self.measures.stopped and self.measures.halted is None:
                raise
        finally:
            self._over = True
        ran = min(self._schedule.end, max(0.0, self._clock() - start))
        self.measures.ran = ran if self.measures.stopped else self._schedule.end
        while self.in_hand:
            await self._hand_free()
        return self.measures

    def stop(self) -> None:
        """Start nothing more; what is under way gets its answer."""
        self.measures.stopped = True
        self._cancel()

    def _cancel(self) -> None:
        self._over = True
        if self._starter is not None:
            self._starter.cancel()

    async def _on_schedule(self) -> None:
        number, total = self._index, self._schedule.total
        end = self._start + self._schedule.end
        begun = 0
        while number < total:
            planned = self._start + self._schedule.at(number)
            if planned > self._clock():
                await self._alarm.until(planned)
            if self.in_hand >= self._hands:
                self.measures.held_up += 1
                if not await self._hand_free_before(end):
                    break
            self._begin(number, planned - self._start)
            number += self._plan.processes
            begun += 1
            if begun % AT_ONCE == 0:
                await asyncio.sleep(0)
                if self._clock() > end + LATE:
                    break
        self._leave(number, total)

    async def _hand_free_before(self, end: float) -> bool:
        """Wait for a free hand; False when the schedule is over before."""
        while self.in_hand >= self._hands:
            left = end - self._clock()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left):
                    await self._hand_free()
            except TimeoutError:
                return False
        return True

    async def _hand_free(self) -> None:
        """Wait for the next end of a request."""
        self._free.clear()
        await self._free.wait()

    def _begin(self, number: int, planned: float, next_number: int | None = None) -> None:
        """Start a request; in the closed loop its hand goes on with `next_number`."""
        template = self._plan.template(number)
        request = template.request(number)
        started = self._clock() - self._start
        self.measures.start(planned, started)
        self.in_hand += 1
        self.measures.most_in_flight = max(self.measures.most_in_flight, self.in_hand)
        ended = partial(self._ended, template.kind, request, planned, started, next_number)
        self._transport.start(request, Wire(), ended)

    def _ended(
        self, kind: str, request: Request, planned: float, started: float, next_number: int | None,
        answer: Reply | BaseException,
    ) -> None:
        self.in_hand -= 1
        self._free.set()
        try:
            self._count(kind, request, planned, started, answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run ends with it
            self._halt(f"a request broke: {type(error).__name__}")
        if next_number is None:
            return
        if self._plan.think:
            asyncio.get_running_loop().call_later(self._plan.think, self._next, next_number)
        else:
            self._next(next_number)

    def _count(
        self, kind: str, request: Request, planned: float, started: float, answer: Reply | BaseException
    ) -> None:
        if not isinstance(answer, Reply | TransportFault):
            raise answer
        ended = self._clock() - self._start
        verdict = judge(KINDS[kind], answer, RULES)
        self.measures.end(planned, started, ended, verdict, kind)
        if verdict.what != "sent":
            self._failed(verdict, answer, request.body or b"")

    def _failed(self, verdict: Verdict, answer: Reply | TransportFault, payload: bytes) -> None:
        """End at once what cannot succeed: nothing listens, a wrong key, a wrong path."""
        if self.measures.succeeded:
            if verdict.what == "halt_run":
                self._halt(verdict.message)
            return
        why = reason(verdict, answer, self._plan.base_url, payload)
        self.measures.failure = self.measures.failure or why
        self._failures[verdict.http_status or verdict.code] += 1
        if is_hopeless(verdict, answer, self._failures, connected=self.connected):
            self._halt(why)

    def _halt(self, why: str) -> None:
        self.measures.halted = self.measures.halted or why
        self._cancel()

    def _leave(self, number: int, total: int) -> None:
        """Count what was planned and never started."""
        count = len(range(number, total, self._plan.processes))
        size = math.ceil(count / GROUPS)
        while count > 0:
            planned = self._schedule.at(number)
            group = min(size, count)
            self.measures.never_started(planned, max(0.0, self._schedule.end - planned), group)
            number += group * self._plan.processes
            count -= group

    async def _as_fast_as_it_goes(self) -> None:
        """No schedule: every hand starts its next request when it has the last answer, and its user has thought."""
        await asyncio.sleep(self._start - self._clock())
        for hand in range(self._hands):
            self._next(self._index + hand * self._plan.processes)
        await asyncio.sleep(self._start + self._schedule.end - self._clock())

    def _next(self, number: int) -> None:
        planned = self._clock() - self._start
        if planned < self._schedule.end and not self._over:
            self._begin(number, planned, number + self._hands * self._plan.processes)
