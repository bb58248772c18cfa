"""The WorkspaceOpening of a workspace: memory, preflight, lanes, each opened and to be closed with the stack."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sender.consume.earlier_identities import FOR_EVER, find_earlier
from sender.consume.memory import open_memory
from sender.consume.workspace_consumer import WorkspaceConsumer
from sender.engine.workspace import Workspace
from sender.errors import HaltError
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.runtime.supervisor import Supervisor
from sender.runtime.tasks import unless
from sender.session.opening import wait_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.consume_plan import WorkspaceConfig
    from sender.consume.memory import Memory
    from sender.consume.outputs import Outputs
    from sender.consume.telemetry import Telemetry
    from sender.consume.workspace_consumer import InHand, LeftEnd


class WorkspaceOpening:
    """Opens the same workspace as often as it has to be; `queues` are the URLs of the sources, and `settings` gives
    those that hold just now."""

    def __init__(
        self, config: WorkspaceConfig, state: str, queues: Sequence[str], settings: Callable[[], Settings],
        outputs: Outputs, telemetry: Telemetry,
    ) -> None:
        self.is_final = config.ledger is not None
        """Whether a UsageError is one that no waiting mends: a ledger file that was never opened is a wrong one."""
        self.memory: Memory | None = None
        """While it is open."""
        self._config = config
        self._state = state
        self._queues = queues
        self._settings = settings
        self._outputs = outputs
        self._telemetry = telemetry
        self._born: float | None = None
        """When the state began, as this process saw it last."""

    async def open(
        self, in_hand: InHand, left: Sequence[LeftEnd], stop: asyncio.Event, stack: AsyncExitStack
    ) -> WorkspaceConsumer | None:
        """None after a stop; StateAway, or another UsageError or HaltError when it cannot be opened now."""
        if self._config.key.problem is not None:
            raise HaltError(self._config.key.problem)
        supervisor, ending = Supervisor(), asyncio.Event()
        supervisor.on_failure(lambda _: ending.set())
        consumer = await unless(stop, unless(ending, self._open(in_hand, left, supervisor, stack)))
        if consumer is None and supervisor.failure is not None:
            raise supervisor.failure
        return consumer

    def closed(self) -> None:
        """What was opened is closed."""
        self.memory = None
        self._telemetry.closed(self._config.name)

    async def _open(
        self, in_hand: InHand, left: Sequence[LeftEnd], supervisor: Supervisor, stack: AsyncExitStack
    ) -> WorkspaceConsumer:
        settings, config = self._settings(), self._config
        memory = await open_memory(config, self._state, settings, supervisor, stack)
        memory.earlier = await find_earlier(
            memory.ledger, self._queues, FOR_EVER if memory.state is None else settings.keep
        )
        self.is_final = False
        workspace = Workspace(
            config.base_url, config.key, settings, time.time, pacers=memory.state,
            observer=self._telemetry.observer_of(config.name),
        )
        stack.push_async_callback(workspace.transport.aclose)
        if isinstance(memory.ledger, SqliteLedger):
            wait_out(memory.ledger, workspace)
        if memory.state is not None:
            await self._compare_births(memory, memory.state.ledger.born)
        await stack.enter_async_context(supervisor)
        consumer = WorkspaceConsumer(
            workspace, memory, in_hand, self._outputs.sink, self._telemetry.tracer, supervisor
        )
        await consumer.open(config.base_url, left)
        self.memory = memory
        self._telemetry.opened(config.name, consumer)
        return consumer

    async def _compare_births(self, memory: Memory, born: float) -> None:
        """A state that was born since this process saw it last has lost all; else others may have seen a loss."""
        before, self._born = self._born, born
        if before is not None and before != born:
            await memory.note_loss()
        else:
            await memory.find_loss()
