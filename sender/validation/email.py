"""Emails (docs/api.md, "Email")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.payload_span import member_bytes
from sender.validation.attachments import check_attachments
from sender.validation.field_types import check_types
from sender.validation.fields import ADDRESSES, CONTENT_TEXTS, EMAIL
from sender.validation.headers import check_headers
from sender.validation.message import check_delivery, check_person, check_template
from sender.validation.recipients import PLAIN, check_from, check_recipients
from sender.validation.sizes import LARGE_BODY, check_size
from sender.validation.texts import check_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check_options import Options
    from sender.validation.findings import Report

TEXTS: Final = frozenset((*ADDRESSES, *CONTENT_TEXTS))
ONE_LINE: Final = frozenset((*ADDRESSES, "subject"))


def check_email(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/send/email; what is plainly right is passed without a call."""
    check_types(EMAIL, payload, report)
    to = payload.get("to")
    if type(to) is not str or not PLAIN.fullmatch(to) or "cc" in payload or "bcc" in payload:
        report.require(payload, "to")
        check_recipients(payload, report)
    template = payload.get("transactional_message_id")
    if type(template) is not int or template <= 0 or "auto_create" in payload:
        check_template(payload, report, required=False)
    person = payload.get("identifiers")
    if type(person) is not dict or len(person) != 1 or type(person.get("id")) is not str or not person["id"].strip():
        check_person(payload, report, required=options.require_identifiers)
    if template is None:
        _check_own_content(payload, report)
    _check_fields(payload, report)
    attachments = payload.get("attachments")
    if type(attachments) is dict:
        check_attachments(attachments, report, options.risky_extensions)
    check_delivery(payload, report, now)
    if len(body) > LARGE_BODY:
        beside = member_bytes(body, "attachments") if "attachments" in payload else None
        check_size(len(body) - len(beside or b""), report, "the payload without attachments")


def _check_own_content(payload: Mapping[str, Any], report: Report) -> None:
    """Without a template the message itself has to be there."""
    for name in ("body", "subject"):
        if not payload.get(name):
            report.problem("missing_field", name, f"{name} is missing; without transactional_message_id it is needed")
    if not payload.get("from"):
        message = "from is missing; the workspace's default sender is used, if its domain is verified"
        report.warn("missing_from", "from", message)


def _check_fields(payload: Mapping[str, Any], report: Report) -> None:
    check_texts(payload, TEXTS, ONE_LINE, report)
    sender = payload.get("from")
    if type(sender) is str and sender:
        check_from(sender, report)
    headers = payload.get("headers")
    if headers is not None:
        check_headers(headers, report)
    if "plaintext_body" in payload:
        report.warn("renamed_field", "plaintext_body", "plaintext_body is an old name; today's API calls it body_plain")
    if payload.get("fake_bcc") is True and not payload.get("bcc"):
        report.warn("ignored_field", "fake_bcc", "fake_bcc has no effect without bcc")
