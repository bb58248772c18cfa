"""The books of what was sent: `sent = delivered + bounced + dropped + failed + open`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sender.follow.fate import FATES, MARKS, bounce_of

if TYPE_CHECKING:
    from sender.follow.delivery import Delivery


@dataclass(slots=True)
class FateBooks:
    """Counts of deliveries."""

    heard: int = 0
    """Deliveries that are known."""
    fates: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    bounces: Counter[str] = field(default_factory=Counter)
    """Bounces that are `hard` or `soft`; of others nobody told."""
    made: int = 0
    """Sends of a run that does not name its deliveries; those of which nothing was told yet are open."""
    unnamed: int = 0
    """Jobs that stand as sent and whose delivery nobody can name: settled by hand, or no sends."""

    def enter(self, before: Delivery | None, after: Delivery) -> None:
        """A delivery is known, or more is known of it."""
        if before is None:
            self.heard += 1
        else:
            self._count(before, -1)
        self._count(after, 1)

    def _count(self, delivery: Delivery, by: int) -> None:
        fate, metric, _ = delivery.standing
        self.fates[fate] += by
        for mark in MARKS:
            if mark in delivery.metrics:
                self.marks[mark] += by
        reason = delivery.reasons.get(metric or "")
        bounce = bounce_of(fate, None if reason is None else reason.code)
        if bounce is not None:
            self.bounces[bounce] += by

    @property
    def sent(self) -> int:
        """All that was sent."""
        return max(self.heard, self.made)

    def number(self, name: str) -> int:
        """How many stand under a heading, or have a mark."""
        if name == "open":
            return self.fates[name] + self.sent - self.heard
        return self.fates[name] if name in FATES else self.marks[name]

    def check(self) -> bool:
        """Whether they add up."""
        return self.heard == sum(self.fates.values()) and min((0, *self.fates.values())) >= 0

    def summary(self) -> dict[str, Any]:
        """The books as `--json` prints them."""
        return {
            "sent": self.sent,
            **{fate: self.number(fate) for fate in FATES},
            "bounces": {"hard": self.bounces["hard"], "soft": self.bounces["soft"],
                        "unknown": self.fates["bounced"] - self.bounces["hard"] - self.bounces["soft"]},
            **{mark: self.marks[mark] for mark in MARKS},
            "unnamed": self.unnamed,
        }


def books_text(summary: dict[str, Any]) -> str:
    """The books for people."""
    sent = summary["sent"]
    rows = [("sent", sent, "")]
    for name in (*FATES, *MARKS):
        if summary[name] or name in ("delivered", "open"):
            share = f"{summary[name] / sent:.1%}" if sent else ""
            rows.append((name, summary[name], f"{share}{_kinds(summary) if name == 'bounced' else ''}"))
    if summary["unnamed"]:
        rows.append(("not followed", summary["unnamed"], "sent, and without a delivery that can be asked for"))
    width = max(len(f"{number:,}") for _, number, _ in rows)
    return "\n".join(f"{name:>14}  {number:>{width},}  {text}".rstrip() for name, number, text in rows)


def _kinds(summary: dict[str, Any]) -> str:
    told = [f"{number:,} {name}" for name, number in summary["bounces"].items() if number]
    return f" ({', '.join(told)})" if told else ""
