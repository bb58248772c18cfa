"""The StuckReaders of a group: those that are dead, and the clocks of whose entries stand in the future.

An entry's idle time is counted by the server's clock. After that was set back, an entry that was given out before seems
to be idle for no time at all until the clock is where it was. A reader that lives gives its entries a new time every
few seconds, so that they are seen idle for some time, too. One entry of each reader is enough to tell, so a look costs
the same however many there are. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


class StuckReaders:
    """As one reader sees the others; times are loop time."""

    def __init__(self, after: float) -> None:
        self._after = after
        """Seconds for which a reader's first entry has to seem idle for no time at all."""
        self._since: dict[Hashable, float] = {}

    def look(self, readers: Iterable[tuple[Hashable, int]], now: float) -> list[Hashable]:
        """Of all other readers, with the idle milliseconds of the first entry of each: those that are stuck."""
        still = {reader for reader, idle in readers if idle == 0}
        self._since = {reader: self._since.get(reader, now) for reader in still}
        return [reader for reader, since in self._since.items() if now - since >= self._after]
