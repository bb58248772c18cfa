"""A DoubtfulJob is a job in doubt with all that reconcile looks for, read from the ledger's detail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from sender.engine.job_execution import template_of
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome

if TYPE_CHECKING:
    from sender.jobs.status import Status
    from sender.ledger import Doubt


@dataclass(frozen=True, slots=True)
class DoubtfulJob:
    """One job in doubt."""

    key: str
    content: str
    resendable: bool
    """False where the API's acceptance is known and only the id is not."""
    id: str | None
    kind: str
    path: str
    since: float
    """Unix seconds: the doubtful request was written no earlier."""
    until: float
    """Unix seconds: it surely was over by then."""
    likely_until: float
    """Unix seconds: the same by all that is likely; for a run that was killed, soon after its last sign of life."""
    detail: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, doubt: Doubt, now: float) -> DoubtfulJob:
        """Read a doubt; `now` stands for an end that nobody saw."""
        detail: dict[str, Any] = orjson.loads(doubt.detail)
        since = detail.get("since") or detail.get("started_at") or 0.0
        until = detail.get("until") or now
        return cls(
            doubt.key, doubt.content, doubt.resendable, detail.get("id"), detail.get("kind") or "",
            detail.get("path") or "", since, until, detail.get("likely_until") or until, detail,
        )

    @property
    def resource_id(self) -> str:
        """The broadcast's or newsletter's number, as it stands in the path."""
        return self.path.split("/")[3] if self.path.count("/") > 3 else ""

    @property
    def person(self) -> tuple[str, str] | None:
        """The one identifier that the job names: (`id`, `email` or `cio_id`, its text)."""
        identifiers = self.detail.get("identifiers")
        if not isinstance(identifiers, dict) or len(identifiers) != 1:
            return None
        ((name, value),) = identifiers.items()
        return (name, str(value)) if name in ("id", "email", "cio_id") else None

    @property
    def template(self) -> int | str:
        """See `template_of`."""
        return template_of(self.detail)

    def appears_later(self, now: float, lag: float) -> bool:
        """Whether the API may list it later than usual: as a draft, or once its `send_at` is due."""
        due = self.detail.get("send_at")
        later = isinstance(due, int | float) and due + lag > now and due > self.since
        return later or self.detail.get("queue_draft") not in (None, False)

    def outcome(self, status: Status, *problems: Problem, **facts: Any) -> Outcome:
        """What became of it."""
        detail = self.detail
        meta = None if "meta" not in detail else orjson.dumps(detail["meta"])
        return Outcome(
            self.id, self.kind, status, detail.get("source", ""), detail.get("line", 0),
            attempts=detail.get("attempts", 0), problems=problems, meta=meta,
            warnings=tuple(Problem(*warning) for warning in detail.get("warnings", ())),
            started_at=detail.get("started_at"), written_at=detail.get("written_at"), **facts,
        )
