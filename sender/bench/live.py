"""Where a benchmark stands while it runs: what one process counts, put together, as a live line.

    ━━━····· 12 of 30 s · 498/s · 5,960 ok · 3 errors · p50 4.1 p99 12 ms · 6 under way
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Final

from sender.runtime.screen import SCREEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.bench.measures import Measures

EVERY: Final = 0.5
"""Seconds between two looks."""
BAR: Final = 8


@dataclass(frozen=True, slots=True)
class Now:
    """Counts since the start, warm-up included; rate and latencies (ms) of the last whole step of the series."""

    seconds: float = 0.0
    of_seconds: float = 0.0
    ok: int = 0
    errors: int = 0
    under_way: int = 0
    rate: float = 0.0
    p50: float | None = None
    p99: float | None = None

    def and_of(self, other: Now) -> Now:
        """Of two processes; the slower one's latencies."""
        return replace(
            self, ok=self.ok + other.ok, errors=self.errors + other.errors, rate=self.rate + other.rate,
            under_way=self.under_way + other.under_way, p50=_more(self.p50, other.p50), p99=_more(self.p99, other.p99),
        )


Show = Callable[[Now], None]


def look(measures: Measures, seconds: float, of_seconds: float) -> Now:
    """What one process has counted, so many seconds after the start."""
    steps, width = measures.series.steps, measures.series.width
    last = steps.get(int(seconds // width) - 1)
    ok, planned = (sum(getattr(step, name) for step in steps.values()) for name in ("ok", "planned"))
    answered = sum(step.answered for step in steps.values())
    p50, p99 = last.latency_ms.percentiles((50, 99)) if last else (None, None)
    return Now(min(seconds, of_seconds), of_seconds, ok, max(0, answered - ok), max(0, planned - answered),
               last.ok / width if last else 0.0, p50, p99)


def together(parts: Iterable[Now]) -> Now:
    """What all processes have counted."""
    return reduce(Now.and_of, parts)


def _more(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def line(now: Now, width: int) -> str:
    """The live line."""
    share = min(1.0, now.seconds / now.of_seconds) if now.of_seconds else 0.0
    parts = [f"{'━' * int(share * BAR):·<{BAR}} {now.seconds:.0f} of {now.of_seconds:g} s", f"{now.rate:,.0f}/s",
             f"{now.ok:,} ok", f"{now.errors:,} errors"]
    if now.p50 is not None and now.p99 is not None:
        parts.append(f"p50 {now.p50:.3g} p99 {now.p99:.3g} ms")
    parts.append(f"{now.under_way:,} under way")
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        parts.pop()
    return " · ".join(parts)[: max(0, width)]


def on_screen(now: Now) -> None:
    """Draw it on stderr, where that is a terminal."""
    if SCREEN.is_terminal:
        SCREEN.show(line(now, SCREEN.width))


def off_screen() -> None:
    """Take it away, for what is printed next."""
    SCREEN.show("")


def nothing(_now: Now) -> None:
    """For those who want no live line."""
