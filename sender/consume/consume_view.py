"""What a live view sees of a consumer, and what an operator may do about it from there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sender.config.settings import DEFAULTS
from sender.errors import HaltError, UsageError
from sender.jobs.status import STATUSES
from sender.runtime.live.figures import Condition, Figures, Queue
from sender.runtime.live.lane_rates import LaneRates
from sender.runtime.live.replica_list import replicas_of
from sender.runtime.metrics.watched import answer_of
from sender.runtime.progress import LEAST_RATE
from sender.runtime.recent_rate import RecentRate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.config.live import LiveSettings
    from sender.consume.consumer import Consumer
    from sender.consume.dead_letters import DeadLetters
    from sender.consume.reader import Reader
    from sender.consume.workspace_task import WorkspaceTask
    from sender.ledger import Ledger
    from sender.runtime.conditions import Conditions
    from sender.runtime.live.controls import Letters
    from sender.runtime.live.figures import Replica, State
    from sender.runtime.metrics.watched import Lane


class ConsumeView:
    """A live view's `Source`, from the parts that metrics and conditions look at."""

    def __init__(
        self, consumer: Consumer, tasks: Mapping[str | None, WorkspaceTask], readers: Sequence[Reader],
        conditions: Conditions, dead_letters: DeadLetters | None, outcomes: Callable[[], Mapping[str, int]],
    ) -> None:
        self._consumer = consumer
        self._tasks = tuple(tasks.values())
        self._readers = readers
        self._conditions = conditions
        self._dead_letters = dead_letters
        self._outcomes = outcomes
        self._loop = asyncio.get_running_loop()
        self._lanes = LaneRates()
        self._shrinking = RecentRate()
        self._in_doubt: int | None = None
        self._replicas: Sequence[Replica] = ()

    def look(self) -> Figures:
        """See `Source.look`."""
        now, letters, outcomes = self._loop.time(), self._dead_letters, self._outcomes()
        lanes: dict[str, dict[str, Lane]] = {
            one.name: dict(one.current.session.workspace.lanes.items())
            for one in self._tasks if one.current is not None
        }
        halted = next((one.reason for one in self._tasks if one.halted and one.reason), "")
        return Figures(
            "consume", self._state(), halted, left=self._left(now),
            counts={status: outcomes.get(status, 0) for status in STATUSES}, in_doubt=self._in_doubt,
            lanes=self._lanes.look(lanes, now), replicas=self._replicas,
            conditions=[Condition(name, reason or "") for name, reason in self._conditions.reasons().items()],
            queues=[
                Queue(one.queue.source, one.lag, one.queue.redeliveries, one.queue.give_backs) for one in self._readers
            ],
            dead_letters=None if letters is None else {
                "written": letters.written.total(), "waiting": letters.waiting, "refused": letters.refused,
            },
        )

    async def refresh(self) -> None:
        """See `Source.refresh`."""
        ledgers = [one.current.memory.ledger for one in self._tasks if one.current is not None]
        counts = await asyncio.gather(*(answer_of(ledger.count()) for ledger in ledgers))
        known = [one.get("in_doubt", 0) for one in counts if one is not None]
        self._in_doubt = sum(known) if known else None
        self._replicas = [one for ledger in ledgers[:1] for one in await replicas_of(ledger)]

    def _state(self) -> State:
        if self._consumer.draining:
            return "stopping"
        return "paused" if any(one.pause.paused for one in self._tasks) else "running"

    def _left(self, now: float) -> float | None:
        """Seconds until the queues are empty, as fast as all replicas together empty them of late."""
        lags = [one.lag for one in self._readers if one.lag is not None]
        if len(lags) < len(self._readers):
            return None
        left: int = sum(lags)
        rate = self._shrinking.look(now, -left)
        return left / rate if rate >= LEAST_RATE and left else None


class ConsumeControls:
    """A live view's `Controls` of a consumer."""

    def __init__(self, consumer: Consumer, settings: LiveSettings, letters: Letters | None) -> None:
        self.letters = letters
        self._consumer = consumer
        self._settings = settings
        self._most = max(settings.settings.rate, DEFAULTS.rate)

    async def pause(self, paused: bool) -> None:
        """See `Controls.pause`."""
        self._consumer.pause(paused)

    async def set_rate(self, rate: float) -> None:
        """See `Controls.set_rate`; of all workspaces, until the settings' file says otherwise."""
        if self._settings.settings.ramp:
            raise UsageError("this consumer follows a --ramp, which sets its rate")
        if not 0 < rate <= self._most:
            raise UsageError(
                f"the rate has to be above 0 and at most {self._most:g} a second; more is for the consumer's settings"
            )
        self._settings.change(rate=rate)


def ledger_of(tasks: Mapping[str | None, WorkspaceTask], name: str | None) -> Ledger:
    """The memory of a workspace at work; HaltError while it is not."""
    task = tasks.get(name)
    if task is None or task.current is None:
        raise HaltError(f"the workspace {name or 'default'} does not work now: {task.reason if task else 'not known'}")
    return task.current.memory.ledger
