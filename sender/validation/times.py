"""Times in a job are unix seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sender.validation.findings import Report

LATEST: Final = 10**11
"""Seconds in the year 5138; the same number of milliseconds was in 1973."""


def check_seconds(field: str, value: Any, report: Report) -> None:
    """Warn of a time that is far too late to be meant, and right in milliseconds."""
    if type(value) in (int, float) and value >= LATEST:
        report.warn("milliseconds", field, f"{field} looks like milliseconds; give unix seconds")
