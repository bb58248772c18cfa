"""The ReconcileLoop of a workspace: takes over what dead replicas left, and settles jobs in doubt again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sender.consume.completer import Completer
    from sender.consume.in_flight import InFlight
    from sender.consume.lease import Lease
    from sender.consume.workspace_session import WorkspaceSession
    from sender.engine.job_execution import JobExecution

EVERY: Final = 5.0


class ReconcileLoop:
    """Beside the work, in one replica at a time."""

    def __init__(
        self, session: WorkspaceSession, in_flight: InFlight, completer: Completer, lease: Lease, *, reads_lists: bool
    ) -> None:
        self._session = session
        self._doubts = session.doubts
        self._in_flight = in_flight
        self._completer = completer
        self._lease = lease
        self._reads_lists = reads_lists

    async def run(self) -> None:
        """Every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self._session.memory.find_loss()
            await self._doubts.carry()
            await self._follow_others()
            if self._reads_lists:
                await self._settle()

    async def _settle(self) -> None:
        async with self._lease.held() as mine:
            for execution in await self._doubts.settle_ripe() if mine else ():
                self._send_again(execution)

    async def _follow_others(self) -> None:
        """What another replica settled of the jobs whose messages wait here."""
        keys = self._doubts.kept
        for key, record in (await self._session.ledger.find(keys) if keys else {}).items():
            if record.state == "in_doubt" or (execution := self._doubts.take(key)) is None:
                continue
            if record.state == "failed":
                self._send_again(execution)
            else:
                self._completer.settled(execution.job, record)

    def _send_again(self, execution: JobExecution) -> None:
        if execution.job.key in self._in_flight:
            self._in_flight.start(execution)
            self._session.submit(execution)
