"""Settings that change while a run goes on: the file is followed, and a signal has it read at once.

    SIGHUP   read the configuration again now
    SIGUSR1  start nothing further until SIGUSR2; jobs in hand end as usual

What is written over by a ConfigMap, a `mv` or an editor is seen within `EVERY` seconds. A file that is wrong changes
nothing; what needs a restart is named.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from sender.config.settings import SETTINGS
from sender.errors import UsageError

if TYPE_CHECKING:
    from sender.config.settings import Settings

EVERY: Final = 5.0
"""Seconds between two looks at the file; kubelet itself takes up to a minute or two."""
MOST_FILE: Final = 1 << 20
FOLLOWED: Final = tuple(name for name in ("rate", "rate_trigger", "rate_app", "paused") if name in SETTINGS)

Read = Callable[[], "Settings"]
"""All settings anew, from command line, environment and file; raises UsageError."""
Apply = Callable[["Settings", frozenset[str]], None]
"""Takes the settings, and the names of those that have changed."""

log = structlog.get_logger()


class LiveSettings:
    """The settings in use, and whoever is told when some of them change."""

    def __init__(self, settings: Settings, read: Read, apply: Apply, path: str | None = None) -> None:
        self.settings = settings
        """Those that hold now."""
        self._read = read
        self._apply = apply
        self._path = None if path is None else Path(path)
        self._seen = self._content()

    async def follow(self) -> None:
        """Look at the file every few seconds, until cancelled."""
        while self._path is not None:
            await asyncio.sleep(EVERY)
            if (content := self._content()) is not None and content != self._seen:
                self.look()

    def look(self) -> None:
        """Read the settings now and tell those that changed; what cannot be used is logged and leaves all as it is."""
        self._seen = self._content()
        try:
            read = self._read()
        except UsageError as error:
            log.warning("the changed configuration is wrong, the one before stays", error=str(error))
            return
        changed = {one.name for one in fields(read) if getattr(read, one.name) != getattr(self.settings, one.name)}
        if later := sorted(changed - set(FOLLOWED)):
            log.warning("these settings have changed and need a restart", settings=later)
        now = changed & set(FOLLOWED)
        if now:
            values: dict[str, Any] = {name: getattr(read, name) for name in sorted(now)}
            self.settings = replace(self.settings, **values)
            log.info("settings changed", **values)
            self._apply(self.settings, frozenset(now))

    def change(self, **values: Any) -> None:
        """Have these hold from now on, until the file says otherwise."""
        self.settings = replace(self.settings, **values)
        self._apply(self.settings, frozenset(values))

    def _content(self) -> bytes | None:
        """What stands in the file; None while it cannot be read, as in the middle of an exchange."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                return file.read(MOST_FILE)
        except OSError:
            return None


class OperatorSignals:
    """SIGHUP, SIGUSR1 and SIGUSR2 as an operator's words, for as long as it is entered."""

    def __init__(self, look: Callable[[], None], pause: Callable[[bool], None]) -> None:
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGHUP: look,
            signal.SIGUSR1: lambda: pause(True),
            signal.SIGUSR2: lambda: pause(False),
        }

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number, handler in self._handlers.items():
            loop.add_signal_handler(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._handlers:
            loop.remove_signal_handler(number)
