"""Custom headers of an email: an object, an array of name and value, or either as a JSON text.

See docs/api.md, "Email headers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.validation.findings import Report

RESERVED: Final = frozenset({
    "subject", "to", "from", "cc", "bcc", "reply-to", "mime-version", "content-type", "content-transfer-encoding",
    "received", "return-path", "date",
})
RECIPIENTS: Final = frozenset({
    "to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc", "apparently-to", "delivered-to", "envelope-to",
    "x-original-to", "x-envelope-to",
})
"""Names of headers that say who gets a message."""
_NAME: Final = re.compile(r"[!-9;-~]+")
"""Printable ASCII but for the colon, which ends a name (RFC 5322, 2.2)."""
_PLAIN_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")


def check_headers(value: Any, report: Report) -> None:
    """Names and values are ASCII texts; reserved names are warned of."""
    if type(value) is str:
        if value == "":
            return
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            report.problem(
                "bad_header", "headers", "headers is a text that is not JSON; give an object of name and value"
            )
            return
    if type(value) not in (dict, list):
        report.problem(
            "bad_header", "headers", "headers must be an object of name and value, or an array of such pairs"
        )
        return
    for number, (name, content) in enumerate(value.items() if type(value) is dict else _pairs(value)):
        _check_pair(f"headers[{number}]", name, content, report)


def header_names(value: Any) -> list[str]:
    """The names in checked headers, in small letters."""
    return [name for name, _ in _checked_pairs(value)]


def recipients_in_headers(value: Any) -> list[str]:
    """The values of those checked headers that say who gets a message."""
    return [content for name, content in _checked_pairs(value) if name in RECIPIENTS]


def _checked_pairs(value: Any) -> list[tuple[str, str]]:
    found = orjson.loads(value) if type(value) is str and value else value
    if type(found) not in (dict, list):
        return []
    return [(str(name).lower(), str(text)) for name, text in (found.items() if type(found) is dict else _pairs(found))]


def _pairs(value: list[Any]) -> Iterator[tuple[Any, Any]]:
    for entry in value:
        yield (entry.get("name"), entry.get("value")) if type(entry) is dict else (None, None)


def _check_pair(field: str, name: Any, content: Any, report: Report) -> None:
    if type(name) is not str or type(content) is not str:
        report.problem("bad_header", field, f"{field} must have a name and a value, both texts")
        return
    if not _NAME.fullmatch(name):
        report.problem("bad_header", field, f"the name of {field} must be ASCII without spaces and colons")
    elif name.lower() in RESERVED:
        report.warn("reserved_header", field, f"{field} is reserved; the API sets it itself")
    if _PLAIN_VALUE.fullmatch(content) or content == "":
        return
    if not content.isascii() or any(char in content for char in "\r\n\0"):
        report.problem("bad_header", field, f"the value of {field} must be ASCII on one line")
    elif content != content.strip():
        report.warn("header_space", field, f"the value of {field} begins or ends with a space")
