"""The LaterEnds of a workspace: what somebody else settled of jobs that their queue shows as in doubt.

A consumer that settles a doubt itself writes it beside the job at once. `sender reconcile` knows no queue, and a
replica may die in between: the memory has the last word, and an outbox is told it here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.job_execution import delivery_id_of
from sender.queues import DatabaseQueue, Ending, QueueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.ledger import JobRecord, Ledger
    from sender.queues import Queue

EVERY: Final = 30.0
PAGE: Final = 500

log = structlog.get_logger()


class LaterEnds:
    """Of all queues that are read; `queues` may grow."""

    def __init__(self, ledger: Ledger, queues: Sequence[Queue], *, page: int = PAGE) -> None:
        self._ledger = ledger
        self._queues = queues
        self._page = page

    async def run(self) -> None:
        """At once, and then twice a minute, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Tell each queue what is settled by now."""
        for queue in list(self._queues):
            if isinstance(queue, DatabaseQueue):
                try:
                    await self._tell(queue)
                except QueueError as error:
                    log.debug("what was settled elsewhere is told later", queue=queue.source, error=str(error))

    async def _tell(self, queue: DatabaseQueue) -> None:
        last = ""
        while keys := await queue.in_doubt(last, self._page):
            for key, record in (await self._ledger.find(keys)).items():
                if record.state in ("sent", "rejected", "failed"):
                    await queue.amend(ending_of(key, record))
            last = keys[-1]


def ending_of(key: str, record: JobRecord) -> Ending:
    """What became of a job, as the memory tells it."""
    return Ending(record.state, delivery_id_of(record.result), record.error, key)
