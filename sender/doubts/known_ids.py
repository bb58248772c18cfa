"""Which of the ids that the API shows belong to a job already, and which may do so in a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.ledger.ledger import Ledger

IN_FLIGHT: Final = 120.0
"""Seconds within which the answer to every request is recorded."""


class KnownIds:
    """Asked for after the lists were read: what waited for no answer by then is known, or of nobody here."""

    def __init__(self, known: frozenset[str] = frozenset(), settled_before: float = float("inf")) -> None:
        self._known = known
        self._settled_before = settled_before

    @classmethod
    async def of(cls, ledger: Ledger, shown: Iterable[str], bound: frozenset[str], now: float) -> KnownIds:
        """Ask the ledger about all that the lists showed; `bound` is what is known to belong to a job otherwise."""
        in_flight = (await ledger.count()).get("handed_over", 0)
        known = await ledger.known_results(list(dict.fromkeys(shown)))
        return cls(bound | known, now - IN_FLIGHT if in_flight else float("inf"))

    def __contains__(self, shown: str) -> bool:
        """Whether it belongs to a job."""
        return shown in self._known

    def may_be_in_flight(self, created: float) -> bool:
        """Whether what was created then may be a job's that waits for its answer."""
        return created > self._settled_before
