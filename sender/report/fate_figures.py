"""The figures of what became of a run's deliveries, from the deliveries file beside its outcome log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.runtime.histogram import COARSE, Histogram

if TYPE_CHECKING:
    from sender.report.fate_table import DomainRow, FateTable, ReasonRow


@dataclass(frozen=True, slots=True)
class FateFigures:
    """Everything that a report says of deliveries; `followed` is the sum of `fates`."""

    fates: dict[str, int]
    bounces: dict[str, int]
    marks: dict[str, int]
    domains: tuple[DomainRow, ...]
    reasons: tuple[ReasonRow, ...]
    seconds: Histogram = field(default_factory=lambda: Histogram(COARSE))
    """From acceptance to arrival."""

    @classmethod
    def of(cls, table: FateTable) -> FateFigures:
        """All that the table tells."""
        found = cls(table.counts(), table.bounces(), table.marks(), tuple(table.domains()), tuple(table.reasons()))
        for seconds in table.seconds():
            found.seconds.add(seconds)
        return found

    @property
    def followed(self) -> int:
        """Deliveries that are asked for."""
        return sum(self.fates.values())
