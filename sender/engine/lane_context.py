"""What the lanes of one session share: the API, the ledger, the rules, and who is told what happens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from sender.engine.api_clock import ApiClock
from sender.engine.backoff import Backoff
from sender.engine.kind_gate import KindGate
from sender.runtime.metrics import NoMetrics, commit_time
from sender.transport.verdict import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.engine.job_execution import JobExecution
    from sender.engine.pacing.schedule import Schedule
    from sender.errors import HaltError
    from sender.ledger import JobRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.metrics import Observer
    from sender.transport import OnEnd, Request, UnderWay, Wire

InDoubt = Literal["hold", "resend-if-absent", "resend"]


class RecordFn(Protocol):
    """Takes an ended job; returns at once."""

    def __call__(self, ended: FinishedJob) -> None:
        """Have it recorded."""


class Api(Protocol):
    """The API as a lane uses it; `sender.engine.workspace.Workspace` is one."""

    @property
    def key_version(self) -> int:
        """Changes whenever another key is in use."""

    def reload_key(self) -> bool:
        """Read the key's file again; whether the key has changed."""

    def start(self, request: Request, wire: Wire, on_end: OnEnd) -> UnderWay:
        """One request: see `Transport.start`."""

    async def probe(self) -> str | None:
        """A harmless look whether the API answers: None when it does, else what was seen."""


class LaneListener(Protocol):
    """Hears what happens in the lanes; `sender.session.session.Session` is one."""

    @property
    def has_room(self) -> bool:
        """Whether more jobs may be handed over, as far as the recording of their ends goes."""

    def commit_begins(self) -> bool:
        """The ledger commits something now: whether ends wait that go with it, after one turn of the loop."""

    def record(self, ended: FinishedJob) -> None:
        """A job has ended: have that recorded; returns at once."""

    def job_ended(self, execution: JobExecution, outcome: Outcome, *, resendable: bool) -> None:
        """A started job has ended, and its end was just given to `record`."""

    def job_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """Another replica got the job before this one could hand it over; `record` tells how it stands."""

    def job_left(self, execution: JobExecution) -> None:
        """The job was not started, or went back: nothing was accepted, and the next run takes it up."""

    def halt(self, error: HaltError) -> None:
        """End the run early: called once or more, returns at once."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to try, and what to do when nobody knows."""

    max_attempts: int = 5
    max_wait: float = 900.0
    """Longest Retry-After that is waited for, in seconds."""
    max_outage: float = 3600.0
    """Seconds, while work waits, in which the API takes nothing, after which the run halts; infinite: it waits."""
    in_doubt: InDoubt = "hold"
    log_bodies: bool = False
    """Whether the answer to a job that was not sent stands in its outcome."""
    rules: Rules = field(default_factory=Rules)
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(slots=True)
class LaneContext:
    """Given to every lane of a session."""

    api: Api
    ledger: Ledger
    policy: Policy
    listener: LaneListener
    kinds: KindGate = field(default_factory=KindGate)
    observer: Observer = field(default_factory=NoMetrics)
    wall: Callable[[], float] = time.time
    clock: ApiClock = field(default_factory=ApiClock)
    schedule: Schedule | None = None
    """Hours, days, cap and ramp; None: there are none."""

    async def release(self, keys: Sequence[str]) -> None:
        """Take back the hand-over of jobs of which surely nothing was accepted."""
        with commit_time(self.observer, "release"):
            await self.ledger.release(keys)
