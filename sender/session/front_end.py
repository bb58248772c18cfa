"""A FrontEnd stands before a session: it submits jobs, and hears what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.engine.job_execution import JobExecution
    from sender.errors import HaltError
    from sender.ledger import JobRecord
    from sender.outcomes.recorder import FinishedJob


class FrontEnd(Protocol):
    """Every method returns at once."""

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """These ends are durable."""

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """Another replica got the job before this session could hand it over; `record` tells how it stands."""

    def on_left(self, execution: JobExecution) -> None:
        """The job was not started, or went back: nothing was accepted, and the next run takes it up."""

    def on_halt(self, error: HaltError) -> None:
        """Nothing further is handed over, for this reason; told once or more."""


class Listener:
    """A FrontEnd that hears nothing; what it does not override it does not mind."""

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `FrontEnd.on_recorded`."""

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `FrontEnd.on_refused`."""

    def on_left(self, execution: JobExecution) -> None:
        """See `FrontEnd.on_left`."""

    def on_halt(self, error: HaltError) -> None:
        """See `FrontEnd.on_halt`."""
