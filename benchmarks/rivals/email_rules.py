"""Rules of an email that no declaration of types tells, in plain Python, for the rivals that can call it.

They are those of `sender.validation`; a rule that is broken raises ValueError, what is sent all the same is a warning.
"""

from __future__ import annotations

import base64
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Final

from sender.validation.headers import RESERVED
from sender.validation.message import CLOCK_SKEW, LANGUAGE, MOST_AHEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RECIPIENTS: Final = 15


def check_send_at(value: int | None, now: float) -> None:
    if value is not None and value > now + MOST_AHEAD:
        raise ValueError("more than 90 days ahead")


def check_headers(value: Any) -> None:
    for name, content in value.items() if isinstance(value, dict) else ():
        if not name or not name.isascii() or " " in name or not content.isascii() or "\n" in content:
            raise ValueError("headers are ASCII")


def check_attachments(value: Mapping[str, str] | None) -> None:
    for name, content in (value or {}).items():
        if "." not in name:
            raise ValueError("a file name needs an extension")
        base64.b64decode(content, validate=True)


def check_person(*names: str | int | None) -> None:
    given = [name for name in names if name is not None]
    if len(given) != 1 or given[0] == "":
        raise ValueError("give exactly one of id, email, cio_id")


def check_message(email: Any) -> None:
    """Recipients over to, cc and bcc, and that there is something to say."""
    lists = [text for text in (email.to, email.cc, email.bcc) if text]
    one = len(lists) == 1 and email.to.count("@") == 1
    addresses = [email.to] if one else [address for _, address in getaddresses(lists)]
    if len(addresses) > MOST_RECIPIENTS or not all("@" in address for address in addresses):
        raise ValueError("recipients")
    template = email.transactional_message_id
    if template is None and not (email.body and email.subject):
        raise ValueError("content")
    if template == "" or (isinstance(template, int) and template <= 0):
        raise ValueError("template")


def warnings(email: Any, unknown: Any, now: float) -> list[str]:
    """What is sent all the same."""
    found = [f"{name} is unknown" for name in unknown]
    if email.language is not None and not LANGUAGE.fullmatch(email.language):
        found.append("language")
    if email.send_at is not None and email.send_at < now - CLOCK_SKEW:
        found.append("send_at is past")
    if email.auto_create and not isinstance(email.transactional_message_id, str):
        found.append("auto_create")
    if email.transactional_message_id is None and not email.from_:
        found.append("from")
    if isinstance(email.headers, dict):
        found += [name for name in email.headers if name.lower() in RESERVED]
    return found
