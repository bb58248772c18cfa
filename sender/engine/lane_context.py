"""What all lanes of a run share: the wire, the memory, the books, and the rules."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from sender.runtime.metrics import NoMetrics, commit_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sender.engine.backoff import Backoff
    from sender.engine.identities import Identities
    from sender.engine.job_execution import JobExecution
    from sender.errors import HaltError
    from sender.ledger import JobRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.metrics import Observer
    from sender.transport import Transport
    from sender.transport.verdict import Rules

InDoubt = Literal["hold", "resend-if-absent", "resend"]


class RecordFn(Protocol):
    """Takes an ended job; returns at once."""

    def __call__(self, ended: FinishedJob) -> None:
        """Have it recorded."""


class OnEnd(Protocol):
    """Is told of every end of a started job, just after it was put on record."""

    async def __call__(self, execution: JobExecution, outcome: Outcome, resendable: bool) -> None:
        """Take note of it."""


class Key(Protocol):
    """The API key in use."""

    version: int
    """Changes whenever another key is in use."""

    def reload(self) -> bool:
        """Read its file again; whether the key has changed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to try, and what to do when nobody knows."""

    max_attempts: int = 5
    max_wait: float = 900.0
    """Longest Retry-After that is waited for, in seconds."""
    max_outage: float = 3600.0
    """Seconds without a success after which the run halts."""
    in_doubt: InDoubt = "hold"
    log_bodies: bool = False
    """Whether the answer to a job that was not sent stands in its outcome."""


@dataclass(slots=True)
class LaneContext:
    """One run's shared hands."""

    transport: Transport
    ledger: Ledger
    identities: Identities
    record: RecordFn
    rules: Rules
    backoff: Backoff
    policy: Policy
    halt: Callable[[HaltError], None]
    """End the run early: called once or more, returns at once."""
    probe: Callable[[], Awaitable[bool]]
    """A harmless look whether the API answers."""
    key: Key
    on_end: OnEnd
    on_refused: Callable[[JobExecution, JobRecord], None]
    """Told of a job that another replica got before this one could hand it over, and how it stands."""
    observer: Observer = field(default_factory=NoMetrics)
    random: random.Random = field(default_factory=random.Random)
    wall: Callable[[], float] = time.time
    refused_kinds: dict[str, int] = field(default_factory=dict)
    """403s in a row of each kind that were not about a job's content."""
    halted_kinds: set[str] = field(default_factory=set)

    async def release(self, keys: Sequence[str]) -> None:
        """Take back the hand-over of jobs of which surely nothing was accepted."""
        with commit_time(self.observer, "release"):
            await self.ledger.release(keys)
