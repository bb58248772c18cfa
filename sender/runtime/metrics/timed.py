"""A ledger whose commits are timed."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.ledger import Ledger
    from sender.runtime.histogram import Histogram

COMMITS: Final = ("hand_over", "settle", "release")
OPERATIONS: Final = {"hand_over": "hand_over", "finish": "settle", "release": "release"}
"""The ledger's methods that wait for a commit, and what the metric calls them."""


class TimedLedger:
    """A ledger like the one inside, whose commits are timed; all else is passed on."""

    def __init__(self, ledger: Ledger, commits: dict[str, Histogram]) -> None:
        self._ledger = ledger
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if name in OPERATIONS:
            found = self._timing(found, self._commits[OPERATIONS[name]])
            self.__dict__[name] = found
        return found

    @staticmethod
    def _timing(commit: Callable[..., Any], histogram: Histogram) -> Callable[..., Any]:
        async def timed(*args: Any) -> Any:
            begin = perf_counter()  # a duration of real work: the loop's clock may be virtual, a disk never is
            try:
                return await commit(*args)
            finally:
                histogram.add(perf_counter() - begin)

        return timed
