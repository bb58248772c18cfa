"""The transactional kinds beside email, each with its fields and rules (docs/api.md, "Transactional sends")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sender.validation.field_types import check_types
from sender.validation.fields import DEVICE, IN_APP, INBOX, PUSH, PUSH_TEXTS, SMS, WHATSAPP
from sender.validation.message import PHONE, check_delivery, check_person, check_phone, check_template
from sender.validation.sizes import LARGE_BODY, check_size
from sender.validation.texts import check_texts, has_liquid
from sender.validation.times import check_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check_options import Options
    from sender.validation.fields import Shape
    from sender.validation.findings import Report

SENDER_ID: Final = re.compile(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &._-]{1,11}")
"""A short code, or a name of letters and digits."""
TOKEN: Final = re.compile(r"[A-Za-z0-9_:.\-/+=]{16,}")
FROM_TEMPLATE: Final = {
    "body": "the text comes from the template; it cannot be given here",
    "image_url": "the image comes from the template (PNG, JPEG or GIF, best below 600 kB; US and Canada only)",
}
OVERRIDDEN: Final = (*PUSH_TEXTS, "custom_data")


def check_sms(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/sms."""
    _check_number(SMS, payload, report)
    if payload.get("to") is None:
        report.warn("missing_to", "to", "to is missing; the template's recipient is used")
    _tell_useless_auto_create(payload, report)
    _finish(payload, body, report, now)


def check_whatsapp(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/whatsapp."""
    _check_number(WHATSAPP, payload, report)
    if payload.get("to") is None:
        report.problem("missing_field", "to", "to is missing; the API requires it for whatsapp")
    if "auto_create" in payload:
        report.warn("ignored_field", "auto_create", "auto_create has no effect on whatsapp")
    _finish(payload, body, report, now)


def _check_number(shape: Shape, payload: Mapping[str, Any], report: Report) -> None:
    check_types(shape, payload, report, FROM_TEMPLATE)
    _require_template_and_person(payload, report)
    check_phone(payload, report)
    sender = payload.get("from")
    if type(sender) is str and not (PHONE.fullmatch(sender) or SENDER_ID.fullmatch(sender) or has_liquid(sender)):
        message = "from is neither a number in E.164 form, like +15551234567, nor a short code or sender ID"
        report.warn("odd_from", "from", message)
    for name, why in FROM_TEMPLATE.items():
        if name in payload:
            report.warn("ignored_field", name, f"{name} is ignored: {why}")


def check_push(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/push."""
    check_types(PUSH, payload, report)
    _require_template_and_person(payload, report)
    check_texts(payload, PUSH_TEXTS, (), report)
    _check_target(payload.get("to"), report)
    sound = payload.get("sound")
    if type(sound) is str and sound not in ("default", "none"):
        report.problem("bad_value", "sound", "sound must be default or none")
    data = payload.get("custom_data")
    if type(data) is dict and not all(type(value) is str for value in data.values()):
        report.warn("non_string_data", "custom_data", "custom_data holds values that are not texts; only texts arrive")
    device = payload.get("custom_device")
    if type(device) is dict:
        _check_device(device, report)
    overridden = [name for name in OVERRIDDEN if payload.get(name) is not None]
    if overridden and type(payload.get("custom_payload")) is dict:
        message = f"custom_payload overrides the payload's other content; ignored is {', '.join(overridden)}"
        report.warn("ignored_field", "custom_payload", message)
    _finish(payload, body, report, now)


def _check_target(to: Any, report: Report) -> None:
    if to == "":
        report.problem("empty_field", "to", "to is empty; leave it out to reach all devices")
    elif type(to) is str and to not in ("all", "last_used") and not TOKEN.fullmatch(to) and not has_liquid(to):
        report.warn("odd_recipient", "to", "to is neither all nor last_used, and does not look like a device's token")


def _check_device(device: Mapping[str, Any], report: Report) -> None:
    check_types(DEVICE, device, report)
    if not device.get("token"):
        report.problem("bad_device", "custom_device.token", "custom_device.token is missing")
    if device.get("platform") not in ("ios", "android"):
        report.problem("bad_device", "custom_device.platform", "custom_device.platform must be ios or android")
    check_seconds("custom_device.last_used", device.get("last_used"), report)


def check_in_app(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/in_app: routed to the person's devices, there is no `to`."""
    if "to" in payload:
        report.warn("ignored_field", "to", "in-app messages have no to; they go to the person's devices")
    _check_template_only(IN_APP, payload, body, report, now)


def check_inbox(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/inbox_message."""
    _check_template_only(INBOX, payload, body, report, now)


def _check_template_only(
    shape: Shape, payload: Mapping[str, Any], body: bytes, report: Report, now: float
) -> None:
    check_types(shape, payload, report)
    _require_template_and_person(payload, report)
    _tell_useless_auto_create(payload, report)
    if "disable_message_retention" in payload:
        field = "disable_message_retention"
        report.warn("ignored_field", field, f"{field} is not documented for this kind")
    _finish(payload, body, report, now)


def _tell_useless_auto_create(payload: Mapping[str, Any], report: Report) -> None:
    """Where the request brings no content, what is created stays empty (the vendor's page on in-app messages)."""
    template = payload.get("transactional_message_id")
    if payload.get("auto_create") is True and type(template) is str and not template.isdecimal():
        message = "auto_create makes an empty template, and this kind takes no content; make it in the vendor's UI"
        report.warn("auto_create_ignored", "auto_create", message)


def _require_template_and_person(payload: Mapping[str, Any], report: Report) -> None:
    check_template(payload, report, required=True)
    check_person(payload, report, required=True)


def _finish(payload: Mapping[str, Any], body: bytes, report: Report, now: float) -> None:
    check_delivery(payload, report, now)
    if len(body) > LARGE_BODY:
        check_size(len(body), report)
