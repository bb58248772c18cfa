"""What the send endpoints refuse, from the API's documents (API.md section 3)."""

from __future__ import annotations

import base64
import binascii
import re
import time
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any

from sender.sandbox.answers import plain_error

if TYPE_CHECKING:
    from sender.sandbox.http import Response

CHANNELS = ("email", "sms", "whatsapp", "push", "in_app", "inbox_message")
FORBIDDEN = ("exe", "bat", "cmd", "com", "scr", "msi")
BOOLEANS = (
    "disable_message_retention", "send_to_unsubscribed", "tracked", "queue_draft", "disable_css_preprocessing",
    "fake_bcc", "auto_create",
)  # fmt: skip
TEXTS = ("to", "cc", "bcc", "from", "reply_to", "subject", "preheader", "body", "body_plain", "body_amp", "language")


def refuse(channel: str, payload: dict[str, Any]) -> Response | None:
    """The refusal of a send, or None."""
    text = _refuse_fields(channel, payload)
    if text is not None:
        return plain_error(400, text)
    return _refuse_attachments(payload) if channel == "email" else None


def _refuse_fields(channel: str, payload: dict[str, Any]) -> str | None:
    for name in BOOLEANS:
        if name in payload and not isinstance(payload[name], bool):
            return f"{name} must be a boolean"
    for name in TEXTS:
        if name in payload and not isinstance(payload[name], str):
            return f"{name} must be a string"
    template = payload.get("transactional_message_id")
    if template is not None and (isinstance(template, bool) or not isinstance(template, int | str) or template == ""):
        return "transactional_message_id is invalid"
    if channel != "email" and template is None:
        return "transactional_message_id is required"
    send_at = payload.get("send_at")
    if send_at is not None and (isinstance(send_at, bool) or not isinstance(send_at, int)):
        return "send_at must be an integer"
    if isinstance(send_at, int) and send_at > time.time() + 90 * 86400 + 60:
        return "send_at must be at most 90 days in the future"
    return _refuse_person(payload) or (
        _refuse_email(payload) if channel == "email" else _refuse_phone(channel, payload)
    )


def _refuse_person(payload: dict[str, Any]) -> str | None:
    person = payload.get("identifiers")
    if not isinstance(person, dict) or len(person) != 1:
        return "identifiers must contain exactly one of id, email or cio_id"
    ((name, value),) = person.items()
    if (
        name not in ("id", "email", "cio_id")
        or isinstance(value, bool)
        or not isinstance(value, str | int)
        or value == ""
    ):
        return "identifiers must contain exactly one of id, email or cio_id"
    return None


def _refuse_email(payload: dict[str, Any]) -> str | None:
    if not payload.get("to"):
        return "to is required"
    recipients = [
        address for _, address in getaddresses([payload.get(name, "") for name in ("to", "cc", "bcc")]) if address
    ]
    if len(recipients) > 15:
        return "too many recipients"
    if "transactional_message_id" not in payload and not (payload.get("body") and payload.get("subject")):
        return "body and subject are required without a transactional_message_id"
    return None


def _refuse_phone(channel: str, payload: dict[str, Any]) -> str | None:
    number = payload.get("to")
    if (
        channel in ("sms", "whatsapp")
        and number
        and "{{" not in number
        and not re.fullmatch(r"\+[1-9]\d{1,14}", number)
    ):
        return "Invalid phone number format. Phone numbers must be in E.164 format."
    return "to is required" if channel == "whatsapp" and not number else None


def _refuse_attachments(payload: dict[str, Any]) -> Response | None:
    files = payload.get("attachments")
    if files is None:
        return None
    if not isinstance(files, dict):
        return plain_error(400, "attachments must be an object")
    total = 0
    for name, content in files.items():
        extension = name.rpartition(".")[2].lower()
        if extension in FORBIDDEN:
            return plain_error(403, f"Forbidden file type {extension} for attachment {name}.")
        try:
            total += len(base64.b64decode(content, validate=True))
        except (binascii.Error, ValueError, TypeError):
            return plain_error(400, f"Attachment must be base64 encoded: {name}")
    if total >= 2 * 2**20:
        return plain_error(413, "Total attachment size exceeds the limit")
    return None
