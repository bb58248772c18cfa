"""The StuckEntries of a group: those whose reader is dead and whose clock stands in the future.

An entry's idle time is counted by the server's clock. After that was set back, an entry that was given out before seems
to be idle for no time at all until the clock is where it was. A reader that lives gives its entries a new time every
few seconds, so that they are seen idle for some time, too. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


class StuckEntries:
    """As one reader sees them; times are loop time."""

    def __init__(self, after: float) -> None:
        self._after = after
        """Seconds for which an entry has to seem idle for no time at all."""
        self._since: dict[Hashable, float] = {}

    def look(self, entries: Iterable[tuple[Hashable, int]], now: float) -> list[Hashable]:
        """Of all entries of other readers, with their idle milliseconds: those that are stuck."""
        still = {entry for entry, idle in entries if idle == 0}
        self._since = {entry: self._since.get(entry, now) for entry in still}
        return [entry for entry, since in self._since.items() if now - since >= self._after]
