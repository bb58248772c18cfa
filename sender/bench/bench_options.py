"""The options that only `sender bench` has; each can also be set as SENDER_BENCH_… in the environment."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sender.bench.threshold import Threshold, parse_checks, parse_threshold
from sender.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

_SECONDS: Final = re.compile(r"(\d+\.?\d*|\.\d+)\s*(ms|s|m|h)?", re.ASCII)
_UNITS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_YES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
MOST_RATE: Final = 1_000_000.0
MOST_SECONDS: Final = 7 * 86400.0
MOST_PROCESSES: Final = 256
MOST_USERS: Final = 100_000
MOST_REPEATS: Final = 100
SCENARIOS: Final = ("plain", "busy", "idle", "latency-5", "latency-150", "jitter")

OWN: Final = {
    "bench_rate": "--rate", "bench_duration": "--duration", "bench_ramp": "--ramp", "bench_warm_up": "--warm-up",
    "bench_jobs": "--jobs", "bench_processes": "--processes", "bench_threshold": "--threshold",
    "bench_save": "--save", "bench_allow_vendor_host": "--allow-vendor-host",
    "bench_prove_pacing": "--prove-pacing", "bench_scenario": "--scenario", "bench_users": "--users",
    "bench_think": "--think", "bench_find": "--find", "bench_repeat": "--repeat", "bench_tolerance": "--tolerance",
    "bench_k6_summary": "--k6-summary", "bench_prometheus": "--prometheus",
}


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What was asked for; times in seconds."""

    rate: float = 100.0
    duration: float = 10.0
    ramp: float = 0.0
    warm_up: float = 0.0
    jobs: str | None = None
    processes: int = 1
    thresholds: tuple[Threshold, ...] = ()
    save: Path | None = None
    allow_vendor_host: bool = False
    prove_pacing: bool = False
    scenarios: tuple[str, ...] = SCENARIOS
    """Of the proof."""
    scenario: Path | None = None
    """The file of stages."""
    users: int = 0
    think: float = 0.0
    find: tuple[Threshold, ...] = ()
    repeat: int = 1
    tolerance: float = 0.0
    """Part by which a figure may be worse and still be taken for the same."""
    k6_summary: Path | None = None
    prometheus: Path | None = None


