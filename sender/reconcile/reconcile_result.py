"""What a run of `sender reconcile` prints: the jobs that changed, and those that stay in doubt with the reason."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.engine.api_clock import ApiClock
from sender.errors import UsageError
from sender.session.stores import shown_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.resolution import Resolution
    from sender.ledger.ledger import Ledger
    from sender.session.session_plan import SessionPlan


class Changed(NamedTuple):
    """A job of which more is known now."""

    id: str | None
    status: str
    result: tuple[tuple[str, Any], ...] = ()


def check_ledger(plan: SessionPlan) -> None:
    """UsageError where there is no memory to read."""
    if not plan.state and not plan.ledger.exists():
        raise UsageError(f"there is no ledger {plan.ledger}: name the INPUT that was sent, or its --ledger")


async def tell(
    plan: SessionPlan, ledger: Ledger, changed: Sequence[Changed], still_open: Sequence[Resolution]
) -> int:
    """Print it; 0 when nothing is left in doubt, else 1."""
    left = [DoubtfulJob.of(doubt, ApiClock()) async for doubt in ledger.doubts()]
    reasons = {resolution.doubtful.key: resolution for resolution in still_open}
    jobs: list[dict[str, Any]] = [{"id": one.id, "status": one.status, **dict(one.result)} for one in changed]
    jobs += [{"id": one.id, "status": "in_doubt", **_because(reasons.get(one.key))} for one in left]
    document = {"settled": len(changed), "in_doubt": len(left), "jobs": jobs,
                "outcomes": str(plan.outcomes), "ledger": shown_memory(plan)}
    if plan.settings.json:
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
    else:
        sys.stdout.writelines(_line(job) for job in jobs)
        sys.stdout.write(f"{len(changed):,} settled, {len(left):,} still in doubt\n")
    return 1 if left else 0


def _because(resolution: Resolution | None) -> dict[str, Any]:
    if resolution is None:
        return {}
    told: dict[str, Any] = {"because": resolution.why}
    if resolution.shown:
        told["shown"] = resolution.shown
    if resolution.rivals:
        told["rivals"] = resolution.rivals
    return told


def _line(job: dict[str, Any]) -> str:
    known = next((f"{name} {job[name]}" for name in ("delivery_id", "trigger_id", "newsletter_id") if name in job), "")
    parts = [known or job.get("because", "")]
    if "rivals" in job:
        parts.append(f"other jobs: {', '.join(job['rivals'])}")
    if "shown" in job:
        parts.append(f"the API shows: {', '.join(job['shown'])}")
    return f"{job['status']:<9} {job['id']}  {'; '.join(parts)}".rstrip() + "\n"
