"""Attachments of an email: an object of file name and base64 (docs/api.md, "Attachments")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sender.validation.findings import Report

MOST_DECODED: Final = 2 * 2**20
LARGE_ENCODED: Final = 2_000_000
_STANDARD: Final = re.compile(r"[A-Za-z0-9+/]*+={0,2}")
_TOLERANT: Final = re.compile(r"[A-Za-z0-9+/_-]*+(={0,2})")
_PADDING: Final = {0: (0,), 1: (), 2: (0, 2), 3: (0, 1)}
"""How many `=` may end base64, by the digits after the last whole group of four."""


def check_attachments(files: Mapping[str, Any], report: Report, risky: Collection[str]) -> None:
    """Names with an extension, decodable contents, under 2 MB in all."""
    encoded = decoded = 0
    for number, (name, content) in enumerate(files.items()):
        field = f"attachments[{number}]"
        _check_name(field, name, report, risky)
        if type(content) is not str:
            report.problem("bad_attachment", field, f"{field} must be the file's content in base64")
            continue
        encoded += len(content)
        decoded += _check_content(field, content, report)
    if decoded >= MOST_DECODED:
        report.problem(
            "attachments_too_large",
            "attachments",
            f"the attachments are {decoded:,} bytes; the API takes less than 2 MB",
        )
    elif encoded >= LARGE_ENCODED:
        report.warn(
            "attachments_large", "attachments", "the attachments are 2 MB or more in base64; the API may refuse them"
        )


def _check_name(field: str, name: str, report: Report, risky: Collection[str]) -> None:
    stem, _, extension = name.rpartition("/")[2].rpartition(".")
    if not stem or not extension:
        report.problem("bad_attachment", field, f"the file name of {field} needs an extension, like receipt.pdf")
    elif extension.lower() in risky:
        report.warn("risky_extension", field, f"{field} is a .{extension.lower()} file; the API may forbid that type")


def _check_content(field: str, content: str, report: Report) -> int:
    """The decoded size; the content itself is not decoded."""
    if len(content) % 4 == 0 and _STANDARD.fullmatch(content):
        return len(content.rstrip("=")) * 3 // 4
    bare = content.replace("\r", "").replace("\n", "")
    found = _TOLERANT.fullmatch(bare)
    if found is None:
        report.problem("bad_attachment", field, f"{field} is not base64; encode the file's bytes")
        return 0
    padding = len(found[1])
    digits = len(bare) - padding
    if padding not in _PADDING[digits % 4]:
        report.problem("bad_attachment", field, f"{field} is base64 of an impossible length; it may be cut off")
        return 0
    report.warn("odd_base64", field, f"{field} is base64 in an unusual form (URL-safe, wrapped or unpadded)")
    return digits * 3 // 4