def own_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the command; what is not given stays None."""
    load = parser.add_argument_group("the load")
    _add(load, "bench_rate", "N|max", "requests planned per second; max is as many as the server takes (default: 100)")
    _add(load, "bench_duration", "SECONDS", "seconds that are measured (default: 10; of each proof 20)")
    _add(load, "bench_ramp", "SECONDS", "seconds in which the rate rises before that (default: 0)")
    _add(load, "bench_warm_up", "SECONDS", "seconds at full rate before the figures begin (default: 0)")
    _add(load, "bench_jobs", "FILE", "take the payloads from this job file, in a circle; {{bench.n}} in a line is the "
         "request's number, {{bench.run}} the run's sign")
    _add(load, "bench_processes", "N", "processes that share the load, for more than one core (default: 1)")
    _add(load, "bench_users", "N", "a closed loop instead of a rate: N users, each asks again when it has its answer")
    _add(load, "bench_think", "SECONDS", "seconds that each of them waits before it asks again (default: 0)")
    load.add_argument("--scenario", dest="bench_scenario", metavar="FILE|NAME", action="append",
                      help="a TOML file of stages with their rates and kinds; with --prove-pacing one of "
                      f"{', '.join(SCENARIOS)}, repeatable (default: all)")
    _add(load, "bench_repeat", "N", "measure it N times, so that `compare` can tell a difference from chance "
         "(default: 1)")
    load.add_argument("--allow-vendor-host", dest="bench_allow_vendor_host", action="store_true", default=None,
                      help="measure customer.io itself: real messages to real people")
    judged = parser.add_argument_group("the result")
    judged.add_argument("--threshold", dest="bench_threshold", metavar="CHECK", action="append",
                        help="exit 1 unless this holds, like p99<50ms, service.p99<0.2s, errors<0.1%% or rate>=990; "
                        "repeatable (default: errors<1%%, beside others that do not name errors)")
    _add(judged, "bench_find", "CHECKS", "search the highest rate at which all of these hold, like "
         "'p99<50ms,errors<0.1%%', from --rate on, with a confidence of 95 in 100")
    _add(judged, "bench_tolerance", "SHARE", "for compare: a figure may be so much worse, like 5%% (default: 0)")
    _add(judged, "bench_k6_summary", "FILE", "write it there as k6 run --summary-export does")
    _add(judged, "bench_prometheus", "FILE", "write the figures there in Prometheus' text format, while it runs too")
    _add(judged, "bench_save", "FILE", "write the result there, for `compare` and for `sender report`")
    proof = parser.add_argument_group("the proof of the pacing")
    proof.add_argument("--prove-pacing", dest="bench_prove_pacing", action="store_true", default=None,
                       help="measure how exactly the engine keeps --rate, against a sandbox of its own or "
                       "--base-url")


def _add(group: argparse._ArgumentGroup, name: str, metavar: str, text: str) -> None:
    group.add_argument(OWN[name], dest=name, metavar=metavar, help=text)


def read_options(given: Mapping[str, Any], environment: Mapping[str, str]) -> BenchOptions:
    """From the command line, else the environment, else the defaults; UsageError for the first that makes no sense."""
    found = _Values(given, environment)
    proving = found.flag("bench_prove_pacing")
    scenarios = found.texts("bench_scenario")
    if len(scenarios) > 1 and not proving:
        raise UsageError("--scenario: name one file of stages; only --prove-pacing takes several")
    return BenchOptions(
        rate=found.read("bench_rate", _rate, 100.0),
        duration=found.read("bench_duration", _some_seconds, 20.0 if proving else 10.0),
        ramp=found.read("bench_ramp", _seconds, 0.0),
        warm_up=found.read("bench_warm_up", _seconds, 0.0),
        jobs=found.text("bench_jobs"),
        processes=found.read("bench_processes", _processes, 1),
        thresholds=tuple(map(parse_threshold, found.texts("bench_threshold"))),
        save=found.path("bench_save"),
        allow_vendor_host=found.flag("bench_allow_vendor_host"),
        prove_pacing=proving,
        scenarios=(tuple(map(_scenario, scenarios)) if proving else ()) or SCENARIOS,
        scenario=Path(scenarios[0]) if scenarios and not proving else None,
        users=found.read("bench_users", _users, 0),
        think=found.read("bench_think", _seconds, 0.0),
        find=parse_checks(checks) if (checks := found.text("bench_find")) else (),
        repeat=found.read("bench_repeat", _repeats, 1),
        tolerance=found.read("bench_tolerance", _share, 0.0),
        k6_summary=found.path("bench_k6_summary"),
        prometheus=found.path("bench_prometheus"),
    )


class _Values:
    """What was given, and where."""

    def __init__(self, given: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._given = given
        self._environment = environment

    def text(self, name: str) -> str | None:
        value = self._given.get(name)
        if value == "":
            raise UsageError(f"{OWN[name]}: must not be empty")
        return value if value is not None else self._environment.get(f"SENDER_{name.upper()}") or None

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def texts(self, name: str) -> list[str]:
        value = self._given.get(name)
        if value is not None:
            return list(value)
        text = self._environment.get(f"SENDER_{name.upper()}", "")
        return [part.strip() for part in text.split(",") if part.strip()]

    def flag(self, name: str) -> bool:
        value = self._given.get(name)
        if value is not None:
            return bool(value)
        text = self._environment.get(f"SENDER_{name.upper()}", "").lower()
        if text and text not in _YES:
            raise UsageError(f"SENDER_{name.upper()}: must be true or false")
        return _YES.get(text, False)

    def read(self, name: str, reader: Any, default: Any) -> Any:
        text = self.text(name)
        if text is None:
            return default
        try:
            return reader(text)
        except ValueError as error:
            where = OWN[name] if self._given.get(name) is not None else f"SENDER_{name.upper()}"
            raise UsageError(f"{where}: {error}") from None


def _rate(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST_RATE:
        raise ValueError(f"must be a number above 0, up to {MOST_RATE:,.0f}, or max")
    return rate


def _seconds(text: str) -> float:
    match = _SECONDS.fullmatch(text.strip())
    seconds = float(match.group(1)) * _UNITS[match.group(2)] if match else math.inf
    if seconds > MOST_SECONDS:
        raise ValueError("must be seconds, like 30, 500ms, 5m or 1h, up to a week")
    return seconds


def _some_seconds(text: str) -> float:
    seconds = _seconds(text)
    if seconds <= 0:
        raise ValueError("must be above 0")
    return seconds


def _processes(text: str) -> int:
    return _whole(text, MOST_PROCESSES)


def _users(text: str) -> int:
    return _whole(text, MOST_USERS)


def _repeats(text: str) -> int:
    return _whole(text, MOST_REPEATS)


def _whole(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise ValueError(f"must be a whole number from 1 to {most:,}")
    return int(text)


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?)\s*%", text.strip(), re.ASCII)
    if match is None:
        raise ValueError("must be a part like 5%, below 100%")
    return float(match[1]) / 100


def _scenario(text: str) -> str:
    if text not in SCENARIOS:
        raise UsageError(f"--scenario: there is no {text}; the scenarios are {', '.join(SCENARIOS)}")
    return text
