"""The ReconcileLoop of a workspace: takes over what dead replicas left, and resolves jobs in doubt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sender.consume.completer import Completer
    from sender.consume.in_flight import InFlight
    from sender.consume.lease import Lease
    from sender.consume.memory import Memory
    from sender.engine.job_execution import JobExecution
    from sender.session.session import Session

EVERY: Final = 5.0


class ReconcileLoop:
    """Beside the work, in one replica at a time."""

    def __init__(
        self, session: Session, memory: Memory, in_flight: InFlight, completer: Completer, lease: Lease, *,
        reads_lists: bool,
    ) -> None:
        self._session = session
        self._memory = memory
        self._doubts = session.doubts
        self._in_flight = in_flight
        self._completer = completer
        self._lease = lease
        self._reads_lists = reads_lists

    async def run(self) -> None:
        """Every few seconds, until the session has ended."""
        while not self._session.ended:
            await asyncio.sleep(EVERY)
            await self._memory.find_loss()
            await self._doubts.adopt_orphans()
            await self._follow_others()
            if self._reads_lists:
                await self._resolve()

    async def _resolve(self) -> None:
        async with self._lease.acquired() as mine:
            for execution in await self._doubts.resolve_ripe() if mine else ():
                self._send_again(execution)

    async def _follow_others(self) -> None:
        """What another replica resolved of the jobs whose messages wait here."""
        keys = self._doubts.kept
        for key, record in (await self._session.ledger.find(keys) if keys else {}).items():
            if record.state == "in_doubt" or (execution := self._doubts.take(key)) is None:
                continue
            if record.state == "failed":
                self._send_again(execution)
            else:
                self._completer.ended_elsewhere(execution.job, record)

    def _send_again(self, execution: JobExecution) -> None:
        if execution.job.key in self._in_flight:
            self._in_flight.start(execution)
            self._session.submit(execution)
