"""How large a payload is, beside the API's limits (docs/api.md, "Limits")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from sender.validation.findings import Report

MOST_BODY: Final = 2**20
LARGE_BODY: Final = 1_000_000
"""The vendor says 1 MB, and not which: refused above the larger one, warned of from the smaller one on."""


def check_size(size: int, report: Report, what: str = "the payload") -> None:
    """A send of `size` bytes, attachments not counted."""
    if size > MOST_BODY:
        message = f"{what} is {size:,} bytes; the API takes 1 MB ({MOST_BODY:,} bytes)"
        report.problem("payload_too_large", None, message)
    elif size > LARGE_BODY:
        report.warn("payload_large", None, f"{what} is {size:,} bytes, near the API's limit of 1 MB")


def compact_size(value: Any) -> int:
    """Bytes of the value as JSON without white space."""
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:  # integers over 64 bits
        return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
