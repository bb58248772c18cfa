"""The circumstances in which the pacing is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of them."""

    name: str
    told: str
    sandbox: tuple[str, ...] = ()
    """Arguments of its sandbox; one that has any cannot be proven against another server."""
    busy: bool = False
    """Whether other processes fight for every core."""
    idle: bool = False
    """Whether there is nothing to send for a while in the middle."""
    wire: bool = False
    """Whether requests overtake each other on the way, so that no clock at the sender can rule the arrivals."""


SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario("plain", "nothing special"),
        Scenario("busy", "another process on every core", busy=True),
        Scenario("idle", "3 s without work in the middle", idle=True),
        Scenario("latency-5", "answers after 5 ms", ("--latency", "5")),
        Scenario("latency-150", "answers after 150 ms", ("--latency", "150")),
        Scenario("jitter", "a wire of 0 to 100 ms each way, 0 to 200 in all", ("--jitter", "100"), wire=True),
    )
}
IDLE: Final = 3.0
