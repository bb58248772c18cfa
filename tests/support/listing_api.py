"""An API that answers the questions of a reconciler."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from sender.transport import Reply, Request
from tests.support.doubtful_jobs import NOW

PERSON = "/v1/customers/7/messages"
WITNESS = "/v1/customers/8/messages"


def item(name: str, **more: Any) -> dict[str, Any]:
    people = {"id": "8", "email": None, "cio_id": "c8"}
    known = {"id": name, "type": "email", "recipient": "ada@example.com", "created": int(NOW),
             "transactional_message_id": 3, "customer_identifiers": people}
    return known | more


class Api:
    """Documents by path; a number is a status, a list is answered in turn."""

    def __init__(self, **more: Any) -> None:
        self.asked: list[str] = []
        self.documents: dict[str, Any] = {
            PERSON: {"messages": None, "next": ""},
            WITNESS: {"messages": [item("w")], "next": ""},
            "/v1/messages/w": {"message": item("w")},
            "/v1/transactional/3/messages": {"messages": [], "next": ""},
        }
        self.documents.update(more)
        self.clock = time.time

    async def send(self, request: Request, wire: Any = None) -> Reply:
        wire.on_written()
        url = urlsplit(request.path)
        self.asked.append(request.path)
        found = self.documents.get(url.path, 404)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(dict(parse_qsl(url.query)))
        if isinstance(found, Exception):
            raise found
        if isinstance(found, int):
            return Reply(found, "application/json", b'{"errors":[{"detail":"no"}]}')
        date = formatdate(self.clock(), usegmt=True)
        return Reply(200, "application/json", orjson.dumps(found), date=date)

    async def warm(self, connections: int) -> int:
        return 0

    async def aclose(self) -> None: ...
