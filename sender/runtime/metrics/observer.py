"""An Observer is told by the engine what happens."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

Commit = Literal["hand_over", "settle", "release"]
"""The writes to a ledger that somebody waits for."""


class Observer(Protocol):
    """Is told what happens; every method returns at once and never raises."""

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """A request ended with this HTTP status, or with the code of its fault; `seconds` as far as they are known."""

    def observe_turn(self, lane: str, seconds: float) -> None:
        """A job that was ready waited so long for its turn at the pacer."""

    def observe_outcome(self, status: str, code: str | None = None) -> None:
        """A job ended so, or has changed its fate to this; `code` is that of what went wrong."""

    def observe_unidentified(self) -> None:
        """A message that has no id came; it is known by its content."""

    def observe_commit(self, operation: Commit, seconds: float) -> None:
        """A durable write to the ledger took so long, whether it succeeded or not."""


class NoMetrics:
    """Nobody asks for metrics."""

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """See `Observer`."""

    def observe_turn(self, lane: str, seconds: float) -> None:
        """See `Observer`."""

    def observe_outcome(self, status: str, code: str | None = None) -> None:
        """See `Observer`."""

    def observe_unidentified(self) -> None:
        """See `Observer`."""

    def observe_commit(self, operation: Commit, seconds: float) -> None:
        """See `Observer`."""


@contextmanager
def commit_time(observer: Observer, operation: Commit) -> Iterator[None]:
    """Tell the observer how long the commit inside took."""
    begin = perf_counter()  # a duration of real work: the loop's clock may be virtual, a disk never is
    try:
        yield
    finally:
        observer.observe_commit(operation, perf_counter() - begin)
