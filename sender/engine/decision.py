"""What follows for a job from the verdict on its attempt: its outcome, or another try. Pure.

The table stands in docs/delivery-semantics.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from sender.jobs.masking import mask
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import Policy
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
    """Whether the API gave no sign at all when it ended: a failure then is none of the job's."""
    details: tuple[Problem, ...] = ()
    """What the API tells of a refused broadcast elsewhere."""
    queue_full: bool = False
    """A refused trigger that only has to wait until others are processed."""


class Decision(NamedTuple):
    """Either an outcome, or the seconds until the next try, with the job's counters from then on."""

    outcome: Outcome | None = None
    delay: float = 0.0
    resendable: bool = True
    tries: int = 0
    """Attempts that count towards `max_attempts`: outages and 429s do not."""
    refusals: int = 0
    """429s, for the backoff."""


def decide(attempt: Attempt, policy: Policy, now: float) -> Decision:
    """Decide at the unix time `now`."""
    execution, verdict = attempt.execution, attempt.verdict
    match verdict.what:
        case "sent":
            return _ended(attempt, "sent", policy, now)
        case "rejected" if attempt.queue_full:
            return _try_again(attempt, policy, now)
        case "rejected":
            return _ended(attempt, "sent" if _was_done_before(attempt) else "rejected", policy, now)
        case "accepted_id_unknown":
            return _ended(attempt, "in_doubt", policy, now)._replace(resendable=False)
        case "ambiguous" if policy.in_doubt != "resend" or execution.job.kind.lane != "send":
            return _ended(attempt, "in_doubt", policy, now)
        case "kind_refused":
            return _ended(attempt, "rejected", policy, now)
        case "halt_run":
            return Decision(None, policy.backoff.delay(1), tries=execution.tries, refusals=execution.refusals)
    return _try_again(attempt, policy, now)


def _try_again(attempt: Attempt, policy: Policy, now: float) -> Decision:
    execution, verdict = attempt.execution, attempt.verdict
    tries, refusals = execution.tries, execution.refusals
    if verdict.throttled or attempt.queue_full:
        refusals += 1
        return Decision(None, policy.backoff.delay(refusals, verdict.retry_after), tries=tries, refusals=refusals)
    if not attempt.outage:
        tries += 1
    if tries >= policy.max_attempts:
        doubtful = verdict.what == "ambiguous" or execution.may_be_accepted
        return _ended(attempt, "in_doubt" if doubtful else "failed", policy, now)
    return Decision(None, policy.backoff.delay(max(1, tries), verdict.retry_after), tries=tries, refusals=refusals)


def _was_done_before(attempt: Attempt) -> bool:
    """Whether the API refuses a newsletter only because a doubtful try of ours has done what this one asks for.

    It goes out once (`already sent`), and is taken off the schedule once (`not scheduled`).
    """
    execution, verdict = attempt.execution, attempt.verdict
    if not execution.doubted or verdict.http_status != 400:
        return False
    match execution.job.kind.name:
        case "newsletter_send":
            return "already" in verdict.message and "sent" in verdict.message
        case "newsletter_schedule":
            return "not scheduled" in verdict.message and orjson.loads(execution.job.body).get("scheduled_at") == 0
    return False


def _ended(attempt: Attempt, status: Status, policy: Policy, now: float) -> Decision:
    execution, verdict = attempt.execution, attempt.verdict
    problems: tuple[Problem, ...] = ()
    result = verdict.result
    if execution.job.kind.name.startswith("newsletter_") and status == "sent" and not result:
        result = (("newsletter_id", int(execution.job.path_ids[0])),)
    if status != "sent":
        problems = (Problem(verdict.code, verdict.field, mask(verdict.message, execution.job.body)), *attempt.details)
        if policy.log_bodies and attempt.body is not None:
            result = (*result, ("answer", attempt.body[:MOST_SHOWN].decode("utf-8", "replace")))
    outcome = execution.outcome(
        status,
        *problems,
        http_status=verdict.http_status,
        result=result,
        finished_at=now,
        latency_ms=None if attempt.latency is None else attempt.latency * 1000,
    )
    return Decision(outcome, tries=execution.tries, refusals=execution.refusals)
