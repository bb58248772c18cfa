"""What all transactional messages have in common (docs/api.md, "Common fields")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sender.validation.fields import IDENTIFIERS
from sender.validation.texts import has_liquid
from sender.validation.times import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.findings import Report

MOST_AHEAD: Final = 90 * 86400
CLOCK_SKEW: Final = 5
LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,4})?")
PLAIN_LANGUAGES: Final = ("en", "de", "fr", "es", "pt", "it", "nl", "ja")
"""Common codes that need no closer look."""
PHONE: Final = re.compile(r"\+[1-9][0-9]{1,14}")


def check_person(payload: Mapping[str, Any], report: Report, *, required: bool) -> None:
    """`identifiers` names one person by one of id, email and cio_id (docs/api.md, "Identifiers")."""
    person = payload.get("identifiers")
    if person is None:
        if required:
            message = "identifiers is missing; name the person by id, email or cio_id"
            report.problem("missing_field", "identifiers", message)
        else:
            report.warn("missing_identifiers", "identifiers", "identifiers is missing; the message belongs to nobody")
    elif type(person) is dict:
        _check_identifiers(person, report)


def _check_identifiers(person: Mapping[str, Any], report: Report) -> None:
    given = {key: value for key, value in person.items() if value is not None}
    if len(given) != 1:
        count = len(given) or "no"
        message = f"identifiers has {count} keys; give exactly one of {', '.join(IDENTIFIERS)}"
        report.problem("bad_identifiers", "identifiers", message)
        return
    ((key, value),) = given.items()
    if key not in IDENTIFIERS:
        message = f"identifiers has an unknown key; give one of {', '.join(IDENTIFIERS)}"
        report.problem("bad_identifiers", "identifiers", message)
        return
    field = f"identifiers.{key}"
    if type(value) is not str and type(value) is not int:
        report.problem("bad_identifiers", field, f"{field} must be a text")
    elif value == "":
        report.problem("bad_identifiers", field, f"{field} is empty")
    elif type(value) is int and key != "id":
        report.warn("odd_identifier", field, f"{field} is a number; it has to be a text")
    elif type(value) is str:
        _check_identifier(field, value, report)
    if len(person) > 1:
        report.warn("null_field", "identifiers", f"identifiers has null beside {key}; leave it out")


def _check_identifier(field: str, text: str, report: Report) -> None:
    if not text.strip():
        report.warn("odd_identifier", field, f"{field} is blank; it names nobody")
    elif field == "identifiers.email" and ("@" not in text or len(text.split()) > 1):
        report.warn("odd_identifier", field, f"{field} is not an address")


def check_template(payload: Mapping[str, Any], report: Report, *, required: bool) -> None:
    """`transactional_message_id`: the template's number or its trigger name."""
    field = "transactional_message_id"
    template = payload.get(field)
    if template is None:
        if required:
            report.problem("missing_field", field, f"{field} is missing; this kind cannot be sent without a template")
    elif template == "" or (type(template) is int and template <= 0):
        report.problem("bad_template", field, f"{field} must be a positive number or a trigger name")
    if payload.get("auto_create") is True and (type(template) is not str or template.isdecimal()):
        message = "auto_create works with a trigger name only; it is ignored here"
        report.warn("auto_create_ignored", "auto_create", message)


def check_delivery(payload: Mapping[str, Any], report: Report, now: float) -> None:
    """When, in which language, and whether at all it goes out."""
    if "send_at" in payload:
        _check_send_at(payload["send_at"], report, now)
    language = payload.get("language")
    if type(language) is str and language not in PLAIN_LANGUAGES and not LANGUAGE.fullmatch(language):
        report.warn("odd_language", "language", "language does not look like a code such as en or pt-BR")
    if payload.get("queue_draft") is True:
        message = "the API holds the message as a draft; nobody gets it until a person releases it there"
        report.warn("draft", "queue_draft", message)


def _check_send_at(send_at: Any, report: Report, now: float) -> None:
    """At most 90 days ahead; the past means at once."""
    if type(send_at) is not int:
        return
    if send_at > now + MOST_AHEAD + CLOCK_SKEW:
        hint = "it looks like milliseconds, give unix seconds" if send_at >= LATEST else "the API takes no later time"
        report.problem("send_at_too_late", "send_at", f"send_at is more than 90 days ahead; {hint}")
    elif send_at < now - CLOCK_SKEW:
        report.warn("send_at_past", "send_at", "send_at is past; the API sends the message at once")


def check_phone(payload: Mapping[str, Any], report: Report) -> None:
    """`to` is in E.164 form or liquid (docs/api.md, "SMS")."""
    number = payload.get("to")
    if type(number) is not str or PHONE.fullmatch(number) or has_liquid(number):
        return
    if number == "":
        report.problem("empty_field", "to", "to is empty; give a phone number in E.164 form, like +15551234567")
        return
    hint = "; WhatsApp by Twilio takes the number alone, too" if number.startswith("whatsapp:") else ""
    message = f"to is not a phone number in E.164 form, like +15551234567, nor liquid{hint}"
    report.problem("bad_phone", "to", message)
