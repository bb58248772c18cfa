"""The transactional kinds, each with its fields and rules (docs/api.md, "Transactional sends")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from sender.validation.attachments import check_attachments
from sender.validation.headers import check_headers
from sender.validation.message import check_language, check_person, check_phone, check_template, check_timing
from sender.validation.recipients import check_recipients
from sender.validation.report import FLAG, INTEGER, OBJECT, TEXT, Types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check import Options
    from sender.validation.report import Report

MOST_BODY: Final = 2**20
LARGE_BODY: Final = 1_000_000
PLAIN_LANGUAGES: Final = ("en", "de", "fr", "es", "pt", "it", "nl", "ja")
"""Common codes that need no closer look."""

_COMMON: Final[dict[str, Types]] = {
    "transactional_message_id": frozenset({int, str}),
    "identifiers": OBJECT,
    "message_data": OBJECT,
    "send_at": INTEGER,
    "language": TEXT,
    "queue_draft": FLAG,
}
_SWITCHES: Final[dict[str, Types]] = {"disable_message_retention": FLAG, "send_to_unsubscribed": FLAG}
_TEXTS: Final = ("to", "cc", "bcc", "from", "reply_to", "subject", "preheader", "body", "body_plain", "body_amp")

EMAIL: Final[dict[str, Types]] = {
    **_COMMON, **_SWITCHES, **dict.fromkeys(_TEXTS, TEXT), "plaintext_body": TEXT, "auto_create": FLAG,
    "fake_bcc": FLAG, "tracked": FLAG, "disable_css_preprocessing": FLAG, "attachments": OBJECT,
    "headers": frozenset({dict, list, str}),
}  # fmt: skip
SMS: Final[dict[str, Types]] = {
    **_COMMON, **_SWITCHES, "to": TEXT, "from": TEXT, "tracked": FLAG, "auto_create": FLAG, "body": TEXT,
}  # fmt: skip
PUSH: Final[dict[str, Types]] = {
    **_COMMON, **_SWITCHES, "auto_create": FLAG, "custom_data": OBJECT, "custom_device": OBJECT,
    "custom_payload": OBJECT,
    **dict.fromkeys(("to", "title", "message", "image_url", "link", "sound"), TEXT),
}  # fmt: skip
IN_APP: Final[dict[str, Types]] = {**_COMMON, "disable_message_retention": FLAG, "auto_create": FLAG, "to": TEXT}
_DEVICE: Final[dict[str, Types]] = {"token": TEXT, "platform": TEXT, "last_used": INTEGER, "attributes": OBJECT}


def check_email(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/email; what is plainly right is passed without a call."""
    report.types(EMAIL, payload)
    to = payload.get("to")
    if type(to) is not str or to.count("@") != 1 or "," in to or "cc" in payload or "bcc" in payload:
        report.require(payload, "to")
        check_recipients(payload, report)
    template = payload.get("transactional_message_id")
    if type(template) is not int or template <= 0 or "auto_create" in payload:
        check_template(payload, report, required=False)
    person = payload.get("identifiers")
    if type(person) is not dict or len(person) != 1 or type(person.get("id")) is not str or not person["id"]:
        check_person(payload, report, required=options.require_identifiers)
    if template is None:
        _check_own_content(payload, report)
    if "plaintext_body" in payload:
        report.warn("renamed_field", "plaintext_body", "plaintext_body is an old name; today's API calls it body_plain")
    headers = payload.get("headers")
    if headers is not None:
        check_headers(headers, report)
    attachments = payload.get("attachments")
    if type(attachments) is dict:
        check_attachments(attachments, report, options.risky_extensions)
        if size > LARGE_BODY:
            size -= len(orjson.dumps(attachments))
    _finish(payload, size, report, now)


def _check_own_content(payload: Mapping[str, Any], report: Report) -> None:
    """Without a template the message itself has to be there (docs/api.md, "Email")."""
    for name in ("body", "subject"):
        if not payload.get(name):
            report.problem("missing_field", name, f"{name} is missing; without transactional_message_id it is needed")
    if not payload.get("from"):
        report.warn("missing_from", "from", "from is missing; the workspace's default sender is used")


def check_sms(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/sms."""
    report.types(SMS, payload)
    _require_template_and_person(payload, report)
    check_phone(payload, report)
    if not payload.get("to"):
        report.warn("missing_to", "to", "to is missing; the template's recipient is used")
    if "body" in payload:
        report.warn("ignored_field", "body", "the body of an sms comes from its template; this one is ignored")
    _finish(payload, size, report, now)


def check_whatsapp(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/whatsapp."""
    report.types(SMS, payload)
    _require_template_and_person(payload, report)
    check_phone(payload, report)
    if not payload.get("to"):
        report.warn("missing_to", "to", "to is missing; the template's recipient is used")
    for name in ("auto_create", "body"):
        if name in payload:
            report.warn("ignored_field", name, f"{name} has no effect on whatsapp")
    _finish(payload, size, report, now)


def check_push(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/push."""
    report.types(PUSH, payload)
    _require_template_and_person(payload, report)
    sound = payload.get("sound")
    if type(sound) is str and sound not in ("default", "none"):
        report.problem("bad_value", "sound", "sound must be default or none")
    if payload.get("to") == "":
        report.problem("empty_field", "to", "to is empty; leave it out to reach all devices")
    data = payload.get("custom_data")
    if type(data) is dict and not all(type(value) is str for value in data.values()):
        report.warn("non_string_data", "custom_data", "custom_data holds values that are not texts; only texts arrive")
    device = payload.get("custom_device")
    if type(device) is dict:
        _check_device(device, report)
    _finish(payload, size, report, now)


def _check_device(device: Mapping[str, Any], report: Report) -> None:
    report.types(_DEVICE, device, "custom_device.")
    if not device.get("token"):
        report.problem("bad_device", "custom_device.token", "custom_device.token is missing")
    if device.get("platform") not in ("ios", "android"):
        report.problem("bad_device", "custom_device.platform", "custom_device.platform must be ios or android")


def check_in_app(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/in_app: routed to the person's devices, there is no `to`."""
    if "to" in payload:
        report.warn("ignored_field", "to", "in-app messages have no to; they go to the person's devices")
    _check_template_only(payload, size, report, now)


def check_inbox(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/inbox_message."""
    _check_template_only(payload, size, report, now)


def _check_template_only(payload: Mapping[str, Any], size: int, report: Report, now: float) -> None:
    report.types(IN_APP, payload)
    _require_template_and_person(payload, report)
    if "disable_message_retention" in payload:
        field = "disable_message_retention"
        report.warn("ignored_field", field, f"{field} is not documented for this kind")
    _finish(payload, size, report, now)


def _require_template_and_person(payload: Mapping[str, Any], report: Report) -> None:
    check_template(payload, report, required=True)
    check_person(payload, report, required=True)


def _finish(payload: Mapping[str, Any], size: int, report: Report, now: float) -> None:
    if "send_at" in payload:
        check_timing(payload, report, now)
    language = payload.get("language")
    if language is not None and language not in PLAIN_LANGUAGES:
        check_language(payload, report)
    if size > LARGE_BODY:
        _check_size(size, report)


def _check_size(size: int, report: Report) -> None:
    if size > MOST_BODY:
        report.problem("payload_too_large", None, f"the payload is {size:,} bytes; the API takes 1 MB")
    else:
        report.warn("payload_large", None, f"the payload is {size:,} bytes, near the API's limit of 1 MB")


def is_web_url(text: str) -> bool:
    """Whether it is an http or https URL with a host."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
