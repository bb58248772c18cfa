"""Decoding and checking one typical email job: sender's own checks beside pydantic v2 with the same rules.

    python benchmarks/validation.py

Side by side in one run, in turns; medians, and ratios of the medians.
"""

from __future__ import annotations

import base64
import importlib
import json
import platform
import statistics
import time
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, field_validator, model_validator

from sender.job import Job, Line
from sender.kinds import KINDS
from sender.parsing import Parser
from sender.validation import check
from sender.validation.headers import RESERVED
from sender.validation.message import LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, CALLS = 9, 4000
NOW = time.time()
PAYLOAD: dict[str, Any] = {
    "to": '"Ada Lovelace" <ada@example.com>',
    "transactional_message_id": 3,
    "identifiers": {"id": "100042"},
    "subject": "Your receipt",
    "language": "en",
    "tracked": True,
    "message_data": {
        "order": "O-000123",
        "name": "Ada Lovelace",
        "items": [{"name": f"coffee beans {n}", "quantity": n, "price": "12.50"} for n in range(1, 9)],
        "total": "450.00",
        "address": {"street": "1 Analytical Way", "city": "London", "country": "GB"},
        "note": "Thank you for your order. " * 5,
    },
}


class Identifiers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str | int | None = None
    email: str | int | None = None
    cio_id: str | int | None = None

    @model_validator(mode="after")
    def exactly_one(self) -> Identifiers:
        given = [value for value in (self.id, self.email, self.cio_id) if value is not None]
        if len(given) != 1 or given[0] == "":
            raise ValueError("give exactly one of id, email, cio_id")
        return self


class Email(BaseModel):
    """The rules of sender.validation for an email; unknown fields are kept so that they can be warned of."""

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

    @field_validator("send_at")
    @classmethod
    def at_most_90_days(cls, value: int | None) -> int | None:
        if value is not None and value > NOW + 90 * 86400:
            raise ValueError("more than 90 days ahead")
        return value

    @field_validator("headers")
    @classmethod
    def ascii_headers(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name, content in value.items():
                if not name or not name.isascii() or " " in name or not content.isascii() or "\n" in content:
                    raise ValueError("headers are ASCII")
        return value

    @field_validator("attachments")
    @classmethod
    def base64_contents(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, content in (value or {}).items():
            if "." not in name:
                raise ValueError("a file name needs an extension")
            base64.b64decode(content, validate=True)
        return value

    @model_validator(mode="after")
    def recipients_and_content(self) -> Email:
        lists = [text for text in (self.to, self.cc, self.bcc) if text]
        addresses = [self.to] if len(lists) == 1 and self.to.count("@") == 1 else [a for _, a in getaddresses(lists)]
        if len(addresses) > 15 or not all("@" in address for address in addresses):
            raise ValueError("recipients")
        if self.transactional_message_id is None and not (self.body and self.subject):
            raise ValueError("content")
        if isinstance(self.transactional_message_id, int) and self.transactional_message_id <= 0:
            raise ValueError("template")
        self._warnings = self._look_around()
        return self

    def _look_around(self) -> list[str]:
        """What is sent all the same, with a warning."""
        found = [f"{name} is unknown" for name in self.model_extra or ()]
        if self.language is not None and not LANGUAGE.fullmatch(self.language):
            found.append("language")
        if self.send_at is not None and self.send_at < NOW - 5:
            found.append("send_at is past")
        if self.auto_create and not isinstance(self.transactional_message_id, str):
            found.append("auto_create")
        if self.transactional_message_id is None and not self.from_:
            found.append("from")
        if isinstance(self.headers, dict):
            found += [name for name in self.headers if name.lower() in RESERVED]
        return found


class Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str | int = Field(union_mode="left_to_right")
    kind: Literal["email"]
    payload: Email


def schemas() -> dict[str, Callable[[], Any]]:
    """Contenders that need not be installed; they check types and the required fields only."""
    text, flag = {"type": "string"}, {"type": "boolean"}
    schema = {
        "type": "object",
        "required": ["to", "identifiers"],
        "properties": {
            "to": text, "subject": text, "language": text, "tracked": flag, "send_at": {"type": "integer"},
            "transactional_message_id": {"type": ["integer", "string"]}, "message_data": {"type": "object"},
            "headers": {"type": "object"},
            "identifiers": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
                            "properties": {"id": text, "email": text, "cio_id": text}},
        },
    }  # fmt: skip
    found: dict[str, Callable[[], Any]] = {}
    for name in ("jsonschema", "fastjsonschema", "msgspec"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "jsonschema":
            validator = module.Draft202012Validator(schema)
            found["jsonschema, types only"] = lambda validator=validator: validator.validate(PAYLOAD)
        elif name == "fastjsonschema":
            compiled = module.compile(schema)
            found["fastjsonschema, types only"] = lambda compiled=compiled: compiled(PAYLOAD)
        else:
            fields = [("to", str), ("identifiers", dict[str, str]), ("subject", str, ""), ("message_data", dict, {})]
            struct = module.defstruct("Email", fields)
            decoder, body = module.json.Decoder(struct), orjson.dumps(PAYLOAD)
            found["msgspec, decode and types only"] = lambda decoder=decoder, body=body: decoder.decode(body)
    return found


def main() -> None:
    body = orjson.dumps(PAYLOAD)
    line = orjson.dumps({"id": "receipt-000123", "kind": "email", "payload": PAYLOAD})
    email, kind, parser = TypeAdapter(Email), KINDS["email"], Parser()
    envelope = TypeAdapter(Envelope)
    raw = Line("f", 1, line)
    assert check(kind, orjson.loads(body), len(body), NOW) == ((), ())
    assert isinstance(parser.parse(raw, NOW), Job)
    email.validate_json(body)
    envelope.validate_json(line)
    contenders: dict[str, Callable[[], Any]] = {
        "sender: decode and check": lambda: check(kind, orjson.loads(body), len(body), NOW),
        "pydantic: validate_json": lambda: email.validate_json(body),
        "sender: check a decoded dict": lambda: check(kind, PAYLOAD, len(body), NOW),
        "pydantic: validate_python": lambda: email.validate_python(PAYLOAD),
        "sender: line to job, with identity and body": lambda: parser.parse(raw, NOW),
        "pydantic: line, envelope and email": lambda: envelope.validate_json(line),
        "orjson: decode only": lambda: orjson.loads(body),
        "json: decode only": lambda: json.loads(body),
        **schemas(),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            begin = time.perf_counter()
            for _ in range(CALLS):
                call()
            times[name].append((time.perf_counter() - begin) / CALLS * 1e6)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"One email job of {len(body):,} bytes; Python {platform.python_version()}")
    print(f"{ROUNDS} rounds of {CALLS:,} calls\n")
    print("| path | us, median | us, min–max |\n|---|---:|---:|")
    for name, values in times.items():
        print(f"| {name} | {median[name]:.2f} | {min(values):.2f}–{max(values):.2f} |")
    names = list(contenders)
    print("\n| ratio | times as fast |\n|---|---:|")
    for own, other in ((0, 1), (2, 3), (4, 5)):
        print(f"| {names[own]} against {names[other]} | {median[names[other]] / median[names[own]]:.2f} |")


if __name__ == "__main__":
    main()
