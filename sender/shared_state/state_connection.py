"""The StateConnection of one workspace: one epoch, and patience while the server is away."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from sender.errors import StateLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.shared_state.write_history import WriteHistory

T = TypeVar("T")

TIMEOUT: Final = 2.0
"""Seconds for one answer; then the connection is given up and the call made anew."""
FIRST_PAUSE: Final = 0.02
MOST_PAUSE: Final = 0.5
KEEPING: Final = frozenset({"beat", "hand_over", "join", "reserve"})
"""Calls that a server answers only if it takes what is to be kept; the first is made every few seconds."""

log = structlog.get_logger()


class Away(Exception):  # noqa: N818 - it says what is
    """The server did not answer, and the caller did not want to wait."""


class StateConnection(ABC):
    """What every server's connection knows and tells."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        """The URL without its credentials."""
        self.token = ""
        """The epoch that this replica knows."""
        self.born = 0.0
        """Server's unix seconds at which the epoch began."""
        self.calls = 0
        """Round trips made."""
        self.away_since: float | None = None
        """Loop time since when the server does not answer, or keeps nothing; None while it does."""
        self.refusal: str | None = None
        """Why a server that answers keeps nothing, one that is full; None while it keeps what it is told."""
        self.restarted = asyncio.Event()
        """Set when another server was found behind the URL, or the same one anew."""
        self.history: WriteHistory | None = None
        """How the server's history stood when it was last asked."""
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    async def rejoin(self) -> None:
        """Take the epoch as it is now, after StateLost; waits while the server is away."""

    @abstractmethod
    async def now(self) -> float:
        """The server's unix seconds; StateAway when it does not answer."""

    @abstractmethod
    async def look_at_history(self) -> WriteHistory | None:
        """Ask how the server's history stands, and keep it; None where it does not tell."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connections."""

    @abstractmethod
    def told(self, error: BaseException) -> str:
        """An error's text without credentials, on one line."""

    @abstractmethod
    def judge(self, error: Exception) -> None:
        """Return for what passes, raise for what does not."""

    @abstractmethod
    def refusal_in(self, error: Exception) -> str | None:
        """Why a server that gave this answer keeps nothing; None for any other error."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept there just now; None while it can."""
        if self.away_since is None:
            return None
        return "the shared state does not answer" if self.refusal is None else f"the shared state {self.refusal}"

    async def until_answered(
        self, attempt: Callable[[], Awaitable[T]], *, patient: bool = True, keeps: bool = True
    ) -> T:
        """Try until the server answers; without patience Away when it does not.

        `keeps`: whether an answer shows that the server keeps what it is told.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                answer = await attempt()
            except Exception as error:  # noqa: BLE001 - judged next, and raised if it does not pass
                self.judge(error)
                self._missed(error)
            else:
                if keeps or self.refusal is None:
                    self._answered()
                return answer
            if not patient:
                raise Away
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that replicas do not come back as one
            pause = min(MOST_PAUSE, pause * 2)

    def lost(self, why: str) -> StateLost:
        """The error that says so."""
        return StateLost(
            f"the shared state at {self.shown} was lost, or this replica was taken for dead ({why}): "
            "what was handed over and not answered is in doubt"
        )

    def found_another(self) -> None:
        """The server is another one, or anew."""
        self.restarted.set()
        log.warning("the state is on another server, or it was restarted: all lanes wait", state=self.shown)

    def _missed(self, error: Exception) -> None:
        refusal = self.refusal_in(error)
        if self.away_since is None:
            self.away_since = self._loop.time()
            what = "the state does not answer: lanes wait" if refusal is None else "the state keeps nothing: lanes wait"
            log.warning(what, state=self.shown, error=self.told(error))
        self.refusal = refusal

    def _answered(self) -> None:
        if self.away_since is not None:
            away = self._loop.time() - self.away_since
            self.away_since = self.refusal = None
            log.info("the state answers again", state=self.shown, away_s=round(away, 3))
