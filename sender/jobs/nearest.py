"""The known name that a misspelt one probably means."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    if len(name) > 60:
        return None
    lowered = {one.lower(): one for one in known}
    match = get_close_matches(name.lower(), lowered, n=1, cutoff=0.75)
    return lowered[match[0]] if match else None
