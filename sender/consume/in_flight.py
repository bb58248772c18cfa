"""The Hands of a station: its jobs in the engine, and the messages that wait for their ends.

A job whose messages were given back while it waited is withdrawn: the lane drops it when it comes to it. Until then
the job is not started a second time; if one of its messages is read again before, it simply goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sender.consume.unacked import Holdings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sender.consume.unacked import UnackedMessage
    from sender.engine.identities import Identities
    from sender.engine.job_execution import JobExecution
    from sender.jobs.job import Job

Joined = Literal["joined", "conflict", "unknown", "ended"]
"""`ended`: its end was recorded just now, or while the ledger was asked: ask again."""


class Hands:
    """Deliveries and holdings by identity; an identity is held exactly as long as its delivery may still start."""

    def __init__(self, identities: Identities) -> None:
        self.holdings = Holdings()
        self._identities = identities
        self._executions: dict[str, JobExecution] = {}

    def start(self, execution: JobExecution, holding: UnackedMessage | None = None) -> None:
        """The engine has this job from now on, with its first message, or with those that are held already."""
        job = execution.job
        self._executions[job.key] = execution
        self._identities.hold(job.key, job.content)
        if holding is not None:
            self.holdings.add(job.key, holding)

    def join(self, job: Job, holding: UnackedMessage) -> Joined:
        """Add a message to a job that is in the engine, if it is."""
        execution = self._executions.get(job.key)
        if execution is not None and execution.withdrawn and not execution.in_lane:
            self._forget(job.key)  # the lane has dropped it
            execution = None
        content = self._identities.held(job.key)
        if content is not None and content != job.content:
            return "conflict"
        if execution is None:
            return "unknown" if content is None else "ended"
        execution.withdrawn = False
        self.holdings.add(job.key, holding)
        return "joined"

    def end(self, key: str) -> list[UnackedMessage]:
        """The job has ended: its messages, which are in hand no more."""
        self._forget(key)
        return self.holdings.pop(key)

    def doubted(self, key: str) -> None:
        """The job has ended in doubt, and its messages stay in hand until it is settled."""
        self._forget(key)

    def withdraw(self, keys: Iterable[str]) -> list[UnackedMessage]:
        """These jobs are not started any more if they wait; their messages, to be given back."""
        found: list[UnackedMessage] = []
        for key in keys:
            found += self.holdings.pop(key)
            if key in self._executions:
                self._executions[key].withdrawn = True
        self._sweep()
        return found

    def waiting(self, wanted: Callable[[JobExecution], bool]) -> list[str]:
        """Jobs with messages in hand whose delivery is such a one, the latest first."""
        return [
            key for key, execution in reversed(self._executions.items())
            if not execution.withdrawn and key in self.holdings and wanted(execution)
        ]

    def _sweep(self) -> None:
        """Forget what the lanes have dropped."""
        gone = [key for key, one in self._executions.items() if one.withdrawn and not one.in_lane]
        for key in gone:
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._executions.pop(key, None)
        self._identities.ended(key)
