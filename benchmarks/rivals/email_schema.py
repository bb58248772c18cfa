"""An email as JSON Schema: all that the language can say. It cannot count recipients over three fields, nor warn."""

from __future__ import annotations

import time
from typing import Any, Final

from sender.validation.message import MOST_AHEAD

_TEXT: Final = {"type": ["string", "null"]}
_FLAG: Final = {"type": ["boolean", "null"]}
_TEXTS: Final = ("language", "cc", "bcc", "from", "reply_to", "subject", "preheader", "body", "body_plain", "body_amp")
_FLAGS: Final = ("queue_draft", "disable_message_retention", "send_to_unsubscribed", "auto_create", "fake_bcc",
                 "tracked", "disable_css_preprocessing")
_GIVEN: Final = {"type": ["string", "integer"], "minLength": 1}
_ASCII: Final = r"^[\x00-\x09\x0b-\x7f]*$"
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["to", "identifiers"],
    "properties": {
        **dict.fromkeys(_TEXTS, _TEXT),
        **dict.fromkeys(_FLAGS, _FLAG),
        "to": {"type": "string", "minLength": 1, "pattern": "@"},
        "transactional_message_id": {"type": ["integer", "string", "null"], "minimum": 1, "minLength": 1},
        "identifiers": {
            "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
            "properties": {"id": _GIVEN, "email": _GIVEN, "cio_id": _GIVEN},
        },
        "message_data": {"type": ["object", "null"]},
        "send_at": {"type": ["integer", "null"], "maximum": int(time.time()) + MOST_AHEAD},
        "headers": {
            "type": ["object", "array", "string", "null"],
            "propertyNames": {"pattern": r"^[\x21-\x7e]+$"},
            "additionalProperties": {"type": "string", "pattern": _ASCII},
        },
        "attachments": {
            "type": ["object", "null"],
            "propertyNames": {"pattern": r"\."},
            "additionalProperties": {"type": "string", "pattern": r"^[A-Za-z0-9+/]*={0,2}$"},
        },
    },
    "anyOf": [
        {"required": ["transactional_message_id"], "properties": {"transactional_message_id": _GIVEN}},
        {"required": ["body", "subject"], "properties": {"body": _GIVEN, "subject": _GIVEN}},
    ],
}
