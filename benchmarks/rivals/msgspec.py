"""msgspec: a typed decoder, alone and with the rules that types do not tell; it drops unknown fields unseen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from rivals import email_rules

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = time.time()


class Person(msgspec.Struct, forbid_unknown_fields=True):
    id: str | int | None = None
    email: str | int | None = None
    cio_id: str | int | None = None


class OnePerson(Person):
    def __post_init__(self) -> None:
        email_rules.check_person(self.id, self.email, self.cio_id)


class Email(msgspec.Struct, kw_only=True):
    to: Annotated[str, msgspec.Meta(min_length=1)]
    transactional_message_id: int | str | None = None
    identifiers: Person
    message_data: dict[str, Any] | None = None
    send_at: int | None = None
    language: str | None = None
    queue_draft: bool | None = None
    disable_message_retention: bool | None = None
    send_to_unsubscribed: bool | None = None
    auto_create: bool | None = None
    cc: str | None = None
    bcc: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    reply_to: str | None = None
    subject: str | None = None
    preheader: str | None = None
    body: str | None = None
    body_plain: str | None = None
    body_amp: str | None = None
    fake_bcc: bool | None = None
    tracked: bool | None = None
    disable_css_preprocessing: bool | None = None
    headers: dict[str, str] | list[dict[str, str]] | str | None = None
    attachments: dict[str, str] | None = None


class CheckedEmail(Email, kw_only=True):
    identifiers: OnePerson

    def __post_init__(self) -> None:
        email_rules.check_send_at(self.send_at, NOW)
        email_rules.check_headers(self.headers)
        email_rules.check_attachments(self.attachments)
        email_rules.check_message(self)
        email_rules.warnings(self, (), NOW)


def checks() -> dict[str, Callable[[bytes], object]]:
    return {
        "msgspec, with rules in __post_init__": msgspec.json.Decoder(CheckedEmail).decode,
        "msgspec, types only": msgspec.json.Decoder(Email).decode,
    }
