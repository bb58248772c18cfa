"""Recipients of an email: address lists as in RFC 5322, liquid left alone (docs/api.md, "Recipients")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.report import Report

MOST: Final = 15
FIELDS: Final = ("to", "cc", "bcc")
_PIECE: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\{\{.*?\}\}|\{%.*?%\}|\([^)]*\)|[^,])+', re.DOTALL)


def check_recipients(payload: Mapping[str, Any], report: Report) -> None:
    """At most 15 over to, cc and bcc, each with an `@` or liquid."""
    total = 0
    for name in FIELDS:
        value = payload.get(name)
        if type(value) is not str:
            continue
        if value.count("@") == 1 and "," not in value:
            total += 1
            continue
        addresses = split_addresses(value)
        total += len(addresses)
        if not addresses and name == "to" and value:
            report.problem("bad_recipient", name, f"{name} holds no address")
        elif not all("@" in address or "{{" in address or "{%" in address for address in addresses):
            report.problem("bad_recipient", name, f"{name} holds something that is not an address; each needs an @")
    if total > MOST:
        where = " and ".join(filter(None, (", ".join(FIELDS[:2]), FIELDS[2])))
        report.problem("too_many_recipients", _fullest(payload), f"{total} recipients in {where}; the API takes {MOST}")


def split_addresses(text: str) -> list[str]:
    """The pieces between the commas that are outside of quotes, comments and liquid."""
    return [piece for match in _PIECE.finditer(text) if (piece := match.group().strip())]


def _fullest(payload: Mapping[str, Any]) -> str:
    counts = {name: len(split_addresses(payload[name])) for name in FIELDS if type(payload.get(name)) is str}
    return max(counts, key=lambda name: counts[name])
