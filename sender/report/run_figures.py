"""All that is known of one run: its outcomes, what became of its deliveries, and its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sender.report.fate_figures import FateFigures
    from sender.report.outcome_figures import OutcomeFigures


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Read by `sender.report.reading.read_run`."""

    name: str
    outcomes: OutcomeFigures
    fates: FateFigures | None = None
    """None where nobody has followed it."""
    manifest: dict[str, Any] = field(default_factory=dict)
