"""What a report says, free of how it looks: sections of facts, charts and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["first", "second", "third", "good", "bad", "quiet"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure that matters, with a word on it."""

    name: str
    value: str
    tone: Tone = "quiet"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; the columns in `words` hold words, the others numbers."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)
    groups: tuple[str, ...] = ()
    """A word for each row by which the page filters; empty for tables without a filter."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line or row of bars in a chart; None is a gap."""

    name: str
    tone: Tone
    values: tuple[float | None, ...]
    form: Literal["line", "step", "bars"] = "line"


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture, the sentence that stands for it, and the table behind it."""

    name: str
    """Letters and dashes, unlike those of the other charts on the page."""
    title: str
    told: str
    x: tuple[float, ...]
    """Seconds from the start, or percentiles."""
    unit: str
    curves: tuple[Curve, ...]
    table: Table
    axis: Literal["time", "percentile"] = "time"
    width: float = 1.0
    """Seconds from one step to the next."""
    limit: float | None = None
    pauses: tuple[tuple[float, float], ...] = ()
    """(begin, end) in seconds from the start: nothing was written in between, and no curve crosses it."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a whole."""

    name: str
    count: int
    tone: Tone


@dataclass(frozen=True, slots=True)
class Flow:
    """What was read, and the way that it took: the parts of `there` are those of the part `sent`."""

    name: str
    """Letters and dashes, unlike those of the charts on the page."""
    told: str
    jobs: int
    here: tuple[Bar, ...]
    there: tuple[Bar, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Section:
    """One file of the report."""

    title: str
    subtitle: str
    facts: tuple[Fact, ...]
    bars: tuple[Bar, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())
    flow: Flow | None = None
    """Stands in place of the bars."""
