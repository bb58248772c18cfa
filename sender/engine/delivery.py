"""A Delivery is a job in the engine's hands: the one thing that changes while its requests go out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from sender.ledger import Claim, Entry
from sender.outcome import Outcome

if TYPE_CHECKING:
    from sender.job import Job
    from sender.outcome import Status
    from sender.problem import Problem

LOOKED_FOR = ("transactional_message_id", "identifiers", "to", "subject", "send_at", "queue_draft")
"""What reconcile recognises a delivery by (API.md section 7); kept in the ledger only while a job is in doubt."""


@dataclass(slots=True, eq=False)
class Delivery:
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
    due: float = 0.0
    """Loop time before which it is not tried again."""

    @property
    def resource(self) -> str | None:
        """Deliveries with the same resource run one after another; None runs beside anything."""
        return self.job.path.rpartition("/")[0] if self.job.kind.lane == "app" else None

    def claim(self) -> Claim:
        """What the ledger must know before the request leaves."""
        return Claim(self.job.key, self.job.content, self._detail())

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
            **facts,
        )

    def entry(self, outcome: Outcome, *, resendable: bool = True) -> Entry:
        """The same for the ledger."""
        if outcome.status == "invalid" or outcome.status == "duplicate":
            raise ValueError(f"{outcome.status} jobs claim no identity")
        result = dict(outcome.result)
        answer_id = result.get("delivery_id", result.get("trigger_id"))
        return Entry(
            self.job.key,
            self.job.content,
            outcome.status,
            outcome.to_line(),
            result=None if answer_id is None else str(answer_id),
            detail=self._detail() if outcome.status == "in_doubt" else None,
            resendable=resendable,
        )

    def _detail(self) -> bytes:
        job = self.job
        payload = orjson.loads(job.body)
        detail: dict[str, Any] = {name: payload[name] for name in LOOKED_FOR if name in payload}
        detail.update(
            id=job.id,
            kind=job.kind.name,
            path=job.path,
            source=job.source,
            line=job.line,
            attempts=self.attempts,
            started_at=self.started_at,
        )
        return orjson.dumps(detail)
