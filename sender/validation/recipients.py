"""Recipients of an email: address lists as in RFC 5322, liquid left alone (docs/api.md, "Recipients")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.findings import Report

MOST: Final = 15
FIELDS: Final = ("to", "cc", "bcc")
_ADDRESS: Final = r'[^\s@,;:"(){}<>\\]++@[^\s@,;:"(){}<>\\]++'
PLAIN: Final = re.compile(rf"""(?:(?:"[^"\\\r\n]*+"[ ]?|[\w .'-]*+)<{_ADDRESS}>|{_ADDRESS})""")
"""One address with nothing to say about it."""
_MARK: Final = re.compile(r'[",(]|\{\{|\{%')
_OPENING: Final = re.compile(r'["(]|\{[{%]')
_LIQUID: Final = re.compile(r"\{\{[^{}]*+\}\}|\{%[^{}]*+\}")
_JOINED: Final = re.compile(r'[\s,;:"(){}<>\\]+')
"""What no address holds outside of quotes."""
_DOMAIN: Final = re.compile(r"[\w.-]+")
_MARKS: Final = re.compile(r"^\W+")
_QUOTED: Final = re.compile(r'(?:[^"\\]|\\.)*+"', re.DOTALL)


class Piece(NamedTuple):
    """What stands between two commas."""

    text: str
    bare: str
    """The same without what is quoted, a comment or liquid."""

    @property
    def is_address(self) -> bool:
        """Whether it may become an address."""
        return "@" in self.text or "{{" in self.text or "{%" in self.text


def check_recipients(payload: Mapping[str, Any], report: Report) -> None:
    """At most 15 over to, cc and bcc, each with an `@` or liquid."""
    counts = dict.fromkeys(FIELDS, 0)
    for name in FIELDS:
        value = payload.get(name)
        if type(value) is not str:
            continue
        pieces = split_addresses(value)
        counts[name] = len(pieces)
        if not pieces and name == "to" and value:
            report.problem("bad_recipient", name, f"{name} holds no address")
        elif not all(piece.is_address for piece in pieces):
            report.problem("bad_recipient", name, f"{name} holds something that is not an address; each needs an @")
        odd = next(filter(None, map(_oddity, pieces)), None)
        if odd is not None:
            report.warn("odd_recipient", name, f"{name} holds {odd}")
    total = sum(counts.values())
    if total > MOST:
        fullest = max(counts, key=lambda name: counts[name])
        report.problem("too_many_recipients", fullest, f"{total} recipients in to, cc and bcc; the API takes {MOST}")


def check_from(value: str, report: Report) -> None:
    """`from` is one address, its name quoted where it holds a comma."""
    if PLAIN.fullmatch(value):
        return
    pieces = split_addresses(value)
    if len(pieces) > 1:
        report.warn("odd_from", "from", 'from has a comma outside of quotes; write "Name, more" <address>')
    elif not pieces or not pieces[0].is_address:
        report.warn("odd_from", "from", "from holds no address")
    elif (odd := _oddity(pieces[0])) is not None:
        report.warn("odd_from", "from", f"from holds {odd}")


def split_addresses(text: str) -> list[Piece]:
    """The pieces between the commas that are outside of quotes, comments and liquid; what is not closed is plain."""
    if not _OPENING.search(text):
        return [Piece(piece, piece) for part in text.split(",") if (piece := part.strip())]
    pieces: list[Piece] = []
    bare: list[str] = []
    endless: set[str] = set()
    start = rest = place = 0
    while (mark := _MARK.search(text, place)) is not None:
        place = mark.end()
        if mark[0] == ",":
            bare.append(text[rest : mark.start()])
            pieces.append(Piece(text[start : mark.start()].strip(), "".join(bare).strip()))
            bare.clear()
            start = rest = place
        elif mark[0] not in endless:
            end = _end_of(mark[0], text, place)
            if end is None:
                endless.add(mark[0])  # looked for once: a thousand of them are not searched a thousand times
            else:
                bare.append(text[rest : mark.start()])
                rest = place = end
    bare.append(text[rest:])
    pieces.append(Piece(text[start:].strip(), "".join(bare).strip()))
    return [piece for piece in pieces if piece.text]


def addresses_in(text: str) -> set[str]:
    """Every address that anybody could read in a text, whatever joins them: blanks, semicolons, groups, line breaks.

    Names and comments count only in a piece that holds no other address. Liquid is left out.
    """
    found: set[str] = set()
    for piece in split_addresses(text):
        found |= _addresses(piece.bare) or _addresses(_LIQUID.sub(" ", piece.text).replace('"@', "@"))
    return found


def _addresses(text: str) -> set[str]:
    """Each as it is written, and without the marks that stand before it."""
    found: set[str] = set()
    for word in _JOINED.split("@".join(part.strip() for part in text.split("@"))):
        local, *parts = word.split("@")
        for part in parts:
            domain = _DOMAIN.match(part)
            if domain is not None and local:
                end = f"@{domain[0].rstrip('.')}"
                found |= {local + end, _MARKS.sub("", local) + end}
            rest = part[domain.end() if domain is not None else 0 :]
            local = rest or part
    return found


def _end_of(mark: str, text: str, place: int) -> int | None:
    if mark == '"':
        quoted = _QUOTED.match(text, place)
        return None if quoted is None else quoted.end()
    end = {"(": ")", "{{": "}}", "{%": "%}"}[mark]
    found = text.find(end, place)
    return None if found < 0 else found + len(end)


def _oddity(piece: Piece) -> str | None:
    """What looks wrong about one piece."""
    text, bare = piece
    if bare.count("@") > 1 or ";" in bare:
        return "addresses that are joined by something else than a comma"
    if "@" not in text or "{{" in text or "{%" in text:
        return None
    inside = bare.partition("<")[2].partition(">")[0].strip() if "<" in bare else bare
    if inside.endswith("@") or (inside.startswith("@") and '"' not in text):
        return "an @ without a name before it or a domain after it"
    if len(inside.split()) > 1:
        return "an address with a blank in it"
    return None
