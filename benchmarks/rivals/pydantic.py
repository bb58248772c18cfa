"""pydantic v2, strict, with all the rules: the declared ones by itself, the others by validators."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, model_validator

from rivals import email_rules

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = time.time()


class Identifiers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str | int | None = None
    email: str | int | None = None
    cio_id: str | int | None = None

    @model_validator(mode="after")
    def exactly_one(self) -> Identifiers:
        email_rules.check_person(self.id, self.email, self.cio_id)
        return self


class Email(BaseModel):
    """Unknown fields are kept so that they can be warned of."""

    model_config = ConfigDict(extra="allow", strict=True)
    _warnings: list[str] = PrivateAttr(default_factory=list)
    to: str = Field(min_length=1)
    transactional_message_id: int | str | None = None
    identifiers: Identifiers
    message_data: dict[str, Any] | None = None
    send_at: int | None = None
    language: str | None = None
    queue_draft: bool | None = None
    disable_message_retention: bool | None = None
    send_to_unsubscribed: bool | None = None
    auto_create: bool | None = None
    cc: str | None = None
    bcc: str | None = None
    from_: str | None = Field(None, alias="from")
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

    @model_validator(mode="after")
    def other_rules(self) -> Email:
        email_rules.check_send_at(self.send_at, NOW)
        email_rules.check_headers(self.headers)
        email_rules.check_attachments(self.attachments)
        email_rules.check_message(self)
        self._warnings = email_rules.warnings(self, self.model_extra or (), NOW)
        return self


def checks() -> dict[str, Callable[[bytes], object]]:
    return {"pydantic v2, validate_json": TypeAdapter(Email).validate_json}
