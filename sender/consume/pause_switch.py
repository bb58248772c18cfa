"""The PauseSwitch of a workspace: whether its lanes stand, on an operator's word or by the settings.

A pause of a shared state outlives whoever asked for it: the lanes are held on the server. So it is noted there who
asked. What the settings paused goes on with settings that do not; what an operator paused waits for an operator.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sender.errors import HaltError
from sender.session.pauses import NOTE, OPERATOR, SETTINGS, follow_pause, hold

if TYPE_CHECKING:
    from sender.engine.workspace import Workspace
    from sender.ledger import Ledger

log = structlog.get_logger()


class Wish(NamedTuple):
    """What was asked for last."""

    paused: bool
    by: bytes


class PauseSwitch:
    """Takes wishes at any time; they are carried out in the workspace that is open, or that is opened next."""

    def __init__(self, name: str) -> None:
        self.paused = False
        """Whether the lanes stand, as far as is known, whoever asked for it."""
        self._name = name
        self._wish: Wish | None = None
        self._asked = asyncio.Event()

    def ask(self, paused: bool, *, by: bytes = OPERATOR) -> None:
        """Have all replicas pause, or go on."""
        self._wish = Wish(paused, by)
        self._asked.set()

    async def begin(self, paused: bool, ledger: Ledger) -> None:
        """What the settings say at the start, where nobody has asked for anything since."""
        if self._wish is not None:
            return
        if paused:
            self.ask(True, by=SETTINGS)
        elif await ledger.get_note(NOTE) == SETTINGS:
            self.ask(False, by=SETTINGS)

    async def carry_out(self, workspace: Workspace, ledger: Ledger) -> None:
        """Do what is asked, one wish after another, so that the last word holds; until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if (wish := self._wish) is None:
                continue
            try:
                await hold(workspace, ledger, wish.paused, by=wish.by)
            except HaltError as error:
                log.warning("the lanes could not be paused or resumed everywhere", error=str(error))
            else:
                self._done(wish)
                self._tell(workspace.paused)

    async def follow(self, workspace: Workspace) -> None:
        """Tell of every pause and of its end, whoever asked for it; until cancelled."""
        await follow_pause(workspace, self._tell)

    def closed(self) -> None:
        """The workspace is closed: what it was asked and has not done is for the next one."""
        if self._wish is not None:
            self._asked.set()

    def _done(self, wish: Wish) -> None:
        if self._wish == wish:
            self._wish = None

    def _tell(self, paused: bool) -> None:
        if paused == self.paused:
            return
        self.paused = paused
        if paused:
            log.warning("paused: nothing is started until SIGUSR2, or until the settings say so", workspace=self._name)
        else:
            log.info("resumed", workspace=self._name)
