"""What a run tells of itself to Prometheus: events are counted in plain numbers, all else is read at each scrape.

    engine --observe_…--> Figures <--read at scrape-- Exposition --text--> /metrics
                             ^
    Lane, Ledger, Conditions-+ (watched)

The engine always has somebody to tell: without `--health-port` that is `NoMetrics`, and prometheus-client (the extra
`metrics`) is imported by `sender.runtime.metrics.prometheus` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sender.ledger import Ledger


class Observer(Protocol):
    """Is told what happens; every method returns at once and never raises."""

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """A request ended with this HTTP status, or with the code of its fault; `seconds` as far as they are known."""

    def observe_turn(self, lane: str, seconds: float) -> None:
        """A job that was ready waited so long for its turn at the pacer."""

    def observe_outcome(self, status: str) -> None:
        """A job ended so, or has changed its fate to this."""

    def timed(self, ledger: Ledger) -> Ledger:
        """The same ledger, whose commits are timed."""


class NoMetrics:
    """Nobody asks for metrics."""

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """See `Observer`."""

    def observe_turn(self, lane: str, seconds: float) -> None:
        """See `Observer`."""

    def observe_outcome(self, status: str) -> None:
        """See `Observer`."""

    def timed(self, ledger: Ledger) -> Ledger:
        """See `Observer`."""
        return ledger
