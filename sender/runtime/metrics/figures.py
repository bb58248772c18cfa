"""The Figures of a replica: those of its workspaces, and what it sees around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from sender.runtime.metrics.answer import answer_of
from sender.runtime.metrics.workspace_metrics import WorkspaceFigures

ASK_EVERY: Final = 2.0
"""Seconds for which an answer of ledger or broker is good, however many scrape."""
MOST_QUEUES: Final = 32
MOST_WORKSPACES: Final = 100
MOST_NAME: Final = 100
DEFAULT: Final = "default"

Lag = Callable[[], int | None]
"""Jobs that wait in a queue as far as the broker told last; None while it is not known."""
AskLag = Callable[[], Awaitable[int | None]]
"""The same, asked of the broker."""


@dataclass(slots=True)
class Figures(WorkspaceFigures):
    """Of a replica and of its default workspace; `of` gives those of another."""

    queues: dict[str, Lag] = field(default_factory=dict)
    state: Callable[[], bool] | None = None
    """Whether the shared state can be reached; None where there is none."""
    conditions: Callable[[], dict[str, bool]] = dict
    """Readiness by condition."""
    in_hand: Callable[[], int] | None = None
    """Messages taken from queues and neither acknowledged nor given back."""
    _others: dict[str, WorkspaceFigures] = field(default_factory=dict)
    _asked: dict[str, AskLag] = field(default_factory=dict)
    _asked_at: float = float("-inf")
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def of(self, workspace: str | None) -> WorkspaceFigures:
        """The figures of the workspace that the configuration calls so; None is the default one."""
        name = DEFAULT if workspace is None else _printable(workspace)
        if name == DEFAULT or (name not in self._others and len(self._others) >= MOST_WORKSPACES):
            return self
        return self._others.setdefault(name, WorkspaceFigures())

    @property
    def workspaces(self) -> dict[str, WorkspaceFigures]:
        """All of them by name."""
        return {DEFAULT: self, **self._others}

    def watch_queue(self, name: str, lag: Lag) -> None:
        """Tell this queue's lag; `name` is the stream or queue as the operator calls it, never its URL."""
        if len(self.queues) < MOST_QUEUES:
            self.queues[_printable(name)] = lag

    def ask_queue(self, name: str, lag: AskLag) -> None:
        """The same for a lag that has to be asked of the broker at each scrape."""
        lags: dict[str, int | None] = {}

        async def ask() -> int | None:
            lags[name] = await answer_of(lag())
            return lags[name]

        self.watch_queue(name, lambda: lags.get(name))
        self._asked[name] = ask

    async def refresh(self) -> None:
        """Ask ledgers and brokers, all at once, if their last word is old."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() - self._asked_at >= ASK_EVERY:
                questions = [one.ask() for one in self.workspaces.values()]
                await asyncio.gather(*questions, *(ask() for ask in self._asked.values()))
                self._asked_at = loop.time()


def _printable(name: str) -> str:
    """A name as a label; all that may hold a password is left out."""
    return "".join(sign if sign.isprintable() else "?" for sign in name.rpartition("@")[2][:MOST_NAME])
