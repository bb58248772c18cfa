"""Newsletters as the API plays them (API.md section 5)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import orjson

from sender.sandbox.answers import listed_error, ok

if TYPE_CHECKING:
    from sender.sandbox.http import Response
    from sender.sandbox.world import World


def send_newsletter(world: World, number: int, body: bytes) -> Response:
    """POST /v1/newsletters/{number}/send."""
    newsletter = world.newsletter(number)
    if newsletter is None:
        return listed_error(404, "not found")
    payload = _payload(body)
    if payload is None:
        return listed_error(400, "bad request")
    if _half_a_pair(payload):
        return listed_error(422, "rate_limit_email_rate and rate_limit_time_period go together")
    if newsletter.sent_at is not None:
        return listed_error(400, "newsletter has already been sent")
    newsletter.sent_at = int(time.time())
    return ok({"newsletter": newsletter.as_dict()})


def schedule_newsletter(world: World, number: int, body: bytes) -> Response:
    """POST /v1/newsletters/{number}/schedule."""
    newsletter = world.newsletter(number)
    if newsletter is None:
        return listed_error(404, "not found")
    payload = _payload(body)
    if payload is None:
        return listed_error(400, "bad request")
    refusal = _refuse_schedule(payload)
    if refusal is not None:
        return listed_error(422, refusal)
    if newsletter.sent_at is not None:
        return listed_error(400, "newsletter has already been sent")
    if payload["scheduled_at"] == 0 and newsletter.scheduled_at == 0:
        return listed_error(400, "newsletter is not scheduled")
    newsletter.scheduled_at = payload["scheduled_at"]
    return ok({"newsletter": newsletter.as_dict()})


def _payload(body: bytes) -> dict[str, Any] | None:
    if not body.strip():
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _half_a_pair(payload: dict[str, Any]) -> bool:
    return ("rate_limit_email_rate" in payload) != ("rate_limit_time_period" in payload)


def _refuse_schedule(payload: dict[str, Any]) -> str | None:
    at = payload.get("scheduled_at")
    if isinstance(at, bool) or not isinstance(at, int) or at < 0:
        return "scheduled_at is required"
    if at > 0 and at <= time.time():
        return "scheduled_at must be in the future"
    if at > 0 and payload.get("timezone") not in available_timezones():
        return "timezone is required and must be known"
    if _half_a_pair(payload):
        return "rate_limit_email_rate and rate_limit_time_period go together"
    if payload.get("tz_match_enabled") and payload.get("rate_limit_time_period", 0) > 3600:
        return "rate_limit_time_period must not exceed one hour with tz_match_enabled"
    return None
