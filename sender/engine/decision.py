"""What follows for a job from the verdict on its attempt: its outcome, or another try (CONTRACT section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sender.jobs.masking import mask
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import LaneContext
    from sender.jobs.status import Status
    from sender.outcomes.outcome import Outcome
    from sender.transport.verdict import Verdict

MOST_SHOWN: Final = 2000
"""Bytes of an answer that `--log-bodies` keeps."""


class Attempt(NamedTuple):
    """One try of a job, and what it came to."""

    execution: JobExecution
    verdict: Verdict
    latency: float | None
    """Seconds from write to answer; None where no answer came."""
    body: bytes | None
    outage: bool
    """Whether the lane's breaker was not closed when it ended."""
    details: tuple[Problem, ...] = ()
    """What the API tells of a refused broadcast elsewhere."""
    queue_full: bool = False
    """A refused trigger that only has to wait until others are processed."""


class Decision(NamedTuple):
    """Either an outcome, or the seconds until the next try."""

    outcome: Outcome | None = None
    delay: float = 0.0
    resendable: bool = True


def decide(attempt: Attempt, context: LaneContext) -> Decision:
    """Decide; counts the try on the delivery unless it fell into an outage or was a 429."""
    match attempt.verdict.what:
        case "sent":
            return Decision(_outcome(attempt, "sent", context))
        case "rejected" if attempt.queue_full:
            return _try_again(attempt, context)
        case "rejected" if _was_sent_before(attempt):
            return Decision(_outcome(attempt, "sent", context))
        case "rejected":
            return Decision(_outcome(attempt, "rejected", context))
        case "accepted_id_unknown":
            return Decision(_outcome(attempt, "in_doubt", context), resendable=False)
        case "ambiguous" if context.policy.in_doubt != "resend" or attempt.execution.job.kind.lane != "send":
            return Decision(_outcome(attempt, "in_doubt", context))
        case "halt_run" | "kind_refused":
            return Decision(delay=context.backoff.delay(1, context.random))
    return _try_again(attempt, context)


def _try_again(attempt: Attempt, context: LaneContext) -> Decision:
    execution, verdict = attempt.execution, attempt.verdict
    if verdict.throttled or attempt.queue_full:
        execution.refusals += 1
        return Decision(delay=context.backoff.delay(execution.refusals, context.random, verdict.retry_after))
    if not attempt.outage:
        execution.tries += 1
    if execution.tries >= context.policy.max_attempts:
        return Decision(_outcome(attempt, "in_doubt" if verdict.what == "ambiguous" else "failed", context))
    return Decision(delay=context.backoff.delay(max(1, execution.tries), context.random, verdict.retry_after))


def _was_sent_before(attempt: Attempt) -> bool:
    """A newsletter goes out once: `already sent` after a doubtful try of ours means that this one was it."""
    execution, verdict = attempt.execution, attempt.verdict
    said = execution.job.kind.name == "newsletter_send" and verdict.http_status == 400
    return said and execution.doubted and "already" in verdict.message and "sent" in verdict.message


def _outcome(attempt: Attempt, status: Status, context: LaneContext) -> Outcome:
    execution, verdict = attempt.execution, attempt.verdict
    problems: tuple[Problem, ...] = ()
    result = verdict.result
    if execution.job.kind.name == "newsletter_send" and status == "sent" and not result:
        result = (("newsletter_id", int(execution.job.path.split("/")[3])),)
    if status != "sent":
        problems = (Problem(verdict.code, verdict.field, mask(verdict.message, execution.job.body)), *attempt.details)
        if context.policy.log_bodies and attempt.body is not None:
            result = (*result, ("answer", attempt.body[:MOST_SHOWN].decode("utf-8", "replace")))
    return execution.outcome(
        status,
        *problems,
        http_status=verdict.http_status,
        result=result,
        finished_at=context.wall(),
        latency_ms=None if attempt.latency is None else attempt.latency * 1000,
    )
