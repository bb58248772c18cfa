"""Where the quotes of a row are broken."""

from __future__ import annotations

from typing import NamedTuple


class BrokenQuote(NamedTuple):
    """Places in a row's text, from 0."""

    opened: int
    """Where the quote stands that opens the field."""
    at: int | None
    """What follows the quote that closes it, and is neither a delimiter nor the row's end; None if none closes it."""


def broken_quote(text: str, delimiter: str, quote: str) -> BrokenQuote | None:
    """The first broken quote of a row; None if there is none."""
    place = 0
    while place <= len(text):
        if text.startswith(quote, place):
            end = _end_of_field(text, place, quote)
            if end is None:
                return BrokenQuote(place, None)
            if end < len(text) and not text.startswith(delimiter, end) and text[end] not in "\r\n":
                return BrokenQuote(place, end)
            place = end + 1
        else:
            following = text.find(delimiter, place)
            if following < 0:
                return None
            place = following + 1
    return None


def _end_of_field(text: str, start: int, quote: str) -> int | None:
    """Behind the quote that closes the field; a doubled one is a part of it."""
    place = start + 1
    while (place := text.find(quote, place)) >= 0:
        if not text.startswith(quote, place + 1):
            return place + 1
        place += 2
    return None


def place_of(text: str, offset: int, line: int) -> str:
    """An offset as people find it in an editor; the text begins at this line."""
    before = text[:offset]
    return f"line {line + before.count(chr(10)):,}, column {offset - (before.rfind(chr(10)) + 1) + 1:,}"
