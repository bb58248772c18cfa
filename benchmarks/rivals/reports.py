"""What a load generator said of its own run: how many requests, how many errors, and its p99."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNITS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass(frozen=True, slots=True)
class Told:
    """Its own words; None for what it does not tell."""

    requests: int
    errors: int
    p99_ms: float | None


def read(name: str, text: str, folder: Path) -> Told:
    """Of what it printed, or of the file that it wrote there; ValueError when that is not to be understood."""
    try:
        return READERS[name](text, folder)
    except (KeyError, TypeError, AttributeError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"the report of {name} is not to be understood ({error}): {text[-500:]}") from None


def _sender(text: str, _folder: Path) -> Told:
    result = json.loads(text)
    reached = result["reached"]
    return Told(reached["started"], reached["errors"], result["latency_ms"]["p99"])


def _autocannon(text: str, _folder: Path) -> Told:
    found = json.loads(text)
    return Told(found["requests"]["total"], found["errors"] + found["non2xx"], found["latency"]["p99"])


def _hey(text: str, _folder: Path) -> Told:
    statuses = {status: int(count) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", text)}
    errors = text.partition("Error distribution:")[2]
    broken = sum(int(count) for count in re.findall(r"^  \[(\d+)\]\s", errors, re.MULTILINE))
    p99 = re.search(r"99%\S* in ([\d.]+) secs", text)
    wrong = sum(count for status, count in statuses.items() if status[0] != "2")
    return Told(sum(statuses.values()) + broken, wrong + broken, float(p99[1]) * 1000 if p99 else None)


def _wrk(text: str, _folder: Path) -> Told:
    number, unit = _must(re.search(r"99%\s+([\d.]+)(us|ms|s|m)", text)).groups()
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Told(int(_must(re.search(r"(\d+) requests in", text))[1]), int(wrong[1]) if wrong else 0,
                float(number) * UNITS[unit])


def _h2load(text: str, _folder: Path) -> Told:
    """Its p99 is not told; the third figure of a row is the mean."""
    done, _, failed = map(int, _must(re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", text)).groups())
    statuses = _must(re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text))
    return Told(done, max(failed, sum(map(int, statuses.groups()))), None)


def _oha(text: str, _folder: Path) -> Told:
    found = json.loads(text)
    statuses = found["statusCodeDistribution"]
    broken = sum(count for why, count in found["errorDistribution"].items() if "deadline" not in why)
    wrong = sum(count for status, count in statuses.items() if status[0] != "2")
    return Told(sum(statuses.values()) + broken, wrong + broken, found["latencyPercentiles"]["p99"] * 1000)


def _vegeta(text: str, _folder: Path) -> Told:
    found = json.loads(text)
    good = sum(count for status, count in found["status_codes"].items() if status[0] == "2")
    return Told(found["requests"], found["requests"] - good, found["latencies"]["99th"] / 1e6)


def _k6(_text: str, folder: Path) -> Told:
    """With checks in the script it tells of those, else of statuses."""
    found: dict[str, Any] = json.loads((folder / "k6.json").read_text())["metrics"]
    failed = found["checks"]["fails"] if "checks" in found else found["http_req_failed"]["passes"]
    return Told(found["http_reqs"]["count"], failed, found["http_req_duration"]["p(99)"])


def _must(match: re.Match[str] | None) -> re.Match[str]:
    if match is None:
        raise KeyError("a figure")
    return match


READERS: Final[dict[str, Callable[[str, Path], Told]]] = {
    "sender": _sender, "autocannon": _autocannon, "hey": _hey, "wrk": _wrk, "h2load": _h2load, "oha": _oha,
    "vegeta": _vegeta, "k6": _k6,
}
