"""API-triggered broadcasts (docs/api.md, "Broadcasts")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.sandbox.audience import MAX_BODY, people_errors, refusal
from sender.sandbox.exchange import Answer, Request, ok, shape_c
from sender.sandbox.world import SHOWN, World, exists, path_id

if TYPE_CHECKING:
    from sender.sandbox.triggers import Trigger


_LOOKED_UP_AT_ONCE: Final = ("ids", "per_user_data")
"""Wrong people in these are a 422; in `emails` and files they come out in the processing. The API knows both ways."""
_PEOPLE_ERRORS: Final = (
    "Errors were found while processing per user data (ids, emails or json data)."
    " More detail available from the errors endpoint for trigger"
)


def trigger(world: World, request: Request, broadcast: str) -> Answer:
    """POST /v1/campaigns/{broadcast_id}/triggers: 200 means queued."""
    number = path_id(broadcast)
    if number is None:
        return shape_c(400, world.with_reference("bad request"))
    if not exists(number):
        return shape_c(404, world.with_reference("not found"))
    body = _body(world, request)
    if isinstance(body, Answer):
        return body
    refused = refusal(body)
    if refused is not None:
        return _unprocessable(world, refused.part, refused.text)
    now = world.now()
    if world.triggers.full(now):
        return _queue_full(world)
    errors = people_errors(body)
    at_once = next((name for name in _LOOKED_UP_AT_ONCE if body.get(name)), None)
    if errors and at_once:
        failed = world.triggers.add(number, now, errors, request.body, queued=False)
        return _unprocessable(world, at_once, f"{_PEOPLE_ERRORS} {failed.id}")
    return ok({"id": world.triggers.add(number, now, errors, request.body).id})


def _body(world: World, request: Request) -> dict[str, Any] | Answer:
    if len(request.body) > MAX_BODY:
        return shape_c(413, world.with_reference("payload too large"))
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        return _unprocessable(world, None, "the Content-Type must be application/json")
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return shape_c(400, world.with_reference("bad request"))
    return body if isinstance(body, dict) else shape_c(400, world.with_reference("bad request"))


def _unprocessable(world: World, part: str | None, text: str) -> Answer:
    return shape_c(422, world.with_reference(text), f"/data/attributes/{part}" if part else None)


def _queue_full(world: World) -> Answer:
    text = f"too many triggers are waiting to be processed, the limit is {world.options.queue}"
    if world.options.queue_full == 422:
        return _unprocessable(world, None, text)
    return shape_c(429, world.with_reference(text))


def _shown(world: World, found: Trigger) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": found.id,
        "broadcast_id": found.broadcast_id,
        "created_at": int(found.created_at),
        "processed_at": int(found.done_at),
    }
    if found.done_at > world.now():
        if world.options.pending == "absent":
            del item["processed_at"]
        else:
            item["processed_at"] = 0 if world.options.pending == "zero" else None
    return item


def _find(world: World, broadcast: str, trigger_id: str) -> Trigger | None:
    numbers = path_id(broadcast), path_id(trigger_id)
    return None if numbers[0] is None or numbers[1] is None else world.triggers.get(numbers[0], numbers[1])


def status(world: World, _request: Request, broadcast: str, trigger_id: str) -> Answer:
    """GET …/triggers/{trigger_id}: a bare object, no word on success."""
    found = _find(world, broadcast, trigger_id)
    return ok(_shown(world, found)) if found else shape_c(404, world.with_reference("not found"))


def errors(world: World, request: Request, broadcast: str, trigger_id: str) -> Answer:
    """GET …/triggers/{trigger_id}/errors: shape D, empty until it is processed."""
    found = _find(world, broadcast, trigger_id)
    if found is None:
        return shape_c(404, world.with_reference("not found"))
    params = request.params()
    start, limit = path_id(params.get("start") or "0"), path_id(params.get("limit") or "50")
    if start is None or not limit:
        return shape_c(400, world.with_reference("bad request"))
    known = found.errors if found.done_at <= world.now() else ()
    end = start + min(limit, 1000)
    return ok({"errors": known[start:end], "next": end if end < len(known) else 0})


def triggers(world: World, _request: Request, broadcast: str) -> Answer:
    """GET /v1/broadcasts/{id}/triggers."""
    number = path_id(broadcast)
    if number is None or not exists(number):
        return shape_c(404, world.with_reference("not found"))
    return ok({"triggers": [_shown(world, found) for found in world.triggers.by_broadcast.get(number, [])]})


def _broadcast(world: World, number: int) -> dict[str, Any]:
    at = world.started_at
    return {
        "id": number,
        "deduplicate_id": f"{number}:{at}",
        "name": f"Broadcast {number}",
        "type": "triggered_broadcast",
        "state": "running",
        "active": True,
        "actions": [{"id": number, "type": "email"}],
        "tags": [],
        "first_started": at,
        "created": at,
        "updated": at,
    }


def broadcasts(world: World, _request: Request) -> Answer:
    """GET /v1/broadcasts: those that were triggered, and a few more."""
    numbers = sorted({*SHOWN, *world.triggers.by_broadcast})
    return ok({"broadcasts": [_broadcast(world, number) for number in numbers]})


def broadcast(world: World, _request: Request, broadcast: str) -> Answer:
    """GET /v1/broadcasts/{id}."""
    number = path_id(broadcast)
    if number is None or not exists(number):
        return shape_c(404, world.with_reference("not found"))
    return ok({"broadcast": _broadcast(world, number)})


def broadcast_messages(world: World, _request: Request, broadcast: str) -> Answer:
    """GET /v1/broadcasts/{id}/messages: always empty, the stand-in makes no deliveries for broadcasts."""
    number = path_id(broadcast)
    if number is None or not exists(number):
        return shape_c(404, world.with_reference("not found"))
    return ok({"messages": [], "next": ""})
