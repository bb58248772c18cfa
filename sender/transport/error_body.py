"""The API's error bodies, all their shapes, as one error (docs/api.md, "Error bodies")."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

MOST_TEXT: Final = 500
_REFERENCE: Final = re.compile(r"\s*\(reference ([0-9A-Za-z-]{6,40})\)\s*$")
_TRIGGER: Final = re.compile(r"\btrigger (\d+)")


class ApiError(NamedTuple):
    """What the API said of a refusal."""

    message: str
    """Its text, at most 500 characters, not masked; empty when it said nothing readable."""
    pointer: str | None = None
    """The field that it names, `/data/attributes/per_user_data`."""
    reference: str | None = None
    """The id that support asks for."""
    trigger_id: int | None = None
    """A broadcast trigger that exists all the same (docs/api.md, "Triggering a broadcast")."""
    structured: bool = False
    """Whether the body is one of the API's own shapes, and not a proxy's."""


def parse_error(content_type: str, body: bytes) -> ApiError:
    """Read an error answer; never raises."""
    if "html" in content_type:
        return ApiError("")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ApiError(body[:MOST_TEXT].decode("utf-8", "replace").strip())
    if not isinstance(document, dict):
        return ApiError("")
    found = _from_meta(document.get("meta")) or _from_errors(document.get("errors"))
    if found is None:
        return ApiError("")
    text, pointer = found
    reference = _REFERENCE.search(text)
    trigger = _TRIGGER.search(text)
    return ApiError(
        _REFERENCE.sub("", text)[:MOST_TEXT],
        pointer,
        reference.group(1) if reference else None,
        int(trigger.group(1)) if trigger else None,
        structured=True,
    )


def _from_meta(meta: Any) -> tuple[str, str | None] | None:
    """Shapes A and B."""
    if not isinstance(meta, dict):
        return None
    if isinstance(meta.get("error"), str):
        return meta["error"], None
    texts = [text for text in meta.get("errors") or () if isinstance(text, str)]
    return ("; ".join(texts), None) if texts else None


def _from_errors(errors: Any) -> tuple[str, str | None] | None:
    """Shapes C and D."""
    if not isinstance(errors, list):
        return None
    texts: list[str] = []
    pointer: str | None = None
    for error in errors:
        if isinstance(error, str):
            texts.append(error)
        elif isinstance(error, dict) and isinstance(error.get("detail"), str):
            texts.append(error["detail"])
            source = error.get("source")
            if pointer is None and isinstance(source, dict) and isinstance(source.get("pointer"), str):
                pointer = source["pointer"]
    return ("; ".join(texts), pointer) if texts else None
