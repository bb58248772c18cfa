"""Stages of a benchmark: rates and mixes of kinds that follow each other, as a TOML file tells them. Pure.

docs/benchmarks.md, "Scenarios"
"""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.jobs.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RATE: Final = 1_000_000.0
MOST_SECONDS: Final = 7 * 86400.0
MOST_STAGES: Final = 1000
MANY: Final = range(1, MOST_STAGES + 1)
MOST_WEIGHT: Final = 1000
KNOWN: Final = frozenset({"name", "seconds", "rate", "from_rate", "mix", "warm_up"})


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests at an even rate, or at one that rises or falls evenly from `from_rate` to `rate`; per second."""

    name: str
    seconds: float
    rate: float
    from_rate: float
    mix: tuple[tuple[str, int], ...]
    """(kind, weight)"""
    warm_up: bool = False

    @property
    def requests(self) -> float:
        """How many it plans."""
        return (self.from_rate + self.rate) / 2 * self.seconds

    def at(self, number: float) -> float:
        """Seconds after its start at which its request `number`, from 0, is planned."""
        if number <= 0:
            return 0.0
        rising = (self.rate - self.from_rate) / self.seconds
        return 2 * number / (self.from_rate + math.sqrt(max(0.0, self.from_rate**2 + 2 * rising * number)))


@dataclass(frozen=True)
class Stages:
    """A schedule of stages; it tells what `Schedule` tells."""

    stages: tuple[Stage, ...]

    ramp = 0.0

    @cached_property
    def _begins(self) -> list[float]:
        """Seconds after the start at which each stage begins, and the end."""
        return list(accumulate((stage.seconds for stage in self.stages), initial=0.0))

    @cached_property
    def _firsts(self) -> list[float]:
        """Requests that are planned before each stage, and all of them."""
        return list(accumulate((stage.requests for stage in self.stages), initial=0.0))

    @cached_property
    def _kinds(self) -> list[list[str]]:
        """The kinds of each stage's requests, in a circle."""
        return [evenly(dict(stage.mix)) for stage in self.stages]

    @cached_property
    def measured_from(self) -> float:
        """Seconds after the start at which the figures begin: the end of the stages that warm up."""
        return sum(stage.seconds for stage in self.stages if stage.warm_up)

    @property
    def warm_up(self) -> float:
        """The same, by the name that results have for it."""
        return self.measured_from

    @property
    def duration(self) -> float:
        """Seconds that are measured."""
        return self.end - self.measured_from

    @property
    def end(self) -> float:
        """Seconds after the start at which the last request may be planned."""
        return self._begins[-1]

    @property
    def rate(self) -> float:
        """Requests per second in the mean."""
        return round(self._firsts[-1] / self.end, 6)

    @property
    def total(self) -> int:
        """How many requests are planned."""
        return math.ceil(self._firsts[-1] - 1e-6)

    def at(self, number: int) -> float:
        """Seconds after the start at which request `number`, counted from 0, is planned."""
        place = self.stage_of(number)
        return min(self._begins[place + 1], self._begins[place] + self.stages[place].at(number - self._firsts[place]))

    def stage_of(self, number: int) -> int:
        """The stage that plans this request."""
        return min(len(self.stages), bisect_right(self._firsts, number + 1e-9)) - 1

    def stage_at(self, offset: float) -> int:
        """The stage that runs so many seconds after the start."""
        return min(len(self.stages), bisect_right(self._begins, offset + 1e-9)) - 1

    def kind_of(self, number: int) -> str:
        """The kind of this request."""
        place = self.stage_of(number)
        kinds = self._kinds[place]
        return kinds[(number - math.ceil(self._firsts[place] - 1e-9)) % len(kinds)]

    def measured(self, offset: float) -> bool:
        """Whether a request planned then counts in the figures."""
        return offset >= self.measured_from - 1e-9

    @property
    def kinds(self) -> list[str]:
        """Every kind of any stage, in order."""
        return list(dict.fromkeys(kind for stage in self.stages for kind, _ in stage.mix))


def evenly(weights: Mapping[str, int]) -> list[str]:
    """Names as often as their weights say, each spread over the whole."""
    total = sum(weights.values())
    owed = dict.fromkeys(weights, 0)
    order = []
    for _ in range(total):
        owed = {name: owed[name] + weight for name, weight in weights.items()}
        chosen = max(owed, key=owed.__getitem__)
        owed[chosen] -= total
        order.append(chosen)
    return order


def parse_stages(text: str, where: str, kind: str) -> Stages:
    """The stages of a file; `kind` is sent where a stage has no mix. UsageError tells what is wrong, and where."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: this is not TOML: {error}") from None
    rows = document.pop("stage", None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) not in MANY:
        raise UsageError(f"{where}: tell from 1 to {MOST_STAGES} stages, each as [[stage]] with seconds and rate")
    if document:
        raise UsageError(f"{where}: {next(iter(document))} is not known here; only [[stage]] is")
    stages = tuple(_stage(row, f"{where}: stage {number}", number, kind) for number, row in enumerate(rows, 1))
    measured = [not stage.warm_up for stage in stages]
    if not any(measured) or measured != sorted(measured):
        raise UsageError(f"{where}: stages with warm_up stand first, and at least one comes after them")
    found = Stages(stages)
    if found.total < 1 or found.end > MOST_SECONDS:
        raise UsageError(f"{where}: plan at least one request, and no more than a week")
    return found


def _stage(row: dict[str, Any], where: str, number: int, kind: str) -> Stage:
    unknown = row.keys() - KNOWN
    if unknown:
        raise UsageError(f"{where}: {min(unknown)} is not known; it may have {', '.join(sorted(KNOWN))}")
    name, warm_up = row.get("name", str(number)), row.get("warm_up", False)
    if not isinstance(name, str) or not 1 <= len(name) <= 40 or not name.isprintable() or not isinstance(warm_up, bool):
        raise UsageError(f"{where}: name is a short text, and warm_up true or false")
    seconds = _number(row.get("seconds"), f"{where}: seconds", MOST_SECONDS, least=0.001)
    rate = _number(row.get("rate"), f"{where}: rate", MOST_RATE)
    return Stage(name, seconds, rate, _number(row.get("from_rate", rate), f"{where}: from_rate", MOST_RATE),
                 _mix(row.get("mix", {kind: 1}), where), warm_up)


def _number(value: object, where: str, most: float, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UsageError(f"{where} must be a number from {least:g} to {most:,.0f}")
    return float(value)


def _mix(mix: object, where: str) -> tuple[tuple[str, int], ...]:
    if not isinstance(mix, dict) or not mix:
        raise UsageError(f"{where}: mix names kinds with their weights, like {{ email = 8, sms = 2 }}")
    for kind, weight in mix.items():
        if kind not in KINDS:
            raise UsageError(f"{where}: there is no kind {str(kind)[:40]!r}; kinds are {', '.join(KINDS)}")
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MOST_WEIGHT:
            raise UsageError(f"{where}: the weight of {kind} must be a whole number from 1 to {MOST_WEIGHT}")
    return tuple(mix.items())
