"""A quick look at an email: most have nothing to be told of, and those need none of the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.validation.message import PLAIN_LANGUAGES
from sender.validation.recipients import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final[dict[str, type]] = {
    "to": str, "transactional_message_id": int, "identifiers": dict, "message_data": dict,
    "subject": str, "from": str, "language": str,
    "tracked": bool, "send_to_unsubscribed": bool, "disable_message_retention": bool, "disable_css_preprocessing": bool,
}
"""The fields that are looked at here, with the usual type of each; an email with others takes all checks."""


def is_plain_email(payload: Mapping[str, Any]) -> bool:
    """Whether `check_email` has surely nothing to say of it, but for its size; False means that it has to look."""
    for name, value in payload.items():
        if type(value) is not _TYPES.get(name):
            return False
    subject, sender = payload.get("subject", ""), payload.get("from")
    return (
        payload.get("transactional_message_id", 0) > 0
        and _is_address(payload.get("to", ""))
        and _names_one(payload.get("identifiers", {}))
        and "{" not in subject and "\n" not in subject and "\r" not in subject
        and payload.get("language", "en") in PLAIN_LANGUAGES
        and (sender is None or _is_address(sender))
    )


def _is_address(text: str) -> bool:
    return PLAIN.fullmatch(text) is not None and "{" not in text


def _names_one(person: Mapping[str, Any]) -> bool:
    name = person.get("id")
    return len(person) == 1 and type(name) is str and not name.isspace() and name != ""
