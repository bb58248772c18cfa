"""A DoubtfulJob is a job in doubt with all that it is recognised by, read from the ledger's detail."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.engine.job_execution import template_of
from sender.jobs.payload import TRAITS
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome

if TYPE_CHECKING:
    from sender.engine.api_clock import ApiClock
    from sender.jobs.status import Status
    from sender.ledger.ledger import Doubt

PERSONAL: Final = ("identifiers", "to", "subject")
MARK: Final = "person"
"""Stands for the personal fields of a detail that is kept longer than the doubt: [type of identifier, checksum]."""


@dataclass(frozen=True, slots=True)
class DoubtfulJob:
    """A job in doubt, or one attempt of a job that was in doubt once."""

    key: str
    content: str
    resendable: bool
    """False where the API's acceptance is known and only the id is not."""
    id: str | None
    kind: str
    path: str
    begun: float
    """Unix seconds by our clock at which the attempt began: with `key` it tells an attempt from others."""
    since: float
    """Unix seconds: the doubtful request was written no earlier. By the API's clock where `ahead` is known."""
    until: float
    """Likewise: it surely was over by then."""
    likely_until: float
    """The same by all that is likely; for a run that was killed, soon after its last sign of life."""
    ahead: float | None
    """Seconds by which the API's clock was ahead of ours; None if it was not known, or ours was set meanwhile."""
    detail: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, doubt: Doubt, clock: ApiClock) -> DoubtfulJob:
        """Read a doubt; where nobody saw the end of the attempt it ends now."""
        detail: dict[str, Any] = orjson.loads(doubt.detail)
        ahead = clock.ahead_then(detail)
        shift = ahead or 0.0
        since = detail.get("since") or detail.get("started_at") or 0.0
        until = detail.get("until") or clock.wall()
        likely_until = detail.get("likely_until") or until
        return cls(
            doubt.key, doubt.content, doubt.resendable, detail.get("id"), detail.get("kind") or "",
            detail.get("path") or "", since, since + shift, max(since, until) + shift, likely_until + shift, ahead,
            detail,
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
    def person_mark(self) -> tuple[str, str] | None:
        """The type of that identifier and a checksum of its value, which outlast the doubt."""
        if MARK in self.detail:
            mark = self.detail[MARK]
            return None if mark is None else (mark[0], mark[1])
        return None if self.person is None else (self.person[0], checksum(*self.person))

    @property
    def template(self) -> int | str:
        """See `template_of`."""
        return template_of(self.detail)

    @property
    def is_anonymous(self) -> bool:
        """Whether recipient and subject are not known any more."""
        return MARK in self.detail

    def anonymous(self) -> DoubtfulJob:
        """The same without personal data, to be kept when the doubt is over."""
        if self.is_anonymous:
            return self
        kept = {name: value for name, value in self.detail.items() if name not in PERSONAL}
        return replace(self, detail=kept | {MARK: self.person_mark})

    def with_payload_of(self, other: DoubtfulJob) -> DoubtfulJob:
        """This attempt, with what another attempt of the same content looks for."""
        found = {name: other.detail[name] for name in TRAITS if name in other.detail}
        kept = {name: value for name, value in self.detail.items() if name != MARK}
        return replace(self, detail=kept | found)

    @property
    def due(self) -> float | None:
        """Unix seconds by the API's clock of its `send_at`: it may be listed by that time, or by its acceptance."""
        due = self.detail.get("send_at")
        return float(due) if isinstance(due, int | float) and due > 0 else None

    @property
    def span(self) -> tuple[float, float]:
        """The earliest and the latest time by which the API may list it."""
        due = self.due
        return (self.since, self.until) if due is None else (min(self.since, due), max(self.until, due))

    def appears_later(self, now: float, lag: float) -> bool:
        """Whether the API may list it later than usual: as a draft, or once its `send_at` is due."""
        due = self.due
        later = due is not None and due + lag > now and due > self.since
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


def checksum(id_type: str, value: str) -> str:
    """What tells a person from others without naming them."""
    text = value.lower() if id_type == "email" else value.removeprefix("cio_") if id_type == "cio_id" else value
    return blake2b(f"{id_type}:{text}".encode(), digest_size=8).hexdigest()
