"""One process at work: opens its connections, says that it is ready, drives from the common start, gives its measures.

Processes agree on the start by CLOCK_MONOTONIC, which is one for the whole machine; each has every n-th request of the
same schedule.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Final

from sender.bench.bench_view import BenchView
from sender.bench.clock import clock, make_alarm
from sender.bench.driver import Driver
from sender.bench.live import EVERY, Now, look, nothing, together
from sender.errors import HaltError, UsageError
from sender.runtime.live.open_live import open_live
from sender.runtime.loop import run as run_loop
from sender.transport.http_transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from sender.bench.live import Show
    from sender.bench.measures import Measures
    from sender.bench.plan import BenchPlan
    from sender.runtime.live.live_view import LiveOptions, LiveView

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
WARM: Final = 32
"""Connections that are opened before the start; the others as they are needed."""
LEAD: Final = 0.05
FLEET_LEAD: Final = 0.3
STARTUP: Final = 60.0
"""Seconds in which worker processes have to be ready."""


def measure(plan: BenchPlan, shown: LiveOptions, show: Show = nothing) -> Measures:
    """Run the benchmark in as many processes as it asks for; SIGINT and SIGTERM end it early, with its figures.

    `show` is told every half second where it stands.
    """
    if plan.processes == 1:
        return run_loop(_drive_shown(plan, shown, show))
    if shown.live or shown.watch:
        raise UsageError("--live and --watch show a benchmark of one process; leave out --processes")
    return _Fleet(plan, show).measure()


async def _drive_shown(plan: BenchPlan, shown: LiveOptions, show: Show) -> Measures:
    async with open_live("bench", shown) as view:
        measures = await drive(plan, 0, lambda: clock() + LEAD, view=view, show=show)
        if view is not None:
            view.end(measures.halted or ("stopped before the end" if measures.stopped else "measured"))
        return measures


async def drive(
    plan: BenchPlan, index: int, start: Callable[[], float], signals: tuple[signal.Signals, ...] = SIGNALS,
    *, view: LiveView | None = None, show: Show = nothing,
) -> Measures:
    """One process's share; `start` is asked for the common instant when this process is ready."""
    hands = plan.hands(index)
    transport = HttpTransport(
        plan.base_url, plan.api_key, timeout=plan.timeout, connections=hands, keep_alive=plan.keep_alive
    )
    alarm = make_alarm()
    driver = Driver(plan, transport, alarm, clock, index)
    if view is not None:
        view.show(BenchView(driver, plan.schedule))
    loop = asyncio.get_running_loop()
    try:
        driver.connected = await transport.warm(min(WARM, hands)) > 0
        instant = start()
        for number in signals:
            loop.add_signal_handler(number, _stop, driver, asyncio.current_task())
        watch = _Watch(driver, plan, instant, show)
        try:
            return await driver.run(instant)
        finally:
            watch.end()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        alarm.close()
        await transport.aclose()


class _Watch:
    """Looks at a driver every half second, by a timer of the loop."""

    def __init__(self, driver: Driver, plan: BenchPlan, start: float, show: Show) -> None:
        self._driver = driver
        self._plan = plan
        self._start = start
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(EVERY, self._look)

    def _look(self) -> None:
        self._timer = self._loop.call_later(EVERY, self._look)
        self._show(look(self._driver.measures, max(0.0, clock() - self._start), self._plan.schedule.end))

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()


def _stop(driver: Driver, task: asyncio.Task[Any] | None) -> None:
    """The first signal ends the schedule, the second one everything."""
    if driver.measures.stopped and task is not None:
        task.cancel()
    driver.stop()


class _Fleet:
    """Worker processes with a pipe each."""

    def __init__(self, plan: BenchPlan, show: Show) -> None:
        self._plan = plan
        self._show = show
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def measure(self) -> Measures:
        """Start all, give the common start when the last is ready, and merge what they measured."""
        self._spawn()
        signals = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
        try:
            for _, pipe in self._workers:
                if not pipe.poll(STARTUP):
                    raise HaltError(f"a worker process was not ready within {STARTUP:g} s; ask for fewer --processes")
                self._receive(pipe)
            start = clock() + FLEET_LEAD
            for _, pipe in self._workers:
                pipe.send(start)
            first, *others = self._gather()
            for other in others:
                first.merge(other)
            return first
        finally:
            for number, handler in signals.items():
                signal.signal(number, handler)
            self._end()

    def _gather(self) -> list[Measures]:
        """What each worker measured; until then they tell where they stand."""
        from multiprocessing.connection import wait

        pipes = [pipe for _, pipe in self._workers]
        ended: dict[Connection, Measures] = {}
        stands: dict[Connection, Now] = {}
        while len(ended) < len(pipes):
            for ready in wait([pipe for pipe in pipes if pipe not in ended]):
                pipe = next(one for one in pipes if one is ready)
                told = self._receive(pipe)
                if isinstance(told, Now):
                    stands[pipe] = told
                    if pipe is pipes[0]:
                        self._show(together(stands.values()))
                else:
                    ended[pipe] = told
        return [ended[pipe] for pipe in pipes]

    def _spawn(self) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        for index in range(self._plan.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(self._plan, index, theirs), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    @staticmethod
    def _receive(pipe: Connection) -> Any:
        try:
            return pipe.recv()
        except EOFError:
            raise HaltError("a worker process of the benchmark ended before its time") from None

    def _pass_on(self, _number: int, _frame: object) -> None:
        for process, _pipe in self._workers:
            if process.is_alive() and process.pid is not None:
                process.terminate()

    def _end(self) -> None:
        for process, pipe in self._workers:
            pipe.close()
            process.join(2)
            if process.is_alive():
                process.kill()


def _work(plan: BenchPlan, index: int, pipe: Connection) -> None:
    """A worker process; Ctrl-C reaches it from the terminal as well as from its parent, and counts once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def start() -> float:
        pipe.send("ready")
        return float(pipe.recv())

    pipe.send(run_loop(drive(plan, index, start, (signal.SIGTERM,), show=pipe.send)))
