"""Texts that the API renders: liquid that never ends, line ends where a header line is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sender.validation.findings import Report

_PAIRS: Final = (("{{", "}}"), ("{%", "%}"))


def check_texts(payload: Mapping[str, Any], names: Collection[str], one_line: Collection[str], report: Report) -> None:
    """Warn of liquid without an end in the fields `names`, and of line ends in those of `one_line`."""
    for name, value in payload.items():
        if type(value) is not str or name not in names:
            continue
        if "{" in value and "endraw" not in value and has_open_liquid(value):
            report.warn("unclosed_liquid", name, f"{name} holds liquid that is opened and not closed")
        if name in one_line and ("\n" in value or "\r" in value):
            report.warn("line_break", name, f"{name} holds a line break; it has to stand on one line")


def has_open_liquid(text: str) -> bool:
    """Whether the last `{{` or `{%` of the text has no end."""
    return any(text.rfind(begin) > text.rfind(end) for begin, end in _PAIRS)


def has_liquid(text: str) -> bool:
    """Whether the text is filled in by the API."""
    return any(begin in text and end in text for begin, end in _PAIRS)
