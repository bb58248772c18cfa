"""`sender bench --find`: trials at one rate after the other, told on stderr, until the highest that holds is known."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sender.bench.bench_result import make_result
from sender.bench.schedule import Schedule
from sender.bench.search import Search, Trial, bounds_of, judge, seconds_of
from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.bench.bench_options import BenchOptions
    from sender.bench.measures import Measures
    from sender.bench.plan import BenchPlan
    from sender.bench.threshold import Threshold

SCHEMA: Final = "sender-bench-search/1"
WARM_UP: Final = 1.0
"""Seconds before each trial, unless asked otherwise."""
REST: Final = 1.0
"""Seconds after one that failed, in which the server may recover."""
MOST_TRIALS: Final = 3
"""Of one rate, unless `--repeat` says more."""


class Finder:
    """One search."""

    def __init__(
        self, plan: BenchPlan, options: BenchOptions, thresholds: Sequence[Threshold],
        measure: Callable[[BenchPlan], Measures],
    ) -> None:
        self._plan = plan
        self._options = options
        self._thresholds = thresholds
        self._measure = measure
        self._search = Search(options.rate)
        self._trials: list[Trial] = []
        self.stopped = False
        self.failure: str | None = None
        """Why not one request succeeded."""

    def run(self) -> dict[str, Any]:
        """The document of the whole search; a signal ends it with what is known."""
        try:
            while not self.stopped and (rate := self._search.next_rate()) is not None:
                self._search.learn(rate, self._try(rate))
                if self.failure:
                    break
        except KeyboardInterrupt:
            self.stopped = True
        return self._document()

    def _try(self, rate: float) -> Any:
        trials: list[Trial] = []
        verdict = "unclear"
        for _ in range(max(MOST_TRIALS, self._options.repeat)):
            trial = self._trial(rate)
            if self.stopped or self.failure:
                break
            trials.append(trial)
            self._trials.append(trial)
            verdict = judge(self._thresholds, trials)
            self._tell(trial, verdict)
            if verdict != "unclear":
                break
            time.sleep(REST if trial.missed(self._thresholds) else 0)
        if verdict == "fails":
            time.sleep(REST)
        return verdict

    def _trial(self, rate: float) -> Trial:
        seconds = seconds_of(rate, self._options.duration, self._thresholds)
        plan = replace(self._plan, schedule=Schedule(rate, seconds, self._options.warm_up or WARM_UP))
        measures = self._measure(plan)
        if measures.halted and measures.succeeded:
            raise HaltError(measures.halted)
        if measures.halted or (not measures.ok and not self._trials and not measures.stopped):
            self.failure = measures.halted or measures.failure or "no answer was measured"
        self.stopped = measures.stopped
        groups = {"latency_ms": measures.latency, "service_ms": measures.service, "start_lag_ms": measures.lag}
        return Trial(rate, make_result(plan, measures, ""), groups)

    def _tell(self, trial: Trial, verdict: str) -> None:
        why = trial.missed(self._thresholds)
        figures = ", ".join(f"{one.text}: {_shown(one.found(trial.result), one.unit)}" for one in self._thresholds)
        own = why is not None and not why.startswith("errors") and _own_limit(trial.result)
        late = " (late starts: this machine's limit, not the server's)" if own else ""
        sys.stderr.write(f"{trial.rate:>10,g}/s  {verdict:7}  {figures}{f'; {why}' if why else ''}{late}\n")

    def _document(self) -> dict[str, Any]:
        best = [trial for trial in self._trials if trial.rate == self._search.holds]
        return {
            "schema": SCHEMA, "checks": [one.text for one in self._thresholds], "confidence": 0.95,
            "holds": self._search.holds, "fails": self._search.fails, "stopped": self.stopped,
            "bounds": {one.text: bounds_of(one, best) for one in self._thresholds} if best else {},
            "trials": [_row(trial, self._thresholds) for trial in self._trials],
            "result": best[-1].result if best else None,
        }


def _row(trial: Trial, thresholds: Sequence[Threshold]) -> dict[str, Any]:
    return {
        "rate": trial.rate, "seconds": trial.result["reached"]["seconds"], "reached": trial.result["reached"]["rate"],
        "missed": trial.missed(thresholds), "generator_late": _own_limit(trial.result),
        "figures": {one.text: one.found(trial.result) for one in thresholds},
    }


def _own_limit(result: Mapping[str, Any]) -> bool:
    """Whether requests started late though hands were free: what was slow is the generator."""
    lag, latency = result["start_lag_ms"]["p99"], result["latency_ms"]["p99"]
    return not result["reached"]["held_up"] and lag is not None and latency is not None and lag > latency / 2


def told(found: Mapping[str, Any]) -> str:
    """What was found, in a few lines."""
    checks = " and ".join(found["checks"])
    if found["holds"] is None:
        return f"no rate was found at which {checks} holds\n"
    lines = [f"{found['holds']:,g} requests/s is the highest rate found at which {checks} holds (95 % confidence)"]
    lines += [f"  {text}: between {lower:,.4g} and {upper:,.4g}"
              for text, bounds in found["bounds"].items() if bounds for lower, upper in [bounds]]
    if found["fails"] is not None:
        lines.append(f"  {found['fails']:,g}/s does not hold")
    if found["stopped"]:
        lines.append("  stopped by a signal: a higher rate may hold")
    return "\n".join(lines) + "\n"


def _shown(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,.4g}{unit}"
