"""Watching is what a replica's metrics look at: its workspaces, its queues, and the conditions around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.runtime.metrics.watched import DeadLetters, Queue
    from sender.runtime.metrics.workspace_metrics import WorkspaceMetrics

Lag = Callable[[], int | None]
"""Jobs that wait in a queue as far as the broker told last; None while it is not known."""


@dataclass(eq=False)
class Watching:
    """Set by the parts that are looked at."""

    workspaces: dict[str, WorkspaceMetrics] = field(default_factory=dict)
    queues: dict[str, Lag] = field(default_factory=dict)
    traffic: dict[str, Queue] = field(default_factory=dict)
    """The queues themselves, by the same names."""
    dead_letters: DeadLetters | None = None
    retries: DeadLetters | None = None
    """The same of the way to the retry queue."""
    state: Callable[[], bool] | None = None
    """Whether the shared state can be reached; None where there is none."""
    conditions: Callable[[], dict[str, bool]] = dict
    """Readiness by condition."""
    parked: Callable[[], tuple[int, int]] | None = None
    """Messages in hand that wait for a full lane or the dead letter, and the bytes that all in hand take."""
    in_hand: Callable[[], int] | None = None
    """Messages taken from queues and neither acknowledged nor given back."""
    deliveries: Callable[[], Mapping[str, int]] | None = None
    """Followed deliveries by their fate."""
    oldest: Callable[[], float | None] | None = None
    """Seconds since the oldest of them was read; None while there is none."""
