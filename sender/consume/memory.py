"""The Memory of a workspace: its ledger, in a file of its own or in the state that replicas share; and its loss."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.earlier_identities import EarlierIdentities
from sender.errors import HaltError
from sender.ledger import LOST_NOTE
from sender.session.stores import host_of, open_ledger, open_shared

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.consume_plan import WorkspaceConfig
    from sender.consume.in_flight import UnackedMessage
    from sender.ledger.sqlite_ledger import SqliteLedger
    from sender.queues import Message, Queue
    from sender.runtime.supervisor import Supervisor
    from sender.shared_state.shared_ledger import SharedLedger
    from sender.shared_state.shared_state import SharedState

LOST_HORIZON: Final = 6 * 3600.0
"""Seconds after the loss of a shared state for which a message that was given out before may have been sent."""
AWAY_LIMIT: Final = 3.0
"""Seconds without the shared state after which messages go back to their queues."""
SLACK: Final = 0.5
"""Seconds by which a message may seem to have been given out earlier than it was."""

YOUNG: Final = 60.0
"""Seconds after the beginning of a memory in which the first read of a queue tells whether others read it before."""
READ_NOTE: Final = "read "

log = structlog.get_logger()


class Memory:
    """What is known of a workspace's jobs, since when, and whether it was lost before."""

    def __init__(
        self, ledger: SqliteLedger | SharedLedger, state: SharedState | None = None, *, began: float | None = None
    ) -> None:
        self.ledger = ledger
        self.state = state
        self.earlier = EarlierIdentities()
        self._began = began
        """Loop time at which it began, where that is known."""
        self._compared: set[Queue] = set()
        self._unread: set[Queue] = set()
        """Queues of which nobody with this memory had read anything when it was compared."""
        self._restarts = 0
        self._lost_at: float | None = None
        """Unix time at which some replica saw that it had been lost."""

    @property
    def away(self) -> bool:
        """Whether the state has not answered for so long that jobs cannot wait for it."""
        since = None if self.state is None else self.state.away_since
        return since is not None and asyncio.get_running_loop().time() - since > AWAY_LIMIT

    @property
    def settled(self) -> bool:
        """Whether the state says all that is known; not while a restarted server is told again what it forgot."""
        return self.state is None or self.state.settled

    async def catch_up(self) -> None:
        """After each restart of the server: learn whether it had forgotten anything."""
        restarts = 0 if self.state is None else self.state.ledger.restarts
        if restarts != self._restarts:
            await self.find_loss()
            self._restarts = restarts

    def forgot(self, message: Message) -> bool:
        """Whether the message may have been sent before a loss, without a record of it."""
        return message.deliveries > 1 and self._lost_at is not None and time.time() - self._lost_at < LOST_HORIZON

    async def find_loss(self) -> None:
        """Learn whether some replica saw a loss."""
        known = await self.ledger.get_note(LOST_NOTE)
        self._lost_at = float(known) if known else None

    async def note_loss(self) -> None:
        """Have all replicas know that nothing of what was given out before now is known."""
        self._lost_at = time.time()
        log.warning("the state was lost, or is another; redelivered messages without a record are in doubt")
        await self.ledger.put_note(LOST_NOTE, repr(self._lost_at).encode())

    async def compare(self, queue: Queue) -> None:
        """Once, before the first read: a memory that is younger than what the queue gave out knows nothing of it, since
        it was lost, or is another."""
        if queue in self._compared:
            return
        if self._began is not None and await queue.left_since(asyncio.get_running_loop().time() - self._began + SLACK):
            with suppress(HaltError):
                await self.note_loss()
        if self._began is not None and await self._is_unread(queue):
            self._unread.add(queue)
        self._compared.add(queue)

    async def judge(self, arrived: Collection[UnackedMessage]) -> None:
        """Before these are looked up: a memory that has just begun, and gets what others must have been given before
        that, was lost, or is another. HaltError when it cannot be read or written."""
        if self._began is None:
            return
        if self._lost_at is None and any(one.message.deliveries > 1 for one in arrived):
            await self.find_loss()  # another replica may have seen it meanwhile
        lost = any(self._was_given_out_before(one) for one in arrived)
        first = self._unread & {one.queue for one in arrived}
        lost = lost or any(one.returned_at is not None and one.returned_at < self._began + YOUNG for one in first)
        if lost and self._lost_at is None:
            await self.note_loss()
        for queue in first:  # only now: who finds it read finds the loss, too
            await self.ledger.put_note(READ_NOTE + queue.source, b"1")
        self._unread -= first

    def _was_given_out_before(self, one: UnackedMessage) -> bool:
        """A message that nobody gave back returns after a known time; one that comes again sooner than that after the
        beginning was given out before it."""
        returns = one.queue.return_after if one.queue.keep_every is not None else 0.0
        return one.message.deliveries > 1 and one.since + SLACK < (self._began or 0.0) + returns

    async def _is_unread(self, queue: Queue) -> bool:
        """Others that had read it, and died, would explain what comes again."""
        with suppress(HaltError):
            return await self.ledger.get_note(READ_NOTE + queue.source) is None
        return False

    def has_compared(self, queue: Queue) -> bool:
        """Whether messages of this queue may be judged by it."""
        return queue in self._compared


async def open_memory(
    config: WorkspaceConfig, state_url: str, settings: Settings, supervisor: Supervisor, stack: AsyncExitStack
) -> Memory:
    """Open it, to be closed with the stack; UsageError when it belongs to another API or cannot be used."""
    now = asyncio.get_running_loop().time
    if config.ledger is not None:
        ledger = await open_ledger(config.ledger, host_of(config.base_url), settings, stack)
        return Memory(ledger, began=now() if ledger.run == 1 else None)
    state = await open_shared(
        state_url, config.base_url, settings, stack, workspace=config.name, on_lost=supervisor.fail
    )
    return Memory(state.ledger, state, began=now() - await state.age())
