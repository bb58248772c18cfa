"""The fields of each kind's payload with their JSON types (docs/api.md), and of the envelope around it."""

from __future__ import annotations

from typing import Final, NamedTuple

Types = frozenset[type]
TEXT: Final[Types] = frozenset({str})
FLAG: Final[Types] = frozenset({bool})
INTEGER: Final[Types] = frozenset({int})
OBJECT: Final[Types] = frozenset({dict})
ARRAY: Final[Types] = frozenset({list})


class Shape(NamedTuple):
    """What is known of an object: its fields with the types that each may have."""

    kind: str
    """The kind of job that it belongs to."""
    fields: dict[str, Types]
    prefix: str = ""
    """Where it stands in the payload, `custom_device.`; empty for the payload itself."""


PATH_IDS: Final = ("broadcast_id", "newsletter_id", "transactional_id", "content_id")
ENVELOPE: Final = frozenset({"id", "kind", "payload", "priority", "workspace", "expires_at", "meta", *PATH_IDS})
IDENTIFIERS: Final = ("id", "email", "cio_id")
ADDRESSES: Final = ("to", "cc", "bcc", "from", "reply_to")
CONTENT_TEXTS: Final = ("subject", "preheader", "body", "body_plain", "body_amp")
PUSH_TEXTS: Final = ("title", "message", "image_url", "link", "sound")
BROADCAST_FLAGS: Final = ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing")

_COMMON: Final[dict[str, Types]] = {
    "transactional_message_id": frozenset({int, str}),
    "identifiers": OBJECT,
    "message_data": OBJECT,
    "send_at": INTEGER,
    "language": TEXT,
    "queue_draft": FLAG,
    "auto_create": FLAG,
    "disable_message_retention": FLAG,
}
_RATE: Final[dict[str, Types]] = {
    "rate_limit_email_rate": INTEGER,
    "rate_limit_time_period": INTEGER,
    "rate_limit_spread": FLAG,
}

EMAIL: Final = Shape("email", {
    **_COMMON,
    "send_to_unsubscribed": FLAG,
    **dict.fromkeys((*ADDRESSES, *CONTENT_TEXTS, "plaintext_body"), TEXT),
    **dict.fromkeys(("fake_bcc", "tracked", "disable_css_preprocessing"), FLAG),
    "attachments": OBJECT,
    "headers": frozenset({dict, list, str}),
})
SMS: Final = Shape("sms", {
    **_COMMON,
    "send_to_unsubscribed": FLAG,
    "tracked": FLAG,
    **dict.fromkeys(("to", "from"), TEXT),
})
WHATSAPP: Final = SMS._replace(kind="whatsapp")
PUSH: Final = Shape("push", {
    **_COMMON,
    "send_to_unsubscribed": FLAG,
    **dict.fromkeys(("to", *PUSH_TEXTS), TEXT),
    **dict.fromkeys(("custom_data", "custom_device", "custom_payload"), OBJECT),
})
DEVICE: Final = Shape(
    "push", {"token": TEXT, "platform": TEXT, "last_used": INTEGER, "attributes": OBJECT}, "custom_device."
)
IN_APP: Final = Shape("in_app", {**_COMMON, "to": TEXT})
INBOX: Final = IN_APP._replace(kind="inbox_message")
BROADCAST: Final = Shape("broadcast", {
    "data": OBJECT, "recipients": OBJECT, "emails": ARRAY, "ids": ARRAY, "per_user_data": ARRAY,
    "data_file_url": TEXT, **dict.fromkeys(BROADCAST_FLAGS, FLAG),
})
NEWSLETTER_SEND: Final = Shape("newsletter_send", _RATE)
NEWSLETTER_SCHEDULE: Final = Shape("newsletter_schedule", {
    **_RATE, "scheduled_at": INTEGER, "timezone": TEXT, "tz_match_enabled": FLAG,
})
CONTENT: Final = Shape("content", {
    **dict.fromkeys(("body", "body_amp", "subject", "preheader_text", "recipient"), TEXT),
    "from_id": INTEGER,
    "reply_to_id": frozenset({int, type(None)}),
    "headers": ARRAY,
})
SHAPES: Final = (
    EMAIL, SMS, WHATSAPP, PUSH, IN_APP, INBOX, BROADCAST, NEWSLETTER_SEND, NEWSLETTER_SCHEDULE, CONTENT,
)
