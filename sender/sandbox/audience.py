"""Checks of a trigger of a broadcast (docs/api.md, "Broadcasts"): of its shape, and of the people that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.sandbox.world import is_missing, is_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY: Final = 25 * 1024 * 1024
MAX_DATA: Final = 50_000
MAX_PEOPLE: Final = 10_000
AUDIENCES: Final = ("recipients", "emails", "ids", "per_user_data", "data_file_url")
_FLAGS = ("email_add_duplicates", "email_ignore_missing", "id_ignore_missing")


class Refusal(NamedTuple):
    """A 422: which part of the body, and what about it."""

    part: str
    text: str


def refusal(body: dict[str, Any]) -> Refusal | None:
    """What the API refuses before there is a trigger."""
    given = [name for name in AUDIENCES if body.get(name) is not None]
    if len(given) > 1:
        return Refusal(given[1], f"only one of {', '.join(AUDIENCES)} is allowed")
    for flag in _FLAGS:
        if not isinstance(body.get(flag), bool | None):
            return Refusal(flag, "must be a boolean")
    data = body.get("data")
    if not isinstance(data, dict | None):
        return Refusal("data", "must be an object")
    if data and len(orjson.dumps(data)) > MAX_DATA:
        return Refusal("data", f"must not exceed {MAX_DATA} bytes")
    return _CHECKS[given[0]](given[0], body[given[0]]) if given else None


def _people(name: str, value: object) -> Refusal | None:
    if not isinstance(value, list) or not all(isinstance(person, str) for person in value):
        return Refusal(name, "must be an array of strings")
    return Refusal(name, f"must not hold more than {MAX_PEOPLE} entries") if len(value) > MAX_PEOPLE else None


def _map(name: str, value: object) -> Refusal | None:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return Refusal(name, "must be an array of objects")
    if len(value) > MAX_PEOPLE:
        return Refusal(name, f"must not hold more than {MAX_PEOPLE} entries")
    for entry in value:
        keys = [key for key in ("id", "email") if entry.get(key) is not None]
        if len(keys) != 1 or not isinstance(entry[keys[0]], str) or not isinstance(entry.get("data"), dict | None):
            return Refusal(name, "each entry must hold either id or email, and data as an object")
    return None


def _url(name: str, value: object) -> Refusal | None:
    fine = isinstance(value, str) and value.lower().startswith(("http://", "https://"))
    return None if fine else Refusal(name, "must be a URL")


def _filter(name: str, value: object) -> Refusal | None:
    return None if _is_filter(value) else Refusal(name, "is not a valid filter")


def _is_filter(node: object) -> bool:
    stack = [node]
    while stack:
        node = stack.pop()
        if not isinstance(node, dict) or len(node) != 1:
            return False
        ((key, value),) = node.items()
        if key in ("and", "or") and isinstance(value, list) and value:
            stack.extend(value)
        elif key == "not":
            stack.append(value)
        elif not (key == "segment" and _is_segment(value)) and not (key == "attribute" and _is_attribute(value)):
            return False
    return True


def _is_segment(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), int) and not isinstance(value["id"], bool)


def _is_attribute(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("field"), str):
        return False
    operator = value.get("operator")
    return operator == "exists" or (operator == "eq" and isinstance(value.get("value"), str | bool | int | float))


_CHECKS: Final = {
    "recipients": _filter,
    "emails": _people,
    "ids": _people,
    "per_user_data": _map,
    "data_file_url": _url,
}


def people_errors(body: dict[str, Any]) -> tuple[str, ...]:
    """What is wrong with the people in it, line by line; anything makes the whole broadcast fail."""
    url = body.get("data_file_url")
    if isinstance(url, str) and ("missing" in url or "403" in url):
        return ("failed to download data file, server responded with code 403 Forbidden",)
    problems = ((line, _person_problem(body, *person)) for line, person in enumerate(_named_people(body), 1))
    return tuple(f"line {line}: {problem}" for line, problem in problems if problem)


def _named_people(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """("id" or "email", its value) of each."""
    yield from (("id", person) for person in body.get("ids") or ())
    yield from (("email", person) for person in body.get("emails") or ())
    for entry in body.get("per_user_data") or ():
        key = "id" if entry.get("id") is not None else "email"
        yield key, entry[key]


def _person_problem(body: dict[str, Any], key: str, person: str) -> str | None:
    if is_missing(person):
        return None if body.get(f"{key}_ignore_missing") else f"no customer with this {key} exists"
    if key == "email" and is_shared(person) and not body.get("email_add_duplicates"):
        return "more than one customer with this email exists"
    return None
