"""Checks of transactional payloads as the API would refuse them (docs/api.md, "Transactional sends"), on their own."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Any, Final

import orjson

from sender.sandbox import mail_headers
from sender.sandbox.exchange import Answer, shape_a

MIB: Final = 1024 * 1024
MAX_AHEAD: Final = 90 * 86400 + 60
"""90 days, and a minute for clocks."""
RESTRICTED: Final = frozenset({"exe", "bat", "cmd", "com", "js", "jar", "msi", "scr", "vbs", "ps1"})
"""File types refused here; the API's own list is not published."""

_WORDS: Final = {bool: "a boolean", str: "a string", dict: "an object"}


def _fields(flags: str = "", texts: str = "", objects: str = "") -> dict[str, type]:
    """Field names, apart by blanks, with the type of each; those that all kinds know are added."""
    typed = ((bool, f"queue_draft {flags}"), (str, f"language {texts}"), (dict, f"message_data {objects}"))
    return {name: kind for kind, names in typed for name in names.split()}


_OVERRIDES = "disable_message_retention send_to_unsubscribed"
_FIELDS: Final = {
    "email": _fields(
        f"{_OVERRIDES} auto_create tracked fake_bcc disable_css_preprocessing",
        "to cc bcc from reply_to subject preheader body body_plain body_amp",
    ),
    "sms": _fields(f"{_OVERRIDES} auto_create tracked", "to from"),
    "whatsapp": _fields(f"{_OVERRIDES} tracked", "to from"),
    "push": _fields(
        f"{_OVERRIDES} auto_create",
        "to title message image_url link sound",
        "custom_data custom_device custom_payload",
    ),
    "in_app": _fields("auto_create"),
    "inbox_message": _fields("auto_create", "to"),
}
"""What each kind knows (docs/api.md, "Common fields"); any other field is ignored, whatever it holds."""
_REQUIRED: dict[str, tuple[str, ...]] = {
    "email": ("to", "identifiers"),
    "whatsapp": ("transactional_message_id", "identifiers", "to"),
}
_REQUIRED_ELSE = ("transactional_message_id", "identifiers")
_IDENTIFIERS: Final = ("id", "email", "cio_id")

_LIQUID = re.compile(r"\{\{[^{}]*\}\}|\{%[^%]*%\}")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_E164 = re.compile(r"\+[1-9][0-9]{1,14}\Z")

E164_TEXT: Final = "Invalid phone number format. Phone numbers must be in E.164 format."


def check(kind: str, payload: dict[str, Any], size: int, now: float) -> Answer | None:
    """The refusal of this payload, None if it is accepted; `size` is that of the whole body in bytes."""
    required = _REQUIRED.get(kind, _REQUIRED_ELSE)
    for name in required:
        if payload.get(name) in (None, ""):
            return shape_a(400, f"{name} is required")
    wrong = _types(kind, payload) or _identifiers(payload.get("identifiers")) or _send_at(payload.get("send_at"), now)
    if wrong:
        return shape_a(400, wrong)
    if size > MIB and len(orjson.dumps({k: v for k, v in payload.items() if k != "attachments"})) > MIB:
        return shape_a(413, "Payload size exceeds the limit")
    if kind == "email":
        return _email(payload)
    wrong = _phone(payload.get("to")) if kind in ("sms", "whatsapp") else _push(payload) if kind == "push" else None
    return shape_a(400, wrong) if wrong else None


def takes(kind: str, field: str) -> bool:
    """Whether the field means something to this kind."""
    return field in _FIELDS[kind]


def _types(kind: str, payload: dict[str, Any]) -> str | None:
    known = _FIELDS[kind]
    for name, value in payload.items():
        wanted = known.get(name)
        if wanted is not None and value is not None and not isinstance(value, wanted):
            return f"{name} must be {_WORDS[wanted]}"
    template = payload.get("transactional_message_id")
    if isinstance(template, bool) or not isinstance(template, int | str | None):
        return "transactional_message_id must be an integer or a string"
    return None


def _identifiers(value: object) -> str | None:
    if not isinstance(value, dict):
        return "identifiers must be an object"
    given = [value[name] for name in _IDENTIFIERS if value.get(name) is not None]
    if len(given) != 1:
        return "identifiers must contain one and only one of id, email or cio_id"
    if isinstance(given[0], bool) or not isinstance(given[0], int | str) or given[0] == "":
        return "identifiers must hold a non-empty string"
    return None


def person(identifiers: dict[str, Any]) -> tuple[str, str]:
    """The one identifier that is given: ("id", "42"), ("email", …) or ("cio_id", …)."""
    name = next(name for name in _IDENTIFIERS if identifiers.get(name) is not None)
    return name, str(identifiers[name])


def _send_at(value: object, now: float) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        return "send_at must be a unix timestamp"
    return "send_at must be at most 90 days in the future" if value > now + MAX_AHEAD else None


def _email(payload: dict[str, Any]) -> Answer | None:
    if payload.get("transactional_message_id") is None:
        for name in ("body", "subject"):
            if not payload.get(name):
                return shape_a(400, f"{name} is required without a transactional_message_id")
    pieces = [piece for name in ("to", "cc", "bcc") for piece in addresses(payload.get(name) or "")]
    if not addresses(payload["to"]) or not all("@" in piece for piece in pieces):
        return shape_a(400, "to, cc and bcc must hold email addresses")
    if len(pieces) > 15:
        return shape_a(400, "the total number of recipients must not exceed 15")
    wrong = _headers(payload.get("headers"))
    return shape_a(400, wrong) if wrong else _attachments(payload.get("attachments"))


def addresses(text: str) -> list[str]:
    """The pieces of an address list; quoted names and liquid may hold commas, liquid stands for an address."""
    plain = _QUOTED.sub("", _LIQUID.sub("liquid@", text))
    return [piece.strip() for piece in plain.split(",") if piece.strip()]


def _headers(value: object) -> str | None:
    """An array of `{name, value}`, an object of names and values, or the JSON text of either."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value) if value else None
        except orjson.JSONDecodeError:
            return "headers must be valid JSON"
    if value is None:
        return None
    if isinstance(value, dict):
        value = [{"name": name, "value": text} for name, text in value.items()]
    return mail_headers.problem(value)


def _attachments(value: object) -> Answer | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return shape_a(400, "attachments must be an object")
    total = 0
    for name, content in value.items():
        dot, extension = name.rpartition(".")[1:]
        if not dot or not extension:
            return shape_a(400, f"Attachment filename must include an extension: {name}")
        if extension.lower() in RESTRICTED:
            return shape_a(403, f"Forbidden file type {extension} for attachment {name}.")
        try:
            total += len(b64decode(content, validate=True))
        except (binascii.Error, TypeError, ValueError):
            return shape_a(400, f"Attachment must be base64 encoded: {name}")
    return shape_a(413, "Total attachment size exceeds the limit") if total >= 2 * MIB else None


def _phone(value: str | None) -> str | None:
    return None if not value or _E164.match(value) or _LIQUID.search(value) else E164_TEXT


def _push(payload: dict[str, Any]) -> str | None:
    if payload.get("sound") not in (None, "default", "none"):
        return "sound must be default or none"
    device = payload.get("custom_device")
    if device is not None:
        if not (isinstance(device.get("token"), str) and device["token"]):
            return "custom_device.token is required"
        if device.get("platform") not in ("ios", "android"):
            return "custom_device.platform must be ios or android"
    return None
