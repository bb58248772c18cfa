"""Cells of a CSV for spreadsheets. Pure."""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile(r"[=+\-@](?!\d*\.?\d*$)")
"""What spreadsheets compute; a plain number is none."""


def cell(text: str) -> str:
    """The text; one that would be taken for a formula gets an apostrophe."""
    return f"'{text}" if _FORMULA.match(text) else text
