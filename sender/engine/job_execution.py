"""A JobExecution is a job in the engine's hands: the one thing that changes while its requests go out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sender.ledger import FinalRecord, HandOverRecord
from sender.ledger.record_detail import with_error
from sender.outcomes.outcome import Outcome
from sender.runtime.tracing import NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.engine.api_clock import ClockMarks
    from sender.jobs.job import Job
    from sender.jobs.problem import Problem
    from sender.jobs.status import Status
    from sender.runtime.tracing import JobSpan

TRIGGER = re.compile(r"[0-9]+/[0-9]+")
"""What the ledger keeps of a broadcast that was accepted."""
UNTEMPLATED = 1
"""Emails without a template are counted as message 1 (docs/api.md, "Email")."""


class JobOwner(Protocol):
    """Whoever gave jobs to a lane, and may take them back."""

    def may_start(self, execution: JobExecution) -> bool:
        """Asked before each try: whether it is still wanted; if not, the lane drops the job at once."""


@dataclass(slots=True, eq=False)
class JobExecution:
    """One job, from its admission to its outcome."""

    job: Job
    attempts: int = 0
    """Requests made for it, retries included."""
    tries: int = 0
    """Attempts that count towards `max_attempts`: outages and 429s do not."""
    refusals: int = 0
    """429s in a row, for the backoff."""
    started_at: float | None = None
    """Unix seconds of the first attempt."""
    tried_at: float | None = None
    """Unix seconds of the last attempt."""
    written_at: float | None = None
    """Unix seconds at which the last attempt that was written was written."""
    files_read: bytes | None = None
    """The body with the job's files in it, from its hand-over to the end of its attempt."""
    due: float = 0.0
    """Loop time before which it is not tried again."""
    template: int | str = UNTEMPLATED
    """See `template_of`; known once it was handed over."""
    owner: JobOwner | None = None
    """Whoever may take the job back while a lane has it."""
    span: JobSpan = NOBODY
    """Where its attempts are traced."""
    doubted: bool = False
    """Whether an attempt before this one may have been accepted, in this run or an earlier one."""
    doubted_since: float | None = None
    """Unix seconds of the first attempt of this run that may have been accepted, and of which no end is known."""
    clock_steps: int | None = None
    """`ApiClock.steps` at the first such attempt, else at the last one."""

    @property
    def body(self) -> bytes:
        """What is sent."""
        if self.job.files is None:
            return self.job.body
        if self.files_read is None:
            raise ValueError("a job with files is sent only after they were read")
        return self.files_read

    @property
    def withdrawn(self) -> bool:
        """Whether its owner has taken it back while it waited; it is not started any more."""
        return self.owner is not None and not self.owner.may_start(self)

    @property
    def may_be_accepted(self) -> bool:
        """Whether an attempt of this run may have been accepted, and repeating it is not the same as once."""
        return self.doubted_since is not None and not self.job.kind.repeatable

    def expired(self, wall: float) -> bool:
        """Whether its time was over at these unix seconds."""
        return self.job.expires_at is not None and wall > self.job.expires_at

    @property
    def resource(self) -> str | None:
        """Deliveries with the same resource run one after another; None runs beside anything."""
        return self.job.path.rpartition("/")[0] if self.job.kind.lane == "app" else None

    def claim(self, wall: float, marks: ClockMarks | None = None) -> HandOverRecord:
        """What the ledger must know before the request leaves; `wall` is unix seconds, no later than the write.

        `marks` tell what that clock is worth.
        """
        since = wall if self.doubted_since is None else self.doubted_since
        return HandOverRecord(self.job.key, self.job.content, self._detail(since=since, marks=marks))

    def begin(self, wall: float, clock_steps: int) -> None:
        """Another attempt begins, at that unix time."""
        self.attempts += 1
        self.tried_at = wall
        if self.started_at is None:
            self.started_at = wall
        if self.doubted_since is None:
            self.clock_steps = clock_steps

    def doubt(self) -> None:
        """The API may have accepted the last attempt."""
        self.doubted = True
        if self.doubted_since is None:
            self.doubted_since = self.tried_at

    def detail(self, until: float | None, marks: ClockMarks | None) -> bytes:
        """What the ledger keeps of the doubtful attempts, JSON; `until` are the unix seconds at which they ended."""
        since = self.tried_at if self.doubted_since is None else self.doubted_since
        return self._detail(since=since, until=until, marks=marks)

    def outcome(self, status: Status, *problems: Problem, **facts: Any) -> Outcome:
        """How it ended; `facts` are the further fields of an Outcome."""
        job = self.job
        return Outcome(
            job.id,
            job.kind.name,
            status,
            job.source,
            job.line,
            attempts=self.attempts,
            problems=problems,
            warnings=job.warnings,
            meta=job.meta,
            started_at=self.started_at,
            written_at=self.written_at,
            **facts,
        )

    def entry(
        self, outcome: Outcome, *, resendable: bool = True, marks: ClockMarks | None = None
    ) -> FinalRecord:
        """The same for the ledger; `marks` as in `claim`."""
        if outcome.status == "invalid" or outcome.status == "duplicate" or outcome.status == "skipped":
            raise ValueError(f"{outcome.status} jobs claim no identity")
        detail = self.detail(outcome.finished_at, marks) if outcome.status == "in_doubt" else None
        return FinalRecord(
            self.job.key,
            self.job.content,
            outcome.status,
            outcome.to_line(),
            result=result_of(self.job.path, dict(outcome.result)),
            detail=with_error(detail, outcome.error),
            resendable=resendable,
        )

    def _detail(
        self, since: float | None, until: float | None = None, marks: ClockMarks | None = None
    ) -> bytes:
        job = self.job
        traits = job.recognised_by()
        self.template = template_of(traits)
        detail: dict[str, Any] = {
            **traits, "id": job.id, "kind": job.kind.name, "path": job.path, "source": job.source, "line": job.line,
            "attempts": self.attempts, "started_at": self.started_at, "written_at": self.written_at, "since": since,
            "until": until, **(marks or {}),
        }
        if job.meta is not None:
            detail["meta"] = orjson.Fragment(job.meta)
        if job.warnings:
            detail["warnings"] = [tuple(warning) for warning in job.warnings]
        return orjson.dumps(detail)


def result_of(path: str, answer: Mapping[str, Any]) -> str | None:
    """What the ledger keeps of an acceptance: the delivery's id, or `broadcast/trigger`, for each counts its own."""
    if "trigger_id" in answer:
        return f"{path.split('/')[3]}/{answer['trigger_id']}"
    delivery_id = answer.get("delivery_id")
    return None if delivery_id is None else str(delivery_id)


def delivery_id_of(result: str | None) -> str | None:
    """The delivery's id in what the ledger keeps of an acceptance; None where that is a trigger's number."""
    return None if result is None or TRIGGER.fullmatch(result) else result


def template_of(payload: Mapping[str, Any]) -> int | str:
    """The template's number, or its trigger name in lower case, as the API does not mind the case."""
    template = payload.get("transactional_message_id", UNTEMPLATED)
    if isinstance(template, str):
        return int(template) if template.isdecimal() and len(template) < 16 else template.lower()
    return template if type(template) is int else UNTEMPLATED
