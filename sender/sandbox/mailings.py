"""Sending, scheduling and listing newsletters (docs/api.md, "Newsletters")."""

from __future__ import annotations

from functools import cache
from typing import Any
from zoneinfo import available_timezones

import orjson

from sender.sandbox.exchange import Answer, Request, ok, shape_c
from sender.sandbox.newsletters import UNSENDABLE, Newsletter
from sender.sandbox.world import SHOWN, World, exists, path_id
from sender.sandbox.writes import Write

PERIODS = (60, 3600, 86400)


def _refused(status: int, text: str) -> Answer:
    return shape_c(status, text, bare=True)


def _find(world: World, newsletter: str) -> Newsletter | Answer:
    number = path_id(newsletter)
    if number is None or not exists(number):
        return _refused(404, world.with_reference("not found"))
    return world.newsletter(number)


def _body(request: Request, *, needed: bool) -> dict[str, Any] | Answer:
    if not request.body.strip() and not needed:
        return {}
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return _refused(400, "bad request")
    return body if isinstance(body, dict) else _refused(400, "bad request")


@cache
def _time_zones() -> set[str]:
    return available_timezones()


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rate_problem(body: dict[str, Any]) -> str | None:
    rate, period = body.get("rate_limit_email_rate"), body.get("rate_limit_time_period")
    if (rate is None) != (period is None):
        return "rate_limit_email_rate and rate_limit_time_period must be set together"
    if rate is not None and (not _integer(rate) or rate < 1):
        return "rate_limit_email_rate must be a positive integer"
    if period is not None and (not _integer(period) or period not in PERIODS):
        return "rate_limit_time_period must be 60, 3600 or 86400"
    if not isinstance(body.get("rate_limit_spread"), bool | None):
        return "rate_limit_spread must be a boolean"
    return None


def _unsendable(found: Newsletter) -> Answer | None:
    if found.sent_at is not None:
        return _refused(400, "newsletter has already been sent")
    return _refused(400, UNSENDABLE[found.id]) if found.id in UNSENDABLE else None


def _not_a_draft(found: Newsletter) -> Answer | None:
    return None if found.scheduled_at is None else _refused(400, "newsletter is not in a draft state")


def send(world: World, request: Request, newsletter: str) -> Answer:
    """POST …/send: once only."""
    found = _find(world, newsletter)
    if isinstance(found, Answer):
        return found
    body = _body(request, needed=False)
    if isinstance(body, Answer):
        return body
    problem = _rate_problem(body)
    refused = _refused(422, problem) if problem else _unsendable(found) or _not_a_draft(found)
    if refused is not None:
        return refused
    found.sent_at, found.scheduled_at = world.now(), None
    _note(world, found, "newsletter_send", request)
    return ok({"newsletter": found.shown(found.sent_at)})


def schedule(world: World, request: Request, newsletter: str) -> Answer:
    """POST …/schedule: sets or moves the time, 0 takes it away."""
    found = _find(world, newsletter)
    if isinstance(found, Answer):
        return found
    body = _body(request, needed=True)
    if isinstance(body, Answer):
        return body
    problem = _schedule_problem(body, world.now())
    refused = _refused(422, problem) if problem else _unsendable(found)
    if refused is not None:
        return refused
    if body["scheduled_at"] == 0 and found.scheduled_at is None:
        return _refused(400, "newsletter is not scheduled")
    found.scheduled_at = body["scheduled_at"] or None
    _note(world, found, "newsletter_schedule", request)
    return ok({"newsletter": found.shown(None)})


def _note(world: World, found: Newsletter, kind: str, request: Request) -> None:
    now = world.now()
    found.updated = int(now)
    world.keep(Write(kind, {"newsletter_id": found.id}, now, request.body))


def _schedule_problem(body: dict[str, Any], now: float) -> str | None:
    at = body.get("scheduled_at")
    if not _integer(at):
        return "scheduled_at is required and must be a unix timestamp"
    if at:
        if at <= now:
            return "scheduled_at must be in the future"
        zone = body.get("timezone")
        if not isinstance(zone, str) or zone not in _time_zones():
            return "timezone is required and must be an IANA time zone"
    match = body.get("tz_match_enabled")
    if not isinstance(match, bool | None):
        return "tz_match_enabled must be a boolean"
    problem = _rate_problem(body)
    if problem is None and match and (body.get("rate_limit_time_period") or 0) > 3600:
        return "rate_limit_time_period must not exceed 3600 with tz_match_enabled"
    return problem


def _shown(world: World, found: Newsletter) -> dict[str, Any]:
    """GETs show a send only after the visibility lag."""
    visible = found.sent_at is not None and world.now() >= found.sent_at + world.options.visibility_lag
    return found.shown(found.sent_at if visible else None)


def newsletter(world: World, _request: Request, newsletter: str) -> Answer:
    """GET /v1/newsletters/{id}."""
    found = _find(world, newsletter)
    return found if isinstance(found, Answer) else ok({"newsletter": _shown(world, found)})


def newsletters(world: World, request: Request) -> Answer:
    """GET /v1/newsletters: those that were used, and a few more."""
    params = request.params()
    limit, start = path_id(params.get("limit") or "50"), path_id(params.get("start") or "0")
    if not limit or limit > 100 or start is None:
        return _refused(400, "limit must be a number from 1 to 100")
    numbers = [number for number in sorted({*SHOWN, *world.newsletters}) if number > start]
    if params.get("sort") == "desc":
        numbers = [n for n in sorted({*SHOWN, *world.newsletters}, reverse=True) if not start or n < start]
    page = numbers[:limit]
    cursor = str(page[-1]) if len(numbers) > limit else ""
    return ok({"newsletters": [_shown(world, world.newsletter(number)) for number in page], "next": cursor})
