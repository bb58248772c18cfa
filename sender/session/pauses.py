"""Pauses that an operator asked for, at this replica or at another one: whoever waits is told why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.workspace import Workspace
    from sender.ledger import Ledger

NOTE: Final = "paused-by"
SETTINGS: Final = b"settings"
OPERATOR: Final = b"operator"
LOOK_EVERY: Final = 2.0
"""Seconds between two looks at the shared state."""

log = structlog.get_logger()


async def hold(workspace: Workspace, ledger: Ledger, paused: bool, *, by: bytes = OPERATOR) -> None:
    """Have all replicas pause, or go on, and note who asked; HaltError when that cannot be done everywhere."""
    await ledger.put_note(NOTE, by if paused else b"")
    await workspace.pause(paused=paused)
    await workspace.look()


async def follow_pause(workspace: Workspace, tell: Callable[[bool], None]) -> None:
    """Call `tell` with whether the lanes are paused, again and again, until cancelled."""
    while True:
        await workspace.look()
        tell(workspace.paused)
        await asyncio.sleep(LOOK_EVERY)


async def tell_pauses(workspace: Workspace) -> None:
    """Log every pause and its end, until cancelled."""
    before = False

    def tell(paused: bool) -> None:
        nonlocal before
        if paused and not before:
            log.warning("the lanes are paused: this run waits; SIGUSR2 to a consumer of the workspace goes on")
        elif before and not paused:
            log.info("the lanes go on")
        before = paused

    await follow_pause(workspace, tell)
