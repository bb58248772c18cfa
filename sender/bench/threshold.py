"""A Threshold is a check like `p99<50ms` on the figures of a benchmark, for use in CI. Pure."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LATENCIES: Final = ("p50", "p90", "p99", "p99.9", "max", "mean")
SCOPES: Final = {"latency": "latency_ms", "service": "service_ms", "lag": "start_lag_ms"}
_FORM: Final = re.compile(
    r"\s*(?:(latency|service|lag)\.)?(p50|p90|p99|p99\.9|max|mean|rate|errors)\s*(<=|>=|<|>)\s*(\d+\.?\d*|\.\d+)\s*(us|ms|s|%|/s)?\s*",
    re.ASCII,
)
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
_TO_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}
DEFAULT: Final = "errors<1%"
EXAMPLES: Final = "'p99<50ms', 'service.p99.9<0.2s', 'errors<0.1%', 'rate>=990'"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One check."""

    text: str
    scope: str
    figure: str
    sign: str
    value: float
    """Milliseconds, requests per second, or errors: a percentage where `percent`, else a number of requests."""
    percent: bool = False

    def found(self, result: Mapping[str, Any]) -> float | None:
        """The figure it looks at; None where nothing was measured: no request, or no wanted answer to time."""
        reached = result["reached"]
        if not reached["started"] or (self.figure != "errors" and not reached["ok"]):
            return None
        if self.figure == "rate":
            return float(reached["rate"])
        if self.figure == "errors":
            return float(reached["error_share"]) * 100 if self.percent else float(reached["errors"])
        value = result[SCOPES[self.scope]][self.figure]
        return None if value is None else float(value)

    def holds(self, result: Mapping[str, Any]) -> bool:
        """Whether the check is passed; one without a figure is not."""
        found = self.found(result)
        return found is not None and self.allows(found)

    def allows(self, value: float) -> bool:
        """Whether a figure of this value passes."""
        return _COMPARE[self.sign](value, self.value)

    @property
    def group(self) -> str:
        """The group of latencies that it looks at; empty for rate and errors."""
        return SCOPES.get(self.scope, "")

    @property
    def unit(self) -> str:
        """What stands behind its figure."""
        if self.figure == "rate":
            return "/s"
        return ("%" if self.percent else "") if self.figure == "errors" else " ms"


def with_default(thresholds: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
    """What a benchmark is held to: the given checks, and a bound on errors when none of them names one."""
    if any(threshold.figure == "errors" for threshold in thresholds):
        return thresholds
    return (*thresholds, parse_threshold(DEFAULT))


def parse_checks(text: str) -> tuple[Threshold, ...]:
    """Several of them, with commas between; UsageError for one that cannot be read."""
    return tuple(parse_threshold(part) for part in text.split(","))


def parse_threshold(text: str) -> Threshold:
    """UsageError when it cannot be read."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"--threshold: {text!r} is not a check; write it like {EXAMPLES}")
    scope, figure, sign, number, unit = match.groups()
    value = float(number)
    if figure in LATENCIES:
        if unit not in _TO_MS:
            raise UsageError(f"--threshold: {text!r} needs a unit: us, ms or s")
        return Threshold(text.strip(), scope or "latency", figure, sign, value * _TO_MS[unit])
    allowed = (None, "/s") if figure == "rate" else (None, "%")
    if scope or unit not in allowed:
        raise UsageError(f"--threshold: {text!r} is not a check; write it like {EXAMPLES}")
    return Threshold(text.strip(), "", figure, sign, value, percent=unit == "%")
