"""The WorkspaceTask is one workspace for the life of a consumer: opened, run, and opened anew whatever ended it.

    closed --state, key and API answer--> works --stop--> closed for good
       ^                                    |
       +-- the state was lost, a halt ------+

Its messages and the ends that could not be recorded outlive each opening: the next one takes them over.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.consume.acknowledger import Acknowledger
from sender.consume.in_flight import InFlight
from sender.consume.open_notes import OpenNotes
from sender.consume.pause_switch import PauseSwitch
from sender.consume.workspace_consumer import InHand
from sender.errors import SenderError, StateAway, StateLost, UsageError
from sender.runtime.supervisor import halt_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.consume.consume_plan import WorkspaceConfig
    from sender.consume.dead_letters import DeadLetters
    from sender.consume.in_flight import UnackedMessage
    from sender.consume.retry_queue import RetryQueue
    from sender.consume.workspace_consumer import LeftEnd, WorkspaceConsumer
    from sender.consume.workspace_opening import WorkspaceOpening
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName
    from sender.outcomes.outcome import Outcome
    from sender.queues import Queue
    from sender.runtime.supervisor import Supervisor

SOON: Final = 1.0
"""Seconds until a state that was lost, or does not answer, is joined anew."""
LATER: Final = 30.0
"""Seconds until a workspace that has halted is tried again; another key has it tried at once."""
KEY_EVERY: Final = 5.0
"""Seconds between two looks at the key's file."""

log = structlog.get_logger()


class WorkspaceTask:
    """Run by the consumer; readers give it messages at any time, and get back what it does not take."""

    def __init__(
        self, config: WorkspaceConfig, opening: WorkspaceOpening, dead_letters: DeadLetters | None,
        supervisor: Supervisor, retries: RetryQueue | None = None,
    ) -> None:
        self.name = config.name or "default"
        self.in_flight = InFlight()
        self.acknowledger = Acknowledger(self.in_flight, dead_letters, supervisor, retries)
        self.pause = PauseSwitch(self.name)
        self.current: WorkspaceConsumer | None = None
        """While it works."""
        self.reason: str | None = "it is being opened"
        """Why it does not work; None while it does."""
        self.halted = False
        """Whether that is a fault, or a refusal of the API's: it is tried again, but may need somebody."""
        self.state_away: str | None = None
        """Why the shared state could not be joined; None once it was."""
        self.clean = True
        """Whether all ends of the latest opening are recorded, and none of it broke while it drained."""
        self.notes = OpenNotes(opening)
        """Of whatever memory is open."""
        self._config = config
        self._opening = opening
        self._in_hand = InHand(self.in_flight, self.acknowledger, self.pause)
        self._left: list[LeftEnd] = []
        self._stopping = asyncio.Event()
        self._again = asyncio.Event()
        """Set when there is reason to try at once."""

    @property
    def shares(self) -> bool:
        """Whether its memory is a state that replicas share."""
        return self._config.ledger is None

    @property
    def key_problem(self) -> str | None:
        """Why the key's file holds no key just now."""
        problem = self._config.key.problem
        return f"{problem}; the last good key stays in use" if problem is not None and self.works else problem

    @property
    def works(self) -> bool:
        """Whether it takes jobs on."""
        return self.current is not None and self.current.works

    async def run(self) -> None:
        """Until `stop`, and then until the requests under way have ended and their ends are durable; UsageError for
        what no waiting mends."""
        while not self._stopping.is_set():
            self._again.clear()
            error = await self._run_once()
            self.clean = not self._left and (error is None or not self._stopping.is_set())
            if error is None or self._stopping.is_set():
                return
            self._tell(error)
            with move_on_after(SOON if isinstance(error, StateLost | StateAway) else LATER):
                await self._again.wait()

    async def follow_key(self) -> None:
        """Have a new key used as soon as it stands in its file, until cancelled."""
        while True:
            await asyncio.sleep(KEY_EVERY)
            await self.look_at_key()

    async def look_at_key(self) -> None:
        """Read the key's file again; another key is checked, and has a workspace that has halted tried anew."""
        version = self._config.key.version
        self._config.key.reload()
        if self._config.key.version == version:
            return
        log.info("the API key was rotated: another one is in use", workspace=self.name)
        if self.current is not None and self.works:
            await self.current.check_key(self._config.base_url)
        self.try_again()

    def try_again(self) -> None:
        """If it does not work, wait no longer; kinds that the API did not take are tried, too."""
        self._again.set()
        if self.current is not None:
            self.current.session.workspace.try_closed_kinds()

    def set_rates(self, settings: Settings) -> None:
        """The limits of whatever is open; what is opened later has them anyway."""
        if self.current is not None:
            self.current.session.workspace.set_rates(settings)

    def stop(self, *, now: bool) -> None:
        """Start nothing more, and open nothing more; or let go of the requests under way at once, too."""
        self._stopping.set()
        self._again.set()
        if self.current is not None:
            self.current.stop(now=now)

    async def compare(self, queue: Queue) -> None:
        """See `Memory.compare`; QueueError when the queue does not tell."""
        if self.current is not None:
            await self.current.memory.compare(queue)

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""
        return (0, 0) if self.current is None else self.current.places(lane, priority)

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Start these jobs, or end their messages by what is known of them; returns those to be requeued."""
        current = self.current
        if current is None or not all(current.memory.has_compared(message.queue) for _, message in arrived):
            return [message for _, message in arrived]
        return await current.take_on(arrived)

    def refuse(self, message: UnackedMessage, outcome: Outcome) -> None:
        """Record why a message is no job; only while it works."""
        if self.current is None:
            raise ValueError("a workspace that is closed records nothing")
        self.current.refuse(message, outcome)

    def requeue(self, keys: Sequence[str]) -> None:
        """These jobs go back to their queues: those that wait are not started any more."""
        if self.current is not None:
            self.current.requeue(keys)
        else:
            self.acknowledger.requeue(self.in_flight.requeue(keys))

    async def _run_once(self) -> SenderError | None:
        """From an opening to its end; returns what ended it, None after `stop`."""
        current = None
        try:
            async with AsyncExitStack() as stack:
                current = await self._opening.open(self._in_hand, self._left, self._stopping, stack)
                if current is None:
                    return None
                self._works(current)
                await current.run()
                self.current = None
        except UsageError as error:
            if self._opening.is_final:
                raise
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, this workspace halts, and the others go on
            return halt_of(error)
        else:
            return current.session.halted
        finally:
            self.current = None
            if current is not None:
                self._left = current.leave()
                self.pause.closed()
                self._opening.closed()

    def _works(self, current: WorkspaceConsumer) -> None:
        if self.reason is not None:
            log.info("a workspace works", workspace=self.name)
        self.current, self.reason, self.state_away, self.halted, self._left = current, None, None, False, []
        if self._stopping.is_set():
            current.stop(now=False)

    def _tell(self, error: SenderError) -> None:
        """Once for each reason."""
        if self._stopping.is_set() or str(error) == self.reason:
            return
        self.reason = str(error)
        self.halted = not isinstance(error, StateLost | StateAway)
        self.state_away = str(error) if isinstance(error, StateAway) else None
        if isinstance(error, StateLost):
            log.warning("the shared state is joined anew", workspace=self.name, because=str(error))
        elif isinstance(error, StateAway):
            log.warning("the shared state is away: the workspace waits", workspace=self.name, because=str(error))
        else:
            log.error("a workspace has halted", workspace=self.name, because=str(error))
