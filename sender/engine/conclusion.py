"""What follows for a job from the verdict on its attempt: its outcome, or another try (CONTRACT section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.masking import mask
from sender.problem import Problem

if TYPE_CHECKING:
    from sender.engine.delivery import Delivery
    from sender.engine.desk import Desk
    from sender.outcome import Outcome, Status
    from sender.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Either an outcome, or the seconds until the next try."""

    outcome: Outcome | None = None
    delay: float = 0.0
    resendable: bool = True


def conclude(delivery: Delivery, verdict: Verdict, latency: float | None, desk: Desk, *, outage: bool) -> Conclusion:
    """Decide; counts the try on the delivery unless it fell into an outage or was a 429."""
    if verdict.what == "sent":
        return Conclusion(_outcome(delivery, "sent", verdict, latency, desk))
    if verdict.what == "rejected":
        return Conclusion(_outcome(delivery, "rejected", verdict, latency, desk))
    if verdict.what == "accepted_id_unknown":
        return Conclusion(_outcome(delivery, "in_doubt", verdict, latency, desk), resendable=False)
    if verdict.what == "ambiguous" and desk.policy.in_doubt != "resend":
        return Conclusion(_outcome(delivery, "in_doubt", verdict, latency, desk))
    return _try_again(delivery, verdict, latency, desk, outage=outage)


def _try_again(delivery: Delivery, verdict: Verdict, latency: float | None, desk: Desk, *, outage: bool) -> Conclusion:
    if verdict.throttled:
        delivery.refusals += 1
        return Conclusion(delay=desk.backoff.delay(delivery.refusals, desk.random, verdict.retry_after))
    if verdict.what in ("halt_run", "kind_refused"):
        return Conclusion(delay=desk.backoff.delay(1, desk.random))
    if not outage:
        delivery.tries += 1
    if delivery.tries >= desk.policy.max_attempts:
        status: Status = "in_doubt" if verdict.what == "ambiguous" else "failed"
        return Conclusion(_outcome(delivery, status, verdict, latency, desk))
    return Conclusion(delay=desk.backoff.delay(max(1, delivery.tries), desk.random, verdict.retry_after))


def _outcome(delivery: Delivery, status: Status, verdict: Verdict, latency: float | None, desk: Desk) -> Outcome:
    problems: tuple[Problem, ...] = ()
    if status != "sent":
        problems = (Problem(verdict.code, verdict.field, mask(verdict.message, delivery.job.body)),)
    return delivery.outcome(
        status,
        *problems,
        http_status=verdict.http_status,
        result=verdict.result,
        finished_at=desk.wall(),
        latency_ms=None if latency is None else latency * 1000,
    )
