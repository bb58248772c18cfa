"""BlockLanes: which lanes have lines in a block of a file, found out once for the readers of all lanes."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from sender.inputs.lines import LineCutter

if TYPE_CHECKING:
    from sender.inputs import LaneOf
    from sender.jobs.kinds import LaneName


class BlockLanes:
    """Those of one file; its readers ask from threads of their own.

    A block is known by its bytes and its place: a file that grows or changes while it is read is looked at anew.
    """

    def __init__(self, most_line: int) -> None:
        self._most_line = most_line
        self._found: dict[int, frozenset[LaneName]] = {}
        """By hash; some hundred bytes for each 256 KiB of the file."""
        self._lock = Lock()

    def of(self, data: bytes, first: int, lane_of: LaneOf) -> frozenset[LaneName]:
        """The lanes of the lines of a whole block, the first of which has this number."""
        place = hash((first, data))
        with self._lock:
            if place not in self._found:
                self._found[place] = self._look(data, first, lane_of)
            return self._found[place]

    def _look(self, data: bytes, first: int, lane_of: LaneOf) -> frozenset[LaneName]:
        found: set[LaneName] = set()

        def see(line: bytes) -> bool:
            found.add(lane_of(line))
            return False

        cutter = LineCutter("", self._most_line, see)
        cutter.number = first - 1
        cutter.cut(data)
        cutter.finish()
        return frozenset(found)
