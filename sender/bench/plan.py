"""A BenchPlan is everything that is settled before a benchmark begins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sender.bench.schedule import Schedule

if TYPE_CHECKING:
    from sender.bench.request_templates import Template
    from sender.bench.stages import Stages
    from sender.config.api_key import ApiKey


@dataclass(frozen=True)
class BenchPlan:
    """What to request, how fast, and with how many hands; it travels to worker processes."""

    base_url: str
    api_key: ApiKey
    schedule: Schedule | Stages
    templates: tuple[Template, ...]
    processes: int
    concurrency: int
    """Most requests under way in all processes together."""
    timeout: float
    keep_alive: float
    users: bool = False
    """Whether the hands are users, each of whom waits for its answer, thinks, and asks again."""
    think: float = 0.0
    """Seconds that a user thinks."""

    def template(self, number: int) -> Template:
        """What request `number` is made of."""
        same = self.templates if self.stages is None else self._by_kind[self.stages.kind_of(number)]
        return same[number % len(same)]

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Template, ...]]:
        kinds = {template.kind for template in self.templates}
        return {kind: tuple(one for one in self.templates if one.kind == kind) for kind in kinds}

    @cached_property
    def stages(self) -> Stages | None:
        """The schedule, where it has stages."""
        return None if isinstance(self.schedule, Schedule) else self.schedule

    def hands(self, index: int) -> int:
        """The part of `concurrency` that process `index` has."""
        return max(1, self.concurrency // self.processes + (index < self.concurrency % self.processes))
