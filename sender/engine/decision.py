"""What follows for a job from the verdict on its attempt: its outcome, or another try (CONTRACT section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sender.jobs.masking import mask
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from sender.engine.job_execution import Delivery
    from sender.engine.lane_context import Desk
    from sender.outcomes.outcome import Outcome, Status
    from sender.transport.verdict import Verdict

MOST_SHOWN: Final = 2000
"""Bytes of an answer that `--log-bodies` keeps."""


class Attempt(NamedTuple):
    """One try of a job, and what it came to."""

    delivery: Delivery
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


class Conclusion(NamedTuple):
    """Either an outcome, or the seconds until the next try."""

    outcome: Outcome | None = None
    delay: float = 0.0
    resendable: bool = True


def conclude(attempt: Attempt, desk: Desk) -> Conclusion:
    """Decide; counts the try on the delivery unless it fell into an outage or was a 429."""
    match attempt.verdict.what:
        case "sent":
            return Conclusion(_outcome(attempt, "sent", desk))
        case "rejected" if attempt.queue_full:
            return _try_again(attempt, desk)
        case "rejected" if _was_sent_before(attempt):
            return Conclusion(_outcome(attempt, "sent", desk))
        case "rejected":
            return Conclusion(_outcome(attempt, "rejected", desk))
        case "accepted_id_unknown":
            return Conclusion(_outcome(attempt, "in_doubt", desk), resendable=False)
        case "ambiguous" if desk.policy.in_doubt != "resend" or attempt.delivery.job.kind.lane != "send":
            return Conclusion(_outcome(attempt, "in_doubt", desk))
        case "halt_run" | "kind_refused":
            return Conclusion(delay=desk.backoff.delay(1, desk.random))
    return _try_again(attempt, desk)


def _try_again(attempt: Attempt, desk: Desk) -> Conclusion:
    delivery, verdict = attempt.delivery, attempt.verdict
    if verdict.throttled or attempt.queue_full:
        delivery.refusals += 1
        return Conclusion(delay=desk.backoff.delay(delivery.refusals, desk.random, verdict.retry_after))
    if not attempt.outage:
        delivery.tries += 1
    if delivery.tries >= desk.policy.max_attempts:
        return Conclusion(_outcome(attempt, "in_doubt" if verdict.what == "ambiguous" else "failed", desk))
    return Conclusion(delay=desk.backoff.delay(max(1, delivery.tries), desk.random, verdict.retry_after))


def _was_sent_before(attempt: Attempt) -> bool:
    """A newsletter goes out once: `already sent` after a doubtful try of ours means that this one was it."""
    delivery, verdict = attempt.delivery, attempt.verdict
    said = delivery.job.kind.name == "newsletter_send" and verdict.http_status == 400
    return said and delivery.doubted and "already" in verdict.message and "sent" in verdict.message


def _outcome(attempt: Attempt, status: Status, desk: Desk) -> Outcome:
    delivery, verdict = attempt.delivery, attempt.verdict
    problems: tuple[Problem, ...] = ()
    result = verdict.result
    if delivery.job.kind.name == "newsletter_send" and status == "sent" and not result:
        result = (("newsletter_id", int(delivery.job.path.split("/")[3])),)
    if status != "sent":
        problems = (Problem(verdict.code, verdict.field, mask(verdict.message, delivery.job.body)), *attempt.details)
        if desk.policy.log_bodies and attempt.body is not None:
            result = (*result, ("answer", attempt.body[:MOST_SHOWN].decode("utf-8", "replace")))
    return delivery.outcome(
        status,
        *problems,
        http_status=verdict.http_status,
        result=result,
        finished_at=desk.wall(),
        latency_ms=None if attempt.latency is None else attempt.latency * 1000,
    )
