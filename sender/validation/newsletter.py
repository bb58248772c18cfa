"""Newsletters and the content of transactional templates (docs/api.md, "Newsletters")."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sender.jobs.nearest import nearest
from sender.validation.broadcast import audience_meant
from sender.validation.field_types import check_types
from sender.validation.fields import CONTENT, NEWSLETTER_SCHEDULE, NEWSLETTER_SEND
from sender.validation.headers import check_headers
from sender.validation.sizes import LARGE_BODY, MOST_BODY
from sender.validation.texts import check_texts
from sender.validation.times import check_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check_options import Options
    from sender.validation.fields import Shape
    from sender.validation.findings import Report

PERIODS: Final = (60, 3600, 86400)
MOST_UNKNOWN: Final = 100
"""Unknown fields that are looked at one by one for something that is meant otherwise."""
_TIMES: Final = ("scheduled_at", "timezone", "tz_match_enabled", "send_at")
_READ_ONLY: Final = ("from", "reply_to", "bcc", "cc", "fake_bcc", "language", "name", "type", "id")
_TEXTS: Final = ("subject", "body", "body_amp", "preheader_text", "recipient")


def check_newsletter_send(
    payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options
) -> None:
    """POST /v1/newsletters/{newsletter_id}/send."""
    told = _check_times(payload, report)
    told += _check_audience(NEWSLETTER_SEND, payload, report)
    check_types(NEWSLETTER_SEND, payload, report, told)
    _check_rate(payload, report)


def _check_times(payload: Mapping[str, Any], report: Report) -> list[str]:
    """Whoever names a time does not mean at once; returns the fields that do."""
    told = []
    for name in islice(payload, MOST_UNKNOWN):
        meant = None if name in NEWSLETTER_SEND.fields else nearest(name, _TIMES)
        if meant is not None:
            told.append(name)
            message = f"{meant} is not for newsletter_send, which sends at once; use the kind newsletter_schedule"
            report.problem("wrong_kind", meant, message)
    return told


def check_newsletter_schedule(
    payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options
) -> None:
    """POST /v1/newsletters/{newsletter_id}/schedule."""
    told = _check_audience(NEWSLETTER_SCHEDULE, payload, report)
    check_types(NEWSLETTER_SCHEDULE, payload, report, told)
    _check_rate(payload, report)
    at = payload.get("scheduled_at")
    if at is None:
        report.problem(
            "missing_field", "scheduled_at", "scheduled_at is missing; 0 takes a newsletter off the schedule"
        )
    elif type(at) is int and at != 0 and at <= now:
        report.problem("bad_schedule", "scheduled_at", "scheduled_at is not in the future")
    check_seconds("scheduled_at", at, report)
    _check_zone(payload.get("timezone"), report, needed=type(at) is int and at != 0)
    period = payload.get("rate_limit_time_period")
    if payload.get("tz_match_enabled") is True and type(period) is int and period > 3600:
        report.problem(
            "bad_schedule", "rate_limit_time_period", "with tz_match_enabled rate_limit_time_period is 3600 at most"
        )


def _check_zone(zone: Any, report: Report, *, needed: bool) -> None:
    if zone is None or zone == "":
        if needed:
            report.problem("missing_field", "timezone", "timezone is missing; name it, like Europe/Berlin")
    elif type(zone) is str and zone not in _zones():
        message = "timezone is not an IANA name, like Europe/Berlin"
        if needed:
            report.problem("bad_timezone", "timezone", message)
        else:
            report.warn("odd_timezone", "timezone", message)


def check_content(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """PUT /v1/transactional/{transactional_id}/content/{content_id}."""
    known = {name: value for name, value in payload.items() if name not in _READ_ONLY}
    check_types(CONTENT, known, report)
    check_texts(payload, _TEXTS, ("subject",), report)
    if type(payload.get("headers")) is list:
        check_headers(payload["headers"], report)
    for name in _READ_ONLY:
        if name in payload:
            report.warn("ignored_field", name, f"{name} cannot be changed here; the API ignores it")
    if not payload:
        report.problem("empty_field", None, "the payload is empty; there is nothing to change")
    if len(body) > MOST_BODY:
        report.warn(
            "payload_large", None, f"the payload is {len(body):,} bytes; the API may refuse more than {LARGE_BODY:,}"
        )


def _check_audience(shape: Shape, payload: Mapping[str, Any], report: Report) -> list[str]:
    """A newsletter has its recipients at the vendor: one that names others would reach more people than are meant.

    Returns the fields that name some.
    """
    others = [name for name in islice(payload, MOST_UNKNOWN) if name not in shape.fields and name != "id"]
    told = [name for name in others if audience_meant(name) is not None]
    if told:
        message = "a newsletter takes no audience: it goes to the recipients that were set when it was made"
        report.problem("misspelt_audience", None, message)
    return told


def _check_rate(payload: Mapping[str, Any], report: Report) -> None:
    rate, period = payload.get("rate_limit_email_rate"), payload.get("rate_limit_time_period")
    if (rate is None) != (period is None):
        missing = "rate_limit_email_rate" if rate is None else "rate_limit_time_period"
        report.problem("rate_pair", missing, f"{missing} is missing; rate and period go together")
    if type(rate) is int and rate < 1:
        report.problem("bad_value", "rate_limit_email_rate", "rate_limit_email_rate must be 1 or more")
    if type(period) is int and period not in PERIODS:
        report.problem("bad_value", "rate_limit_time_period", "rate_limit_time_period must be 60, 3600 or 86400")


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
