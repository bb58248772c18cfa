"""The Intakes of a run: one for each lane, from the inputs to their end, and those of other replicas' jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.engine.preflight import TemplateCheck
from sender.errors import InputError, UsageError
from sender.send.guarded_feed import GuardedFeed
from sender.send.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.job_execution import JobExecution
    from sender.engine.preflight import Preflight
    from sender.inputs import Feed
    from sender.inputs.inputs import Inputs
    from sender.inputs.sent_lines import SentLines
    from sender.ledger import JobRecord
    from sender.outcomes.tally import Tally
    from sender.runtime.stop_signals import StopRequest
    from sender.send.job_check import JobCheck
    from sender.session.other_memories import OtherMemories
    from sender.session.session import Session

OTHERS_EVERY: Final = 1.0
OTHERS_WAIT: Final = 60.0
"""Seconds that a run waits at its end for jobs that another replica holds; a dead one is known after 30."""


class Intakes:
    """Feed a session with all that is to be read."""

    def __init__(
        self, inputs: Inputs, session: Session, check: JobCheck, tally: Tally, seen: Preflight, retry: frozenset[str],
        sent: SentLines | None,
    ) -> None:
        self._sent = sent
        self._inputs = inputs
        self._session = session
        self._check = check
        self._tally = tally
        self._retry = retry
        self._templates = TemplateCheck(seen.templates, session.workspace.reader.look)
        self._intakes: list[Intake] = []
        self._guards: list[GuardedFeed] = []
        self.late: InputError | UsageError | None = None
        """What broke an input after its beginning."""

    async def run(self, others: OtherMemories | None, part: Callable[[Feed], Feed] | None = None) -> None:
        """Feed every lane with its lines or a part of them, held against other memories, to their end."""
        session, feeding = self._session, []
        for name, lane in session.workspace.lanes.items():
            feed: Feed = self._inputs.feed(name, self._check.parser.lane_of, self._sent)
            if others is not None:
                feed = GuardedFeed(feed, others)
                self._guards.append(feed)
            if part is not None:
                feed = part(feed)
            intake = Intake(
                feed, lane, session, self._check, self._tally, retry=self._retry, templates=self._templates,
                sent=self._sent if name == "send" else None,
            )
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
            self.late = self.late or error
        except UsageError as error:
            self.late = self.late or error
            self._inputs.stop()

    @property
    def held(self) -> int:
        """Lines of streams that were read and not taken up, since another memory knows some of them."""
        return sum(guard.refused for guard in self._guards)

    @property
    def elsewhere(self) -> int:
        """Jobs that another replica has in hand."""
        return sum(len(intake.elsewhere) for intake in self._intakes)

    def refused(self, execution: JobExecution, record: JobRecord) -> None:
        """The job counts as the other replica leaves it, or as not started here."""
        lane = execution.job.kind.lane
        next(intake for intake in self._intakes if intake.lane.name == lane).refused(execution.job, record)

    async def wait_for_others(self, stop: StopRequest) -> None:
        """Jobs that another replica has in hand: count them as it leaves them, and start those that it gives back."""
        loop, session = asyncio.get_running_loop(), self._session
        until = loop.time() + OTHERS_WAIT
        while self.elsewhere and not (session.ended or self._tally.full) and loop.time() < until:
            session.orphans |= await session.doubts.adopt_orphans()
            for intake in self._intakes:
                await intake.look_again()
            await session.drain()
            if self.elsewhere:
                await stop.unless_asked(asyncio.sleep(OTHERS_EVERY))
