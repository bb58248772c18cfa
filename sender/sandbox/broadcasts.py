"""Triggers of broadcasts as the API plays them (API.md section 4)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from sender.sandbox.answers import listed_error, ok, plain_error
from sender.sandbox.world import MOST_ID

if TYPE_CHECKING:
    from sender.sandbox.http import Request, Response
    from sender.sandbox.world import World

AUDIENCES = ("recipients", "emails", "ids", "per_user_data", "data_file_url")
MOST_ENTRIES = 10_000
MISSING = "missing"
"""People whose id or address holds this word do not exist."""


def trigger_broadcast(world: World, queue: int, queue_full: int, number: int, request: Request) -> Response:
    """POST /v1/campaigns/{number}/triggers."""
    if not 0 < number < MOST_ID:
        return listed_error(404, "not found")
    if "json" not in request.headers.get("content-type", ""):
        return listed_error(422, "the request's Content-Type must be application/json")
    try:
        payload = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict):
        return listed_error(400, "bad request")
    now = time.time()
    refusal = _refuse(payload)
    if refusal is not None:
        return refusal
    if world.waiting(now) >= queue:
        if queue_full == 422:
            return listed_error(422, "too many triggers are queued")
        return plain_error(429, "too many triggers are queued")
    absent = _absent(payload)
    if absent and "per_user_data" in payload:
        trigger = world.trigger(number, absent, now)
        trigger.due = trigger.created_at
        detail = f"per-user data is invalid, see the errors endpoint for trigger {trigger.id}"
        return listed_error(422, detail, "/data/attributes/per_user_data")
    return ok({"id": world.trigger(number, absent, now).id})


def _refuse(payload: dict[str, Any]) -> Response | None:
    given = [name for name in AUDIENCES if name in payload]
    if len(given) > 1:
        return listed_error(422, "only one audience is allowed", f"/data/attributes/{given[1]}")
    if "data" in payload and (not isinstance(payload["data"], dict) or len(orjson.dumps(payload["data"])) > 50_000):
        return listed_error(422, "data is invalid", "/data/attributes/data")
    for name in ("emails", "ids", "per_user_data"):
        if name in payload and (not isinstance(payload[name], list) or len(payload[name]) > MOST_ENTRIES):
            return listed_error(422, f"{name} is invalid", f"/data/attributes/{name}")
    return None


def _absent(payload: dict[str, Any]) -> list[str]:
    """The lines of the errors endpoint for people who do not exist; they fail the whole trigger."""
    lines: list[str] = []
    for name, flag in (("emails", "email_ignore_missing"), ("ids", "id_ignore_missing")):
        if not payload.get(flag):
            entries = payload.get(name) or []
            lines += [f"line {n}: person not found" for n, entry in enumerate(entries, 1) if MISSING in str(entry)]
    entries = payload.get("per_user_data") or []
    lines += [f"line {number}: {fault}" for number, entry in enumerate(entries, 1) if (fault := _fault(entry, payload))]
    return lines


def _fault(entry: Any, payload: dict[str, Any]) -> str | None:
    if not isinstance(entry, dict):
        return "not an object"
    for name in ("id", "email"):
        if MISSING in str(entry.get(name, "")) and not payload.get(f"{name}_ignore_missing"):
            return "person not found"
    return None
