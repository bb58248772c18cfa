"""The shapes in which the API answers (API.md section 2)."""

from __future__ import annotations

import secrets
from typing import Any

import orjson

from sender.sandbox.http import Response

PAGE = (
    b"<!DOCTYPE html><html><head><title>Page not found</title></head><body><h1>404</h1>"
    + b" " * 3600
    + b"</body></html>"
)


def ok(document: Any) -> Response:
    """200 with JSON."""
    return Response(200, orjson.dumps(document))


def plain_error(status: int, text: str) -> Response:
    """Shape A, as the send endpoints use it."""
    return Response(status, orjson.dumps({"meta": {"error": text}}))


def listed_error(status: int, detail: str, pointer: str | None = None) -> Response:
    """Shape C, as triggers, newsletters and most GETs use it."""
    reference = secrets.token_hex(13).upper()
    error: dict[str, Any] = {"detail": f"{detail} (reference {reference})", "status": str(status)}
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return Response(status, orjson.dumps({"errors": [error]}))


def not_a_page() -> Response:
    """The HTML page of an unknown path or method."""
    return Response(404, PAGE, "text/html; charset=utf-8")
