"""A Delivery is one send that the API accepted, with all that is known of it: a line of NAME.deliveries.jsonl.

See docs/following.md, "The deliveries file".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sender.follow.fate import Standing, bounce_of, standing
from sender.follow.news import News, Reason, known_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping


class Delivery(NamedTuple):
    """One accepted send."""

    id: str
    job: str | None
    """The job's id, where it is known."""
    kind: str | None
    accepted_at: float | None
    """Unix seconds, by the API's clock where it told."""
    metrics: Mapping[str, int] = {}
    reasons: Mapping[str, Reason] = {}
    domain: str | None = None

    @property
    def standing(self) -> Standing:
        """Where it stands by now."""
        return standing(self.kind, self.metrics)

    def told(self, news: News) -> Delivery:
        """The same with this news: each word holds its first time, so that neither order nor repeats matter."""
        metrics = dict(self.metrics)
        for metric, at in news.metrics.items():
            metrics[metric] = min(at, metrics.get(metric, at))
        return self._replace(
            kind=self.kind or news.kind,
            accepted_at=news.created if self.accepted_at is None else self.accepted_at,
            metrics=metrics,
            reasons={**news.reasons, **self.reasons},
            domain=self.domain or news.domain,
        )

    def to_line(self, seen_at: float, by: str) -> bytes:
        """The line, with its end."""
        fate, metric, at = self.standing
        reason = self.reasons.get(metric or "deferred")
        code = None if reason is None else reason.code
        return orjson.dumps(
            {
                "delivery_id": self.id, "id": self.job, "kind": self.kind, "fate": fate, "metric": metric,
                "at": _timestamp(at), "accepted_at": _timestamp(self.accepted_at), "bounce": bounce_of(fate, code),
                "code": code, "reason": None if reason is None else reason.text, "domain": self.domain,
                "metrics": dict(self.metrics), "seen_at": _timestamp(seen_at), "by": by,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


def delivery_of(line: Mapping[str, Any]) -> Delivery:
    """The delivery of a line, of which nothing is known yet."""
    return Delivery(str(line.get("delivery_id")), _text(line, "id"), _text(line, "kind"), _accepted_at(line))


def read_line(line: Mapping[str, Any]) -> News | None:
    """What a line of an earlier run told; None for what is no such line."""
    delivery_id, metrics = line.get("delivery_id"), line.get("metrics")
    if not isinstance(delivery_id, str) or not isinstance(metrics, dict):
        return None
    text = _text(line, "reason")
    reasons = {} if text is None else {_text(line, "metric") or "deferred": Reason(_text(line, "code"), text)}
    return News(
        delivery_id, known_metrics(metrics.items()), reasons, _text(line, "domain"), _text(line, "kind"),
        _accepted_at(line),
    )


def _text(line: Mapping[str, Any], key: str) -> str | None:
    value = line.get(key)
    return value if isinstance(value, str) else None


def _accepted_at(line: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(line["accepted_at"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _timestamp(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    whole = datetime.fromtimestamp(seconds, UTC)
    return whole.strftime("%Y-%m-%dT%H:%M:%S.") + f"{whole.microsecond // 1000:03d}Z"
