"""A BenchPlan is everything that is settled before a benchmark begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.bench.request_templates import Template
    from sender.bench.schedule import Schedule
    from sender.config.api_key import ApiKey


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to request, how fast, and with how many hands; it travels to worker processes."""

    base_url: str
    api_key: ApiKey
    schedule: Schedule
    templates: tuple[Template, ...]
    processes: int
    concurrency: int
    """Most requests under way in all processes together."""
    timeout: float
    keep_alive: float

    def hands(self, index: int) -> int:
        """The part of `concurrency` that process `index` has."""
        return max(1, self.concurrency // self.processes + (index < self.concurrency % self.processes))
