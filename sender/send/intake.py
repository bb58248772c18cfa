"""The Intake of a lane: takes lines from its feed, checks them, asks what is known, and passes on what may start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sender.engine.admission import admit
from sender.engine.job_execution import JobExecution
from sender.jobs.job import Invalid, Job
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob
from sender.runtime.long_step import run_step

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sender.engine.lane import Lane
    from sender.engine.preflight import TemplateCheck
    from sender.inputs import Feed
    from sender.inputs.sent_lines import SentLines
    from sender.jobs.job import Line
    from sender.jobs.status import Status
    from sender.ledger import JobRecord
    from sender.send.job_check import Checked, JobCheck
    from sender.session.session import Session

BATCH: Final = 64
"""Lines checked in one go: well under a millisecond, so that no slot is missed meanwhile."""


class IntakeCounter(Protocol):
    """Counts what the intakes of all lanes take up; `sender.outcomes.tally.Tally` is one."""

    read: int
    """Lines taken up."""

    @property
    def full(self) -> bool:
        """Whether no further job may be taken on."""

    def take_one(self) -> None:
        """A job was taken on."""

    def known(self, job: Job, record: JobRecord) -> None:
        """A job that an earlier run ended: nothing is requested."""

class Intake:
    """Feeds one lane until the feed ends or the run has taken on as many jobs as it may."""

    def __init__(
        self,
        feed: Feed,
        lane: Lane,
        session: Session,
        check: JobCheck,
        counter: IntakeCounter,
        *,
        retry: Container[str] = (),
        templates: TemplateCheck | None = None,
        sent: SentLines | None = None,
    ) -> None:
        self.lane = lane
        self._sent = sent
        self._feed = feed
        self._session = session
        self._check = check
        self._counter = counter
        self._retry = retry
        self._templates = templates
        self.elsewhere: list[tuple[Job, Problem | None]] = []
        """Jobs that another replica has in hand, for `look_again`, and why they are kept out."""

    async def run(self) -> None:
        """Read to the end."""
        while not self._counter.full:
            await self.lane.queue.wait_for_room()
            await self._session.recorder.wait_for_room()
            jobs, size = self.lane.queue.room
            lines = await self._feed.read(min(jobs, BATCH), max(size, 1))
            if not lines:
                break
            await self._take_on(lines)

    async def look_again(self) -> None:
        """Decide on the jobs that another replica had, all but those that it still has."""
        identities = self._session.identities
        with await identities.look_up([job.key for job, _ in self.elsewhere]) as records:
            jobs, self.elsewhere = self.elsewhere, []
            for job, skip in jobs:
                self._decide(job, skip, records.get(job.key), identities.content_of(job.key))

    def refused(self, job: Job, record: JobRecord) -> None:
        """Another replica took the job between our look-up and our hand-over."""
        self._session.identities.ended(job.key)
        self._decide(job, None, record, None)

    async def _take_on(self, lines: Sequence[Line]) -> None:
        wall, identities = self._session.wall(), self._session.identities
        size = sum(len(line.data) for line in lines)
        checked = await run_step(size, self._check_lines, lines, wall)
        jobs = [one.found for one in checked if one is not None and isinstance(one.found, Job)]
        if self._templates is not None:
            await self._templates.refuse_unknown(jobs)
        with await identities.look_up([job.key for job in jobs]) as records:
            for line, one in zip(lines, checked, strict=True):
                if self._counter.full or self.lane.stopping:
                    return  # a lane that has stopped counts no further jobs as left
                if one is None:
                    self._pass_over(line.passed)
                    continue
                self._counter.read += 1
                if isinstance(one.found, Invalid):
                    self._refuse(one.found)
                else:
                    self._decide(one.found, one.skip, records.get(one.found.key), identities.content_of(one.found.key))

    def _check_lines(self, lines: Sequence[Line], wall: float) -> list[Checked | None]:
        """None for those that are passed over."""
        return [None if line.passed else self._check.check(line, wall) for line in lines]

    def _decide(self, job: Job, skip: Problem | None, record: JobRecord | None, in_hand: str | None) -> None:
        if record is not None and in_hand is None and (record.owned_elsewhere or record.state == "handed_over"):
            self.elsewhere.append((job, skip))
            return
        run = 0 if job.key in self._session.orphans else self._session.ledger.run
        admission = admit(job, in_hand, record, run=run, retry=self._retry)
        if admission == "start" and skip is not None:
            self._end(job, "skipped", skip)
        elif admission == "start":
            self._counter.take_one()
            self._session.identities.claim(job.key, job.content)
            if self._may_pass(job) and self._sent is not None:
                self._sent.follow(job.source, job.line)
            self._session.submit(JobExecution(job))
        elif admission == "known" and record is not None:
            if record.state == "sent" and self._may_pass(job) and self._sent is not None:
                self._sent.known(job.source, job.line)
            self._counter.known(job, record)
        elif admission == "duplicate":
            self._end(job, "duplicate")
        else:
            conflict = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
            self._refuse(Invalid(job.id, job.kind.name, job.source, job.line, (conflict,), job.warnings, job.meta))

    def _pass_over(self, lines: int) -> None:
        if self._sent is not None:
            self._sent.passed_over(lines)

    def _may_pass(self, job: Job) -> bool:
        """Whether the same line means the same at any time."""
        return job.expires_at is None and job.files is None

    def _end(self, job: Job, status: Status, *problems: Problem) -> None:
        """It ends here, and nothing is remembered of it."""
        self._record(Outcome(job.id, job.kind.name, status, job.source, job.line, problems=problems, meta=job.meta))

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
        self._session.record(FinishedJob(outcome, None))
