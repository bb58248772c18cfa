"""Transactional messages and their contents (docs/api.md, "Template content" and "Reading the API")."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import orjson

from sender.sandbox import mail_headers
from sender.sandbox.deliveries import TYPES
from sender.sandbox.exchange import Answer, Request, ok, shape_a, shape_c
from sender.sandbox.world import SHOWN, World, exists, path_id
from sender.sandbox.writes import Write

_TEXTS = ("body", "body_amp", "subject", "preheader_text", "recipient")
WRITABLE = (*_TEXTS, "from_id", "reply_to_id", "headers")


def _not_found(world: World) -> Answer:
    return shape_c(404, world.with_reference("not found"))


def _message(world: World, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": world.channels.name(number) or f"Transactional message {number}",
        "description": "",
        "send_to_unsubscribed": True,
        "link_tracking": True,
        "open_tracking": True,
        "hide_message_body": False,
        "queue_drafts": False,
        "created_at": world.started_at,
        "updated_at": world.started_at,
    }


def templates(world: World, _request: Request) -> Answer:
    """GET /v1/transactional: no paging, no trigger name, no channel."""
    written = {template for template, _ in world.contents}
    numbers = sorted({*SHOWN, *world.deliveries.templates(), *written})
    return ok({"messages": [_message(world, number) for number in numbers]})


def template(world: World, _request: Request, template: str) -> Answer:
    """GET /v1/transactional/{id}."""
    number = path_id(template)
    if number is None or not world.has_template(number):
        return _not_found(world)
    return ok({"message": _message(world, number)})


def contents(world: World, _request: Request, template: str) -> Answer:
    """GET /v1/transactional/{id}/contents: content 1, and those that were written."""
    number = path_id(template)
    if number is None or not world.has_template(number):
        return _not_found(world)
    keys = {"1", *(key for owner, key in world.contents if owner == number)}
    return ok({"contents": [_content(world, number, key) for key in sorted(keys)]})


def _content(world: World, template: int, key: str) -> dict[str, Any]:
    language = key.partition(":")[2]
    base: dict[str, Any] = {
        "id": 1 if language else int(key),
        "name": f"Transactional message {template}",
        "type": TYPES[world.channels.kind(template) or "email"],
        "body": "<p>{{trigger.text}}</p>",
        "subject": f"Message {template}",
        "language": language,
        "headers": [],
    }
    return base | world.contents.get((template, key), {})


def _key(world: World, template: str, content: str = "", language: str = "") -> tuple[int, str] | None:
    number = path_id(template)
    if number is None or not world.has_template(number):
        return None
    if language:
        return number, f"language:{unquote(language)}"
    content_id = path_id(content)
    return (number, str(content_id)) if exists(content_id) else None


def content(world: World, _request: Request, template: str, content: str) -> Answer:
    """GET …/content/{content_id}."""
    return _read(world, _key(world, template, content))


def translation(world: World, _request: Request, template: str, language: str) -> Answer:
    """GET …/language/{language}."""
    return _read(world, _key(world, template, language=language))


def write_content(world: World, request: Request, template: str, content: str) -> Answer:
    """PUT …/content/{content_id}: overwrites what is given, read-only fields are ignored."""
    return _write(world, request, _key(world, template, content))


def write_translation(world: World, request: Request, template: str, language: str) -> Answer:
    """PUT …/language/{language}: the same for one language."""
    return _write(world, request, _key(world, template, language=language))


def _read(world: World, key: tuple[int, str] | None) -> Answer:
    return ok({"content": _content(world, *key)}) if key else _not_found(world)


def _write(world: World, request: Request, key: tuple[int, str] | None) -> Answer:
    if key is None:
        return _not_found(world)
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return shape_a(400, "request body is not valid JSON")
    problem = _problem(body)
    if problem:
        return shape_a(400, problem)
    written = world.contents.setdefault(key, {})
    written.update({name: body[name] for name in WRITABLE if name in body})
    world.keep(Write("content", _target(*key), world.now(), request.body))
    return ok({"content": _content(world, *key)})


def _target(template: int, content: str) -> dict[str, int | str]:
    language = content.partition(":")[2]
    if language:
        return {"transactional_id": template, "language": language}
    return {"transactional_id": template, "content_id": int(content)}


def _problem(body: object) -> str | None:
    if not isinstance(body, dict) or not body:
        return "request body must be a non-empty JSON object"
    for name in _TEXTS:
        if not isinstance(body.get(name), str | None):
            return f"{name} must be a string"
    for name in ("from_id", "reply_to_id"):
        if isinstance(body.get(name), bool) or not isinstance(body.get(name), int | None):
            return f"{name} must be an integer"
    headers = body.get("headers")
    return None if headers is None else mail_headers.problem(headers)
