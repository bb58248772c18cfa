"""The books of a run: every line that was read stands under exactly one heading at its end (CONTRACT section 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sender.outcome import STATUSES

if TYPE_CHECKING:
    from sender.outcome import Outcome, Status


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """What a lane did."""

    requests: int = 0
    rate: float = 0.0
    """Requests a second, from the first to the last."""
    max_in_1s: int = 0
    http_429: int = 0


@dataclass(slots=True)
class Books:
    """Counts; `balance` says whether they add up."""

    read: int = 0
    not_started: int = 0
    attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    lanes: dict[str, LaneFigures] = field(default_factory=dict)

    def count(self, status: Status) -> None:
        """A line ended so, without a word in the log."""
        self.statuses[status] += 1

    def enter(self, outcome: Outcome) -> None:
        """A line ended and its outcome is on disk."""
        self.statuses[outcome.status] += 1
        self.attempts += outcome.attempts
        self.warnings.update(warning.code for warning in outcome.warnings)

    def move(self, before: Status, after: Status) -> None:
        """A line that was counted so has changed its fate."""
        self.statuses[before] -= 1
        self.statuses[after] += 1

    @property
    def ended(self) -> int:
        """Lines with a status."""
        return self.statuses.total()

    @property
    def balance(self) -> int:
        """Lines that are nowhere: 0, or the program is wrong."""
        return self.read - self.ended - self.not_started

    @property
    def all_sent(self) -> bool:
        """Whether every identity that was read stands as sent."""
        return self.not_started == 0 and self.ended == self.statuses["sent"] + self.statuses["duplicate"]

    def summary(self, elapsed: float, **paths: str | None) -> dict[str, Any]:
        """The summary as `--json` prints it (CONTRACT section 4)."""
        return {
            "read": self.read,
            **{status: self.statuses[status] for status in STATUSES},
            "not_started": self.not_started,
            "attempts": self.attempts,
            "warnings": dict(self.warnings),
            "elapsed_s": round(elapsed, 3),
            "lanes": {
                name: {
                    "requests": lane.requests,
                    "rate": round(lane.rate, 2),
                    "max_in_1s": lane.max_in_1s,
                    "http_429": lane.http_429,
                }
                for name, lane in self.lanes.items()
            },
            **paths,
        }


ADVICE = {
    "invalid": "repair those lines and send them again: sender outcomes {outcomes} --status invalid",
    "rejected": "the API refused them for good: sender outcomes {outcomes} --status rejected",
    "failed": "surely not accepted; the same command tries them again",
    "in_doubt": "may or may not have been accepted; they are not sent again by themselves",
    "not_started": "the same command goes on with them",
}


def summary_text(summary: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [f"{'read':>12}  {summary['read']:>10,}"]
    for name in (*STATUSES, "not_started"):
        number = summary[name]
        if not number and name != "sent":
            continue
        advice = ADVICE.get(name, "").format(outcomes=summary["outcomes"])
        lines.append(f"{name.replace('_', ' '):>12}  {number:>10,}  {advice}".rstrip())
    for code, number in sorted(summary["warnings"].items()):
        lines.append(f"{'warning':>12}  {number:>10,}  {code}")
    for name, lane in summary["lanes"].items():
        if lane["requests"]:
            refused = f", {lane['http_429']:,} answered 429" if lane["http_429"] else ""
            lines.append(
                f"{'lane ' + name:>12}  {lane['requests']:>10,}  requests at {lane['rate']:.1f}/s, "
                f"at most {lane['max_in_1s']} in any window{refused}"
            )
    lines.append(f"{'time':>12}  {summary['elapsed_s']:>9,.1f}s")
    lines.extend(f"{name:>12}  {summary[name]}" for name in ("outcomes", "ledger") if summary.get(name))
    return "\n".join(lines)
