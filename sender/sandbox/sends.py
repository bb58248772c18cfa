"""POST /v1/send/{kind} (docs/api.md, "Transactional sends")."""

from __future__ import annotations

from typing import Any

import orjson

from sender.sandbox.deliveries import Delivery, new_delivery_id
from sender.sandbox.exchange import Answer, Request, ok, shape_a
from sender.sandbox.payloads import check
from sender.sandbox.world import World, exists, is_missing, path_id

UNTEMPLATED = 1
"""Sends without a template are counted as message 1."""


def send(world: World, request: Request, kind: str) -> Answer:
    """Accept or refuse one transactional send; 200 means queued."""
    try:
        payload = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return shape_a(400, "request body is not valid JSON")
    if not isinstance(payload, dict):
        return shape_a(400, "request body must be a JSON object")
    now = world.now()
    refusal = check(kind, payload, len(request.body), now)
    if refusal is not None:
        return refusal
    template = _template(world, payload, kind)
    if isinstance(template, Answer):
        return template
    return _accept(world, kind, payload, request.body, template, now)


def _template(world: World, payload: dict[str, Any], kind: str) -> int | Answer:
    wanted = payload.get("transactional_message_id")
    if wanted is None:
        return UNTEMPLATED
    number = wanted if isinstance(wanted, int) else path_id(wanted)
    if number is not None:
        return number if exists(number) else shape_a(400, "transactional message not found")
    create = payload.get("auto_create") is True
    if is_missing(wanted) and not create and wanted.lower() not in world.names:
        return shape_a(400, "transactional message not found")
    template, owner = world.template_of_name(wanted, kind)
    if create and owner != kind:
        return shape_a(400, "transactional_message_id already belongs to a message on a different channel")
    return template


def _accept(world: World, kind: str, payload: dict[str, Any], body: bytes, template: int, now: float) -> Answer:
    send_at = payload.get("send_at")
    later = send_at if send_at is not None and send_at > now else None
    ((id_kind, person),) = payload["identifiers"].items()
    delivery = Delivery(
        new_delivery_id(world.random), kind, now, (id_kind, str(person)), template, payload.get("to") or "",
        payload.get("subject"), later, payload.get("queue_draft") is True, body,
    )  # fmt: skip
    world.deliveries.add(delivery)
    answer = {"delivery_id": delivery.id, "queued_at": int(now)}
    return ok(answer if later is None else answer | {"send_at": later})
