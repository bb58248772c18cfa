"""The Halt of a workspace: the reason why nothing of it is sent any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sender.errors import StateLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.errors import HaltError

log = structlog.get_logger()


class Halt:
    """Called with an error by whoever cannot go on; tells all who listen, also those who come later."""

    def __init__(self, workspace: str | None) -> None:
        self.error: HaltError | None = None
        """The first reason."""
        self._workspace = workspace
        self._told: list[HaltError] = []
        self._listeners: list[Callable[[HaltError], None]] = []

    def __call__(self, error: HaltError) -> None:
        """The workspace halts, for this reason."""
        if self.error is None:
            self.error = error
            log.error("a workspace has halted", workspace=self._workspace or "default", because=str(error))
        self._told.append(error)
        for listener in self._listeners:
            listener(error)

    def listen(self, listener: Callable[[HaltError], None]) -> None:
        """Call this with every reason, past and future."""
        self._listeners.append(listener)
        for error in self._told:
            listener(error)

    @property
    def state_lost(self) -> bool:
        """Whether the shared state has gone, and has to be joined anew."""
        return isinstance(self.error, StateLost)
