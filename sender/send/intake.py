"""The Intake of a lane: takes lines from its feed, checks them, asks what is known, and passes on what may start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.engine.admission import admit
from sender.jobs.job import Invalid, Job
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob
from sender.runtime.long_step import run_step

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from sender.engine.lane import Lane
    from sender.engine.lane_context import LaneContext
    from sender.inputs import Feed
    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.tally import Tally
    from sender.validation.parser import Parser

BATCH: Final = 64
"""Lines checked in one go: well under a millisecond, so that no slot is missed meanwhile."""


class Intake:
    """Feeds one lane until the feed ends or the run has taken on as many jobs as it may."""

    def __init__(
        self,
        feed: Feed,
        lane: Lane,
        parser: Parser,
        context: LaneContext,
        tally: Tally,
        *,
        retry: Container[str] = (),
        carried: Container[str] = (),
        check: Callable[[Job], Job] = lambda job: job,
    ) -> None:
        self._feed = feed
        self._lane = lane
        self._parser = parser
        self._context = context
        self._tally = tally
        self._retry = retry
        self._carried = carried
        self._check = check
        self.elsewhere: list[Job] = []
        """Jobs that another replica has in hand, for `look_again`."""

    @property
    def lane_name(self) -> LaneName:
        """The lane that is fed."""
        return self._lane.name

    async def run(self) -> None:
        """Read to the end; the lane is told when nothing more will come."""
        while not self._tally.full:
            await self._lane.queue.wait_for_room()
            jobs, size = self._lane.queue.room
            lines = await self._feed.read(min(jobs, BATCH), max(size, 1))
            if not lines:
                break
            await self._take_on(lines)
        self._lane.fed()

    async def _take_on(self, lines: Sequence[Line]) -> None:
        wall = self._context.wall()
        size = sum(len(line.data) for line in lines)
        checked = await run_step(size, self._check_lines, lines, wall)
        keys = [entry.key for entry in checked if isinstance(entry, Job)]
        look_up = await self._context.identities.look_up(keys)
        with look_up as standings:
            for entry in checked:
                if self._tally.full or self._lane.stopping:
                    return  # a lane that has stopped counts no further jobs as left
                self._tally.read += 1
                if isinstance(entry, Invalid):
                    self._refuse(entry)
                else:
                    self._decide(entry, standings.get(entry.key), self._context.identities.held(entry.key))

    def _check_lines(self, lines: Sequence[Line], wall: float) -> list[Job | Invalid]:
        return [self._parser.parse(line, wall) for line in lines]

    async def look_again(self, carried: Container[str]) -> None:
        """Decide on the jobs that another replica had, all but those that it still has."""
        self._carried = carried
        with await self._context.identities.look_up([job.key for job in self.elsewhere]) as standings:
            jobs, self.elsewhere = self.elsewhere, []
            for job in jobs:
                self._decide(job, standings.get(job.key), self._context.identities.held(job.key))

    def refused(self, job: Job, standing: JobRecord) -> None:
        """Another replica took the job between our look-up and our hand-over."""
        self._context.identities.ended(job.key)
        self._decide(job, standing, None)

    def _decide(self, job: Job, standing: JobRecord | None, in_hand: str | None) -> None:
        if standing is not None and in_hand is None and (standing.held or standing.state == "handed_over"):
            self.elsewhere.append(job)
            return
        run = 0 if job.key in self._carried else self._context.ledger.run
        admission = admit(job, in_hand, standing, run=run, retry=self._retry)
        if admission == "start":
            self._tally.take_one()
            self._context.identities.hold(job.key, job.content)
            self._lane.accept(self._check(job))
        elif admission == "standing" and standing is not None:
            self._tally.standing(job.key, standing.state)
        elif admission == "duplicate":
            self._record(Outcome(job.id, job.kind.name, "duplicate", job.source, job.line, meta=job.meta))
        else:
            conflict = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
            self._refuse(Invalid(job.id, job.kind.name, job.source, job.line, (conflict,), job.warnings, job.meta))

    def _refuse(self, bad: Invalid) -> None:
        self._record(
            Outcome(
                bad.id,
                bad.kind,
                "invalid",
                bad.source,
                bad.line,
                problems=bad.problems,
                warnings=bad.warnings,
                meta=bad.meta,
            )
        )

    def _record(self, outcome: Outcome) -> None:
        self._context.record(FinishedJob(outcome, None))
