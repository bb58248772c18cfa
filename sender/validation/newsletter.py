"""Newsletters and the content of transactional templates (docs/api.md, "Newsletters")."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sender.validation.headers import check_headers
from sender.validation.report import ARRAY, FLAG, INTEGER, TEXT, Types
from sender.validation.sends import LARGE_BODY, MOST_BODY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check import Options
    from sender.validation.report import Report

PERIODS: Final = (60, 3600, 86400)
_RATE: Final[dict[str, Types]] = {
    "rate_limit_email_rate": INTEGER, "rate_limit_time_period": INTEGER, "rate_limit_spread": FLAG,
}  # fmt: skip
_SCHEDULE: Final[dict[str, Types]] = {
    **_RATE, "scheduled_at": INTEGER, "timezone": TEXT, "tz_match_enabled": FLAG,
}  # fmt: skip
_CONTENT: Final[dict[str, Types]] = {
    **dict.fromkeys(("body", "body_amp", "subject", "preheader_text", "recipient"), TEXT),
    "from_id": INTEGER,
    "reply_to_id": frozenset({int, type(None)}),
    "headers": ARRAY,
}
_READ_ONLY: Final = ("from", "reply_to", "bcc", "cc", "fake_bcc", "language", "name", "type", "id")


def check_newsletter_send(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/newsletters/{newsletter_id}/send."""
    report.types(_RATE, payload)
    _check_rate(payload, report)


def check_newsletter_schedule(
    payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options
) -> None:
    """POST /v1/newsletters/{newsletter_id}/schedule."""
    report.types(_SCHEDULE, payload)
    _check_rate(payload, report)
    at = payload.get("scheduled_at")
    if at is None:
        report.problem(
            "missing_field", "scheduled_at", "scheduled_at is missing; 0 takes a newsletter off the schedule"
        )
    if type(at) is int and at != 0:
        if at <= now:
            report.problem("bad_schedule", "scheduled_at", "scheduled_at is not in the future")
        if payload.get("timezone") is None:
            report.problem("missing_field", "timezone", "timezone is missing; name it, like Europe/Berlin")
    zone = payload.get("timezone")
    if type(zone) is str and not _is_zone(zone):
        report.problem("bad_timezone", "timezone", "timezone is not an IANA name, like Europe/Berlin")
    period = payload.get("rate_limit_time_period")
    if payload.get("tz_match_enabled") is True and type(period) is int and period > 3600:
        report.problem(
            "bad_schedule", "rate_limit_time_period", "with tz_match_enabled rate_limit_time_period is 3600 at most"
        )


def check_content(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """PUT /v1/transactional/{transactional_id}/content/{content_id}."""
    known = {name: value for name, value in payload.items() if name not in _READ_ONLY}
    report.types(_CONTENT, known)
    if type(payload.get("headers")) is list:
        check_headers(payload["headers"], report)
    for name in _READ_ONLY:
        if name in payload:
            report.warn("ignored_field", name, f"{name} cannot be changed here; the API ignores it")
    if not payload:
        report.problem("empty_field", None, "the payload is empty; there is nothing to change")
    if size > MOST_BODY:
        report.warn(
            "payload_large", None, f"the payload is {size:,} bytes; the API may refuse more than {LARGE_BODY:,}"
        )


def _check_rate(payload: Mapping[str, Any], report: Report) -> None:
    rate, period = payload.get("rate_limit_email_rate"), payload.get("rate_limit_time_period")
    if (rate is None) != (period is None):
        missing = "rate_limit_email_rate" if rate is None else "rate_limit_time_period"
        report.problem("rate_pair", missing, f"{missing} is missing; rate and period go together")
    if type(rate) is int and rate < 1:
        report.problem("bad_value", "rate_limit_email_rate", "rate_limit_email_rate must be 1 or more")
    if type(period) is int and period not in PERIODS:
        report.problem("bad_value", "rate_limit_time_period", "rate_limit_time_period must be 60, 3600 or 86400")


def _is_zone(name: str) -> bool:
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
