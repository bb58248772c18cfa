"""The books of a run: every line that was read stands under exactly one heading at its end.

See docs/delivery-semantics.md, "Statuses".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from sender.jobs.status import STATUSES

if TYPE_CHECKING:
    from sender.jobs.status import Status
    from sender.outcomes.outcome import Outcome


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
    sent_before: int = 0
    """Lines that earlier runs sent; they stand under `duplicate`."""
    attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    """Those of `statuses` that an earlier run ended."""
    warnings: Counter[str] = field(default_factory=Counter)
    lanes: dict[str, LaneFigures] = field(default_factory=dict)

    def count(self, status: Status, lines: int = 1) -> None:
        """Lines ended so in an earlier run."""
        self.statuses[status] += lines
        self.known[status] += lines

    def enter(self, outcome: Outcome) -> None:
        """A line ended and its outcome is on disk."""
        self.statuses[outcome.status] += 1
        self.attempts += outcome.attempts
        if outcome.warnings:
            self.warnings.update(warning.code for warning in outcome.warnings)

    def move(self, before: Status, after: Status, lines: int = 1) -> None:
        """Lines that were counted so have changed their fate."""
        self.statuses[before] -= lines
        self.statuses[after] += lines

    def count_unread(self, lines: int | None) -> None:
        """A run that was stopped leaves those of the inputs' lines that it did not come to; None: nobody counted."""
        unread = max(0, (lines or 0) - self.read)
        self.read += unread
        self.not_started += unread

    @property
    def ended(self) -> int:
        """Lines with a status."""
        return self.statuses.total()

    @property
    def in_all(self) -> tuple[int, int] | None:
        """(lines sent by this run and all before it, lines to be sent); None where this run says it alone."""
        if not self.sent_before and not self.not_started:
            return None
        repeated = self.statuses["duplicate"] - self.sent_before
        return self.statuses["sent"] + self.sent_before, self.read - repeated - self.statuses["skipped"]

    @property
    def balance(self) -> int:
        """Lines that are nowhere: 0, or the program is wrong."""
        return self.read - self.ended - self.not_started

    def check(self) -> bool:
        """Whether they add up, with no heading below zero."""
        return self.balance == 0 and min((self.not_started, *self.statuses.values())) >= 0

    @property
    def all_sent(self) -> bool:
        """Whether every identity that was read stands as sent or was kept out, and no broadcast met errors later."""
        troubled = self.warnings["broadcast_error"]
        fine = sum(self.statuses[status] for status in ("sent", "duplicate", "skipped"))
        return not troubled and self.not_started == 0 and self.ended == fine

    def summary(self, elapsed: float, **paths: str | None) -> dict[str, Any]:
        """The summary as `--json` prints it (docs/delivery-semantics.md, "The summary")."""
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


ADVICE: Final = {
    "invalid": "to repair and send again: sender outcomes {outcomes} --status invalid",
    "rejected": "the API refused them for good: sender outcomes {outcomes} --status rejected",
    "failed": "surely not accepted; the same command tries them again",
    "in_doubt": "may have been accepted, not sent again by itself: sender outcomes {outcomes} --status in_doubt",
    "skipped": "kept out by rules of your own: sender outcomes {outcomes} --status skipped --count",
    "not_started": "the same command goes on with them",
}
DRY_ADVICE: Final = {"not_started": "would be sent", "invalid": "sender validate tells what is wrong"}
"""Of a rehearsal, which writes no log."""
EXITS: Final = {
    0: "every job stands as sent",
    1: "finished, but not every job stands as sent",
    3: "stopped before the end; the same command goes on where it stopped",
}


def exit_status(books: Books, *, halted: bool, errors_late: bool) -> int:
    """0 every identity stands as sent, 1 finished otherwise, 3 stopped by a signal, a halt or a late error."""
    if halted or errors_late:
        return 3
    return 0 if books.all_sent else 1


def summary_text(
    summary: dict[str, Any], status: int | None = None, in_all: tuple[int, int] | None = None
) -> str:
    """The summary for people, what the exit status means where it is known, and what `Books.in_all` tells."""
    rows = [("read", f"{summary['read']:,}", "")]
    rows += [_status_row(name, summary) for name in (*STATUSES, "not_started") if summary[name] or name == "sent"]
    if in_all is not None:
        rows.append(("in all", f"{in_all[0]:,}", f"of {in_all[1]:,} sent"))
    rows += [("warning", f"{number:,}", code) for code, number in sorted(summary["warnings"].items())]
    rows += [_lane_row(name, lane) for name, lane in summary["lanes"].items() if lane["requests"]]
    rows.append(("time", f"{summary['elapsed_s']:,.1f}s", ""))
    if "would_take_s" in summary:
        rows.append(("would take", f"{timedelta(seconds=summary['would_take_s'])}", "at the limits of its lanes"))
    width = max(len(number) for _, number, _ in rows)
    lines = [f"{name:>12}  {number:>{width}}  {text}".rstrip() for name, number, text in rows]
    lines += [f"{name:>12}  {summary[name]}" for name in ("outcomes", "ledger") if summary.get(name)]
    if status in EXITS:
        kept_out = " or was kept out by rules of your own" if status == 0 and summary["skipped"] else ""
        lines.append(f"{f'exit {status}':>12}  {EXITS[status]}{kept_out}")
    return "\n".join(lines)


def _status_row(name: str, summary: dict[str, Any]) -> tuple[str, str, str]:
    written = summary["outcomes"]
    advice = ADVICE.get(name, "").format(outcomes=quote(str(written))) if written else DRY_ADVICE.get(name, "")
    return name.replace("_", " "), f"{summary[name]:,}", advice


def _lane_row(name: str, lane: dict[str, Any]) -> tuple[str, str, str]:
    refused = f", {lane['http_429']:,} answered 429" if lane["http_429"] else ""
    text = f"requests at {lane['rate']:,.1f}/s, at most {lane['max_in_1s']:,} in any window{refused}"
    return f"lane {name}", f"{lane['requests']:,}", text
