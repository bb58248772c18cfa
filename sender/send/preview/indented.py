"""JSON with a line for each member, its tokens as they are: 12.50 stays 12.50. Pure."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]+')
MOST: Final = 400
"""Characters of a text that are shown; attachments are longer."""
SHOWN: Final = 80
STEP: Final = "  "
OPENING: Final = ("{", "[")
CLOSING: Final = ("}", "]")
COLON: Final = ":"


def indented(body: bytes) -> str:
    """The body for people; texts that are very long are cut, and say so. `body` must be known to be JSON."""
    parts: list[str] = []
    depth, before = 0, ""
    for found in _TOKEN.finditer(body.decode()):
        token = found[0]
        if token in CLOSING:
            depth -= 1
            parts.append(token if before in OPENING else f"\n{STEP * depth}{token}")
        else:
            if before in OPENING or before == ",":
                parts.append(f"\n{STEP * depth}")
            parts.append(": " if token == COLON else _short(token))
            depth += token in OPENING
        before = token
    return "".join(parts)


def _short(token: str) -> str:
    if len(token) <= MOST:
        return token
    return f'{token[:SHOWN].rstrip(chr(92))}…" ({len(token) - 2:,} characters)'
