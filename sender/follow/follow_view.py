"""What a live view sees of a run of `follow`: its books, as they fill."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sender.follow.fate import FATES, MARKS
from sender.runtime.live.figures import Figures
from sender.runtime.progress import LEAST_RATE
from sender.runtime.recent_rate import RecentRate

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.follow.books import FateBooks


class FollowView:
    """A live view's `Source`."""

    def __init__(self, books: Callable[[], FateBooks], stopping: Callable[[], bool]) -> None:
        self._books = books
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()
        self._rate = RecentRate()

    def look(self) -> Figures:
        """See `Source.look`."""
        books = self._books()
        is_open = books.number("open")
        rate = self._rate.look(self._loop.time(), books.sent - is_open)
        marks = {mark: books.marks[mark] for mark in MARKS if books.marks[mark]}
        return Figures(
            "follow", "stopping" if self._stopping() else "running", total=books.sent, done=books.sent - is_open,
            left=is_open / rate if rate >= LEAST_RATE and is_open else None,
            counts={**{fate: books.number(fate) for fate in FATES}, **marks, "not_followed": books.unnamed},
        )

    async def refresh(self) -> None:
        """See `Source.refresh`: there is nobody to ask."""
