"""POST /v1/send/{kind} (docs/api.md, "Transactional sends")."""

from __future__ import annotations

from typing import Any

import orjson

from sender.sandbox.channels import UNTEMPLATED
from sender.sandbox.deliveries import Delivery, new_delivery_id
from sender.sandbox.exchange import Answer, Request, ok, shape_a
from sender.sandbox.payloads import check, person, takes
from sender.sandbox.world import World, is_missing, path_id


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
    """The number of the message that the payload wants, which must be one of this channel."""
    wanted = payload.get("transactional_message_id")
    if wanted is None:
        return UNTEMPLATED
    create = payload.get("auto_create") is True and takes(kind, "auto_create")
    number = wanted if isinstance(wanted, int) else _named(world, wanted, kind, create=create)
    if number is None or not world.has_template(number):
        return shape_a(400, "transactional message not found")
    if not world.channels.belongs(number, kind):
        return shape_a(400, "transactional_message_id belongs to a message on a different channel")
    return number


def _named(world: World, text: str, kind: str, *, create: bool) -> int | None:
    """The message behind a number in a text, or behind a trigger name; every name exists that is not a missing one."""
    number = path_id(text)
    if number is None:
        number = world.channels.number(text)
    if number is None and (create or not is_missing(text)):
        number = world.channels.make(text, kind)
    return number


def _text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return value if isinstance(value, str) else None


def _accept(world: World, kind: str, payload: dict[str, Any], body: bytes, template: int, now: float) -> Answer:
    send_at = payload.get("send_at")
    later = send_at if send_at is not None and send_at > now else None
    delivery = Delivery(
        id=new_delivery_id(world.random),
        kind=kind,
        accepted_at=now,
        identifier=person(payload["identifiers"]),
        template=template,
        recipient=_text(payload, "to") or "",
        subject=_text(payload, "subject"),
        send_at=later,
        draft=payload.get("queue_draft") is True,
        body=body,
        fates=world.fates,
    )
    world.accept(delivery)
    answer = {"delivery_id": delivery.id, "queued_at": int(now)}
    return ok(answer if later is None else answer | {"send_at": later})
