"""The one rule for custom headers of emails, in sends and in contents of transactional messages."""

from __future__ import annotations

import re
from typing import Final

NOT_HEADERS: Final = "headers must be an array of objects with name and value"

_NAME = re.compile(r"[!-9;-~]+\Z")
"""RFC 5322: visible ASCII without the colon, which ends a name."""
_VALUE = re.compile(r"[ -~\t]*\Z")


def problem(headers: object) -> str | None:
    """What is wrong with an array of `{name, value}`; other keys of an entry are ignored."""
    if not isinstance(headers, list):
        return NOT_HEADERS
    for header in headers:
        if not isinstance(header, dict):
            return NOT_HEADERS
        name, value = header.get("name"), header.get("value")
        if not (isinstance(name, str) and _NAME.match(name) and isinstance(value, str) and _VALUE.match(value)):
            return "header names and values must be ASCII strings, and names hold neither blanks nor colons"
    return None
