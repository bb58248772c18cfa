"""A Resolution is what became of a job in doubt, or why nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sender.engine.job_execution import result_of
from sender.jobs.problem import Problem
from sender.ledger.ledger import FinalRecord
from sender.ledger.record_detail import with_error

if TYPE_CHECKING:
    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.outcomes.outcome import Outcome

Fate = Literal["sent", "rejected", "absent", "open"]
"""`sent`: the API has it; `rejected`: it cannot have been accepted; `absent`: it surely was not; `open`: stays."""


class Resolution(NamedTuple):
    """What the API's lists say of one job in doubt."""

    doubtful: DoubtfulJob
    fate: Fate
    why: str = ""
    result: tuple[tuple[str, Any], ...] = ()
    """What the API has, for the outcome."""
    shown: tuple[str, ...] = ()
    """Ids of what the API shows and what may be this job's."""
    rivals: tuple[str, ...] = ()
    """Ids of the other jobs that may have made it."""

    def outcome(self, now: float) -> Outcome:
        """The outcome line of a job that is in doubt no more."""
        doubtful = self.doubtful
        if self.fate == "sent":
            return doubtful.outcome("sent", result=self.result, finished_at=now)
        if self.fate == "rejected":
            return doubtful.outcome("rejected", Problem("api_error", None, self.why), finished_at=now)
        return doubtful.outcome("failed", Problem("absent", None, self.why), finished_at=now)


def stays_open(doubtful: DoubtfulJob, why: str) -> Resolution:
    """The job stays in doubt."""
    return Resolution(doubtful, "open", why)


def contested(doubtful: DoubtfulJob, shown: tuple[str, ...], rivals: tuple[DoubtfulJob, ...]) -> Resolution:
    """The job stays in doubt: the API shows what may be its own, and another job may have made that."""
    names = sorted({str(one.id) for one in rivals})
    why = "another job may have made what the API shows; sender reconcile --settle sent ID=DELIVERY_ID says whose it is"
    return Resolution(doubtful, "open", why, shown=shown, rivals=tuple(names))


def foreign(doubtful: DoubtfulJob, shown: tuple[str, ...]) -> Resolution:
    """The job stays in doubt: the API shows what may be its own, and somebody else sends the same."""
    why = ("the API shows what no job of this ledger can have made, so another sender may have made what looks like "
           "this job; sender reconcile --settle sent ID=DELIVERY_ID says whose it is")
    return Resolution(doubtful, "open", why, shown=shown)


def final_record(one: DoubtfulJob, outcome: Outcome) -> FinalRecord:
    """The ledger's record of a job that is in doubt no more."""
    if outcome.status not in ("sent", "rejected", "failed"):
        raise ValueError(f"{outcome.status} ends no doubt")
    result = result_of(one.path, dict(outcome.result))
    detail = with_error(None, outcome.error)
    return FinalRecord(one.key, one.content, outcome.status, outcome.to_line(), result=result, detail=detail)
