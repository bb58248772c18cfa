"""`--ramp 10/s-100/s:30m`: the rate rises evenly from the first request of a run on. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

from sender.errors import UsageError

_RAMP: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?-(\d+(?:\.\d+)?)(?:/s)?:(\d+(?:\.\d+)?)([smh])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


class Ramp(NamedTuple):
    """From `first` to `last` requests a second in so many seconds."""

    first: float
    last: float
    seconds: float

    @classmethod
    def parse(cls, text: str, ceiling: float) -> Self:
        """UsageError for what is no ramp, or leads above the limit."""
        found = _RAMP.fullmatch("".join(text.split()))
        if found is None or not 0 < float(found[1]) < float(found[2]) or not float(found[3]):
            raise UsageError("--ramp takes two rates and a time, like 10/s-100/s:30m")
        if float(found[2]) > ceiling:
            raise UsageError(f"--ramp ends at {float(found[2]):g} a second, above the limit of {ceiling:g} (--rate)")
        return cls(float(found[1]), float(found[2]), float(found[3]) * _UNITS[found[4]])

    def rate(self, since: float) -> float:
        """Requests a second, so many seconds after the first: whole ones, where it is one or more."""
        rate = self.first + (self.last - self.first) * min(1.0, since / self.seconds)
        return float(int(rate)) if rate >= 1 else rate
