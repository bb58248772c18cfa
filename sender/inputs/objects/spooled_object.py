"""An object from elsewhere, in a private file."""

from __future__ import annotations

from typing import NamedTuple


class SpooledObject(NamedTuple):
    """What there is of it here."""

    name: str
    """Its URL as outcomes tell it: without credentials and signatures."""
    handle: int
    version: str | None
    """Its ETag, where it has one: another one later is another content."""
