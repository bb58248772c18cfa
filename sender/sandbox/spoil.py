"""What a fault makes of an answer, before it goes on the wire; pure but for the date."""

from __future__ import annotations

import time
from email.utils import formatdate
from gzip import compress
from typing import TYPE_CHECKING

from sender.sandbox.exchange import HTML, Answer, not_found_page, proxy_page, reason, shape_a, shape_c

if TYPE_CHECKING:
    from sender.sandbox.faults import Fault

_HTML_200 = Answer(200, b"<html><body><h1>We will be right back</h1></body></html>", HTML)


def api_error(lane: str, status: int, text: str) -> Answer:
    """An error in the shape that is usual in this lane."""
    return shape_a(status, text) if lane == "send" else shape_c(status, text)


def retry_after_value(kind: str, seconds: int) -> str | None:
    """The value of a Retry-After; `seconds` is what it ought to say."""
    if kind == "none":
        return None
    name, _, ahead = kind.partition(":")
    if name == "date" and (not ahead or ahead.isdigit()):
        return formatdate(time.time() + int(ahead or seconds), usegmt=True)
    return {"seconds": str(seconds), "zero": "0", "huge": "31536000", "garbage": "in a little while"}.get(kind, kind)


def replaced(answer: Answer, fault: Fault, lane: str, usual_retry_after: str) -> Answer:
    """The answer as this fault words it; the same where only the wire is spoilt."""
    match fault.fault:
        case "status":
            return _status(fault, lane, usual_retry_after)
        case "html":
            return _HTML_200
        case "html_404":
            return not_found_page()
        case "no_id":
            return Answer(200, b"{}")
        case "huge_body":
            return Answer(answer.status, answer.body[:-1] + b" " * fault.bytes + answer.body[-1:], answer.content_type)
        case "gzip":
            return Answer(answer.status, compress(answer.body), answer.content_type, (("Content-Encoding", "gzip"),))
        case _:
            return answer


def _status(fault: Fault, lane: str, usual_retry_after: str) -> Answer:
    status = fault.status
    usual = "api" if status in (200, 400, 403, 408, 429, 500) else "empty" if status < 400 else "html"
    body = fault.body or usual
    answer = {
        "api": api_error(lane, status, reason(status).lower()),
        "html": proxy_page(status),
        "empty": Answer(status, b"", ""),
        "garbage": Answer(status, b'{"meta":{"error":'),
    }.get(body, Answer(status, body.encode()))
    kind = fault.retry_after or (usual_retry_after if status == 429 else "none")
    value = retry_after_value(kind, 1 if lane != "trigger" else 10)
    if value is not None:
        answer.headers = (("Retry-After", value),)
    if 300 <= status < 400:
        answer.headers = (*answer.headers, ("Location", "https://elsewhere.example/"))
    return answer
