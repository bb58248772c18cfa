"""Fakes of what a consumer's parts speak to, and messages for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sender.consume.in_flight import UnackedMessage
from sender.jobs.job import Line
from sender.queues import Message, QueueError, QueueLost
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sender.jobs.job import Job

LINE = b'{"id": "%d", "kind": "email", "payload": {"to": "a@example.com", "identifiers": {"id": "1"}, %s}}'
REST = b'"transactional_message_id": 3'
OTHER_REST = b'"body": "x", "subject": "y", "from": "b@example.com"'


def parser() -> Parser:
    return Parser("email", Options(True, frozenset()), frozenset({"eu"}))


def job(number: int, rest: bytes = REST) -> Job:
    found = parser().parse(Line("queue", number, LINE % (number, rest), None), 0.0)
    assert hasattr(found, "key"), found
    return found


class FakeQueue:
    keep_every: float | None = 0.01
    ack_timeout: float | None = None
    counts_returns = False
    alive = True
    return_after = 30.0
    returned_at: float | None = None
    read_bytes = 0

    def __init__(self, source: str = "queue://one", messages: Iterable[Message] = ()) -> None:
        self.source = source
        self.waiting = list(messages)
        self.acked: list[str] = []
        self.back: list[str] = []
        self.kept: list[str] = []
        self.trouble: Exception | None = None

    async def read(self, most: int) -> list[Message]:
        if self.trouble:
            raise self.trouble
        found, self.waiting = self.waiting[:most], self.waiting[most:]
        if not found:
            await asyncio.sleep(0.005)
        return found

    async def ack(self, messages: Iterable[Message]) -> None:
        if self.trouble:
            raise self.trouble
        self.acked += [message.id for message in messages]

    async def requeue(self, messages: Iterable[Message], delay: float = 0.0) -> None:
        if self.trouble:
            raise self.trouble
        self.back += [message.id for message in messages]

    async def keep(self, messages: Iterable[Message]) -> None:
        self.kept += [message.id for message in messages]

    async def lag(self) -> int | None:
        return 0

    async def left_since(self, seconds: float) -> bool:
        return False


class FakeDeadLetter:
    def __init__(self) -> None:
        self.put_in: list[tuple[bytes, Mapping[str, object]]] = []
        self.refused: set[bytes] = set()
        self.away = False

    async def put(self, line: bytes, reason: Mapping[str, object], identity: str | None = None) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise QueueLost("away")
        if line in self.refused:
            raise QueueError("too large")
        self.put_in.append((line, reason))

    async def aclose(self) -> None: ...


def message(number: int, data: bytes | None = None) -> Message:
    line = LINE % (number, REST) if data is None else data
    return Message(source="queue://one", id=f"m{number}", data=line, deliveries=1, handle=None)


def unacked(queue: Any, number: int, since: float = 0.0) -> UnackedMessage:
    return UnackedMessage(queue, message(number), since)


async def until(what: Any) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.005)
