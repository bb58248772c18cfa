"""A request as it came and the answer it gets, free of sockets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

JSON: Final = "application/json; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


@dataclass(slots=True)
class Request:
    """One HTTP request; `body` is empty until it has arrived."""

    method: str
    path: str
    """As it stood in the request line, still percent-encoded, without the query."""
    query: str
    headers: dict[str, str]
    """Lower-case names."""
    stamp: int
    """When its first bytes arrived, nanoseconds since the epoch."""
    keep_alive: bool = True
    body: bytes = b""
    complete: bool = False
    """Whether the body has arrived."""

    def params(self) -> dict[str, str]:
        """The query, decoded like a form: an unencoded `+` is a blank. The last of equal names holds."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}


@dataclass(slots=True)
class Answer:
    """One HTTP answer before it is put on the wire."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the request took effect."""
        return 200 <= self.status < 300


def both_forms(body: bytes) -> dict[str, Any]:
    """An accepted body as `payload`, decoded, and as `raw`, its text byte for byte; an empty one is null and empty."""
    return {"payload": orjson.loads(body) if body.strip() else None, "raw": body.decode()}


def ok(value: object) -> Answer:
    """200 with this value as JSON."""
    return Answer(200, orjson.dumps(value))


def shape_a(status: int, text: str) -> Answer:
    """The error body of sends and transactional content (docs/api.md, "Error bodies")."""
    return Answer(status, orjson.dumps({"meta": {"error": text}}))


def shape_c(status: int, text: str, pointer: str | None = None, *, bare: bool = False) -> Answer:
    """The error body of triggers, newsletters and GETs (docs/api.md, "Error bodies"); bare = `detail` only."""
    error: dict[str, object] = {"detail": text}
    if not bare:
        error["status"] = str(status)
    if pointer:
        error["source"] = {"pointer": pointer}
    return Answer(status, orjson.dumps({"errors": [error]}))


_FILLER = "<p>The page you asked for is not here. Check the address, or start again from the front page.</p>\n"
_PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Page not found</title></head>\n'
    "<body>\n<h1>404</h1>\n" + _FILLER * 36 + "</body></html>\n"
).encode()
"""About 3.8 kB, as the API's own page for a wrong path or method (docs/api.md, "Error bodies", shape H)."""


def not_found_page() -> Answer:
    """The HTML 404 of a wrong path or method."""
    return Answer(404, _PAGE, HTML)


def proxy_page(status: int) -> Answer:
    """What the proxy before the API says when the API says nothing."""
    title = f"{status} {reason(status)}"
    return Answer(
        status, f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode(), HTML
    )


@cache
def reason(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def head_bytes(answer: Answer, length: int | None, *, close: bool, date: str = "") -> bytes:
    """Status line and headers; without a length the body is chunked."""
    lines = [f"HTTP/1.1 {answer.status} {reason(answer.status)}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines.extend(f"{name}: {value}" for name, value in answer.headers)
    if date:
        lines.append(f"Date: {date}")
    lines.append("Cache-Control: no-cache, no-store\r\nVia: 1.1 google")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
