"""The Tally counts lines as they are taken up, and knows when a run has started as many jobs as it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.books import Books
    from sender.ledger import State


class Tally:
    """What the intakes of all lanes count together."""

    def __init__(self, books: Books, limit: int | None = None) -> None:
        self._books = books
        self._left = limit

    @property
    def read(self) -> int:
        """Lines taken up, blank ones not counted."""
        return self._books.read

    @read.setter
    def read(self, value: int) -> None:
        self._books.read = value

    @property
    def full(self) -> bool:
        """Whether `--limit` jobs have been taken on."""
        return self._left == 0

    def take_one(self) -> None:
        """A job was taken on."""
        if self._left is not None:
            self._left -= 1

    def standing(self, state: State) -> None:
        """A job that an earlier run ended: only counted, as a duplicate if it was sent."""
        self._books.count("duplicate" if state == "sent" else "in_doubt" if state == "handed_over" else state)
