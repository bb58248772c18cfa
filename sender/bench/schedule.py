"""When each request of a benchmark is planned to start. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rise to `rate` over `ramp` seconds, a warm-up at full rate, then the measured `duration`; all in seconds."""

    rate: float
    """Requests per second; infinite means as many as the server takes."""
    duration: float
    warm_up: float = 0.0
    ramp: float = 0.0

    @property
    def measured_from(self) -> float:
        """Seconds after the start at which the figures begin."""
        return self.ramp + self.warm_up

    @property
    def end(self) -> float:
        """Seconds after the start at which the last request may be planned."""
        return self.measured_from + self.duration

    @property
    def total(self) -> int:
        """How many requests are planned, from 0 to `end`."""
        return math.ceil((self.end - self.ramp / 2) * self.rate - 1e-6)

    def at(self, number: int) -> float:
        """Seconds after the start at which request `number`, counted from 0, is planned."""
        in_ramp = self.rate * self.ramp / 2
        if number < in_ramp:
            return math.sqrt(2 * number * self.ramp / self.rate)
        return self.ramp / 2 + number / self.rate

    def measured(self, offset: float) -> bool:
        """Whether a request planned then counts in the figures."""
        return offset >= self.measured_from - 1e-9
