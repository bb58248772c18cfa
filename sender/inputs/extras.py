"""Packages that only some inputs need: imported when one is used, and named with their extra when missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sender.errors import UsageError


def imported(module: str, extra: str, what: str) -> Any:
    """The module; UsageError says what needs it, and how to get it."""
    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f"{what}, which needs a package that is not here: pip install 'sender[{extra}]'") from None
