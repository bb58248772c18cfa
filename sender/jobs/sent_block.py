"""A SentBlock says which lines of some bytes of an input stand as sent."""

from __future__ import annotations

from typing import NamedTuple


class SentBlock(NamedTuple):
    """What is known of a block of an input (see `sender.inputs.blocks`)."""

    digest: bytes
    """Hash of its bytes, its place, and all that decides what is made of a line."""
    lines: int
    """Its lines that stand as sent: bit n for the nth of it, counted from 0."""
    left: int
    """How many others there are, blank ones not counted."""
