"""Who pauses a workspace, and who lets it go on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sender.consume.pause_switch import NOTE, OPERATOR, SETTINGS, PauseSwitch
from sender.runtime.tasks import end
from tests.consume.parts import until
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeWorkspace:
    def __init__(self, paused: bool = False) -> None:
        self.paused = paused

    async def pause(self, *, paused: bool) -> None:
        self.paused = paused

    async def look(self) -> None: ...


@asynccontextmanager
async def opened(switch: PauseSwitch, workspace: Any, ledger: MemoryLedger) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(switch.carry_out(workspace, ledger)), asyncio.create_task(switch.follow(workspace))]
    await asyncio.sleep(0.02)
    yield
    await end(tasks)
    switch.closed()


@pytest.mark.parametrize(
    ("note", "settings", "held", "after"),
    [
        (None, False, False, False), (None, True, False, True), (SETTINGS, False, True, False),
        (OPERATOR, False, True, True), (SETTINGS, True, True, True), (None, False, True, True),
    ],
)
async def test_what_holds_after_a_start(note: bytes | None, settings: bool, held: bool, after: bool) -> None:
    ledger, workspace, switch = MemoryLedger(), FakeWorkspace(held), PauseSwitch("default")
    if note is not None:
        await ledger.put_note(NOTE, note)
    await switch.begin(settings, ledger)
    async with opened(switch, workspace, ledger):
        assert workspace.paused == switch.paused == after


async def test_a_word_that_came_while_nothing_was_open_is_carried_out_and_comes_before_the_settings() -> None:
    ledger, workspace, switch = MemoryLedger(), FakeWorkspace(), PauseSwitch("default")
    switch.ask(True)
    switch.ask(False)
    switch.ask(True)
    await switch.begin(False, ledger)
    async with opened(switch, workspace, ledger):
        await until(lambda: switch.paused)
        assert await ledger.get_note(NOTE) == OPERATOR
        switch.ask(False)
        await until(lambda: not switch.paused)
        assert not workspace.paused


async def test_a_pause_by_another_replica_is_told() -> None:
    workspace, switch = FakeWorkspace(), PauseSwitch("default")
    workspace.paused = True
    async with opened(switch, workspace, MemoryLedger()):
        assert switch.paused
