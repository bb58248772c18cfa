"""How long until the next try: exponential, with full jitter, capped; a Retry-After is a floor below the jitter."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """The first delay is at most `initial` seconds, each further one at most twice as long, never above `cap`."""

    initial: float = 0.5
    cap: float = 30.0
    random: Random = field(default_factory=Random)

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the `attempt`-th failure, counted from 1."""
        highest = min(self.cap, self.initial * 2.0 ** min(attempt - 1, 40))
        return (retry_after or 0.0) + self.random.uniform(0.0, highest)
