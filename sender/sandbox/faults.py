"""What can be made to go wrong, on purpose: named faults, drawn by probability, for some requests or all.

A fault has a phase: `head` (when the request's head has come, nothing is accepted) or `answer` (after key and limit).
`accepted` says whether the request takes effect although its answer is spoilt; every name has its default.
A fault without lane and path meets the requests of jobs, and no reads: those are met when lane or path says so.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

Phase = Literal["head", "answer"]

HEAD_FAULTS: Final = ("reset_before", "half_read")
ACCEPTED_BY_DEFAULT: Final = {
    "reset_before": False,
    "half_read": False,
    "reset_after": True,
    "close_after": True,
    "hang": True,
    "latency": True,
    "status": False,
    "cut_body": True,
    "html": True,
    "html_404": False,
    "no_id": True,
    "garbage": True,
    "slow_body": True,
    "huge_body": True,
    "gzip": True,
    "chunked": True,
}
"""Every fault; `status_503` and `accept_500` are `status` with that number, not accepted and accepted."""

OTHER_NAMES: Final = {"accept_status": ("status", True), "hang_before": ("hang", False), "hang_after": ("hang", True)}
"""Names that stand for a fault and its `accepted`."""


class FaultError(ValueError):
    """A fault that cannot be understood, and the ways that can."""


@dataclass(slots=True)
class Fault:
    """One fault and the requests that it meets."""

    fault: str
    probability: float = 1.0
    count: int | None = None
    """How many more times; None is for ever."""
    skip: int = 0
    """How many requests that it would meet pass first."""
    lane: str | None = None
    path: str | None = None
    """A prefix of the path, or a pattern if it holds `*`."""
    accepted: bool | None = None
    status: int = 500
    retry_after: str | None = None
    """`none`, `zero`, `huge`, `date`, `date:SECONDS`, `garbage`, or the header's value."""
    body: str | None = None
    """Of a `status`: `api`, `html`, `empty`, `garbage`, or the text itself; None is what is usual for it."""
    seconds: float = 1.0
    """Of `latency` and `slow_body`."""
    bytes: int = 32 * 1024 * 1024
    """Of `huge_body`."""

    @property
    def phase(self) -> Phase:
        """When it is drawn."""
        return "head" if self.fault in HEAD_FAULTS else "answer"

    @property
    def takes_effect(self) -> bool:
        """Whether the request is carried out before its answer is spoilt."""
        return ACCEPTED_BY_DEFAULT[self.fault] if self.accepted is None else self.accepted

    def meets(self, lane: str, path: str, *, job: bool) -> bool:
        """Whether this is one of its requests; `job` tells those that a job stands behind."""
        if self.lane is None and self.path is None:
            return job
        if self.lane is not None and self.lane != lane:
            return False
        if self.path is None:
            return True
        return fnmatchcase(path, self.path) if "*" in self.path else path.startswith(self.path)


_FIELDS: Final = {field.name for field in fields(Fault)}
_NUMBERED: Final = re.compile(r"(status|accept)_([1-5][0-9][0-9])\Z")


def make_fault(given: Mapping[str, Any]) -> Fault:
    """A fault from its JSON form; raises FaultError with all that is known."""
    unknown = set(given) - _FIELDS
    if unknown:
        raise FaultError(f"unknown key {min(unknown)!r}; known are {', '.join(sorted(_FIELDS))}")
    values = dict(given)
    name = str(values.get("fault"))
    numbered = _NUMBERED.match(name)
    if numbered:
        values |= {"fault": "status", "status": int(numbered[2]), "accepted": numbered[1] == "accept"}
    elif name in OTHER_NAMES:
        values["fault"], values["accepted"] = OTHER_NAMES[name]
    elif name not in ACCEPTED_BY_DEFAULT:
        known = ", ".join((*ACCEPTED_BY_DEFAULT, *OTHER_NAMES, "status_NNN", "accept_NNN"))
        raise FaultError(f"there is no fault {name}; there are {known}")
    fault = Fault(**values)
    _check(fault)
    return fault


def _check(fault: Fault) -> None:
    rules: tuple[tuple[bool, str], ...] = (
        (_is_number(fault.probability) and 0 <= fault.probability <= 1, "probability is a number from 0 to 1"),
        (fault.count is None or (_is_whole(fault.count) and fault.count > 0), "count is a whole number above 0"),
        (_is_whole(fault.skip), "skip is a whole number"),
        (fault.lane in (None, "send", "trigger", "app", "other"), "lane is send, trigger, app or other"),
        (isinstance(fault.path, str | None), "path is a text"),
        (isinstance(fault.accepted, bool | None), "accepted is true or false"),
        (_is_whole(fault.status) and 200 <= fault.status <= 599, "status is a number from 200 to 599"),
        (_is_header(fault.retry_after), "retry_after is a text of one line, ASCII"),
        (isinstance(fault.body, str | None), "body is a text"),
        (_is_number(fault.seconds) and 0 <= fault.seconds <= 86400, "seconds is a number from 0 to 86400"),
        (_is_whole(fault.bytes) and fault.bytes <= 1 << 30, "bytes is a whole number up to 1 GiB"),
    )
    for fine, words in rules:
        if not fine:
            raise FaultError(words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_header(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isascii() and value.isprintable())


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def parse_spec(text: str) -> list[Fault]:
    """`reset_after=0.05,status_429=0.1:retry_after=date` as faults; raises FaultError."""
    return [make_fault(_spec_values(part.strip())) for part in text.split(",") if part.strip()]


def _spec_values(part: str) -> dict[str, Any]:
    first, *others = part.split(":")
    name, _, probability = first.partition("=")
    values: dict[str, Any] = {"fault": name.strip()}
    try:
        values["probability"] = float(probability or 1)
        for other in others:
            key, _, value = other.partition("=")
            values[key] = _spec_value(key, value)
    except ValueError as problem:
        raise FaultError(f"{part!r} is not NAME=PROBABILITY[:KEY=VALUE…]") from problem
    return values


def _spec_value(key: str, value: str) -> Any:
    if key in ("count", "skip", "status", "bytes"):
        return int(value)
    if key == "seconds":
        return float(value)
    if key == "accepted":
        return {"true": True, "false": False}.get(value, value)
    return value


class Faults:
    """The faults in force, in the order in which they were set; the first that strikes is the one."""

    def __init__(self, specs: tuple[str, ...], random: Random) -> None:
        self._random = random
        self._faults = [fault for spec in specs for fault in parse_spec(spec)]

    def add(self, fault: Fault) -> None:
        """Set one more."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        """What is in force, as JSON."""
        return [asdict(fault) for fault in self._faults]

    def draw(self, phase: Phase, lane: str, path: str, *, job: bool) -> Fault | None:
        """The fault that strikes this request, if one does."""
        for fault in self._faults:
            if fault.phase != phase or not fault.meets(lane, path, job=job):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            self._use_up(fault)
            return fault
        return None

    def _use_up(self, fault: Fault) -> None:
        if fault.count is None:
            return
        fault.count -= 1
        if fault.count == 0:
            self._faults.remove(fault)
