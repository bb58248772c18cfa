"""Reporting webhooks: what happens to deliveries is posted to a URL, signed, in any order, some of it twice.

See docs/api.md, "Reporting webhooks".
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from sender.sandbox.deliveries import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sender.sandbox.deliveries import Delivery
    from sender.sandbox.sandbox_options import Options

CONNECTIONS: Final = 8
WITHIN: Final = 4.0
"""Seconds in which a webhook has to be acknowledged."""
AGAIN_AFTER: Final = 1.0
"""Seconds before the first further try, doubled each time; the API itself may wait an hour."""
MOST_WAIT: Final = 60.0
LOOK_EVERY: Final = 0.05
VERSION: Final = "v0"


@dataclass(frozen=True, slots=True, order=True)
class _Post:
    """One event on its way."""

    due: float
    number: int
    body: bytes
    tries: int = 0


class Webhooks:
    """Posts events when they are due, until each is acknowledged."""

    def __init__(self, options: Options, random: Random, now: Callable[[], float]) -> None:
        self._url = urlsplit(options.webhook)
        self._key = options.webhook_key.encode()
        self._repeats = options.webhook_repeats
        encrypted = self._url.scheme == "https"
        self._tls = ssl.create_default_context(cafile=options.webhook_ca or None) if encrypted else None
        self._random = random
        self._now = now
        self._waiting: list[_Post] = []
        self._numbers = count()
        self._tasks: list[asyncio.Task[None]] = []
        self.figures = {"posted": 0, "acknowledged": 0, "refused": 0}

    @property
    def waiting(self) -> int:
        """Events that are not acknowledged yet, those that are still to happen too."""
        return self.figures["posted"] - self.figures["acknowledged"] - self.figures["refused"] + len(self._waiting)

    def accepted(self, delivery: Delivery) -> None:
        """Post all that will happen to it."""
        for event in delivery.events:
            body = orjson.dumps(_document(delivery, event.metric, event.at, event.reason, self._random))
            for _ in range(2 if self._random.random() < self._repeats else 1):
                due = event.at + self._random.random() / 2  # so that later ones may come first
                heappush(self._waiting, _Post(due, next(self._numbers), body))

    def start(self) -> None:
        """Begin to post; needs a running loop."""
        self._tasks = [asyncio.get_running_loop().create_task(self._work()) for _ in range(CONNECTIONS)]

    def close(self) -> None:
        """End at once."""
        for task in self._tasks:
            task.cancel()

    def forget(self) -> None:
        """Post nothing of what waits."""
        self._waiting.clear()
        self.figures = dict.fromkeys(self.figures, 0)

    async def _work(self) -> None:
        connection = _Connection(self._url.hostname or "", self._port(), self._tls)
        try:
            while True:
                if not self._waiting or self._waiting[0].due > self._now():
                    await asyncio.sleep(LOOK_EVERY)
                    continue
                post = heappop(self._waiting)
                self.figures["posted"] += 1
                status = await self._post(connection, post.body)
                if 200 <= status < 300:
                    self.figures["acknowledged"] += 1
                else:
                    self.figures["refused"] += 1
                    wait = min(MOST_WAIT, AGAIN_AFTER * 2**post.tries)
                    heappush(self._waiting, _Post(self._now() + wait, post.number, post.body, post.tries + 1))
        finally:
            connection.drop()

    async def _post(self, connection: _Connection, body: bytes) -> int:
        """The status that it got; 0 where none came."""
        stamp = str(int(self._now()))
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._url.netloc.rpartition('@')[2]}\r\nContent-Type: application/json\r\n"
            f"X-CIO-Timestamp: {stamp}\r\nX-CIO-Signature: {sign(self._key, stamp, body)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(WITHIN):
                return await connection.post(head.encode() + body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            connection.drop()
            return 0

    def _port(self) -> int:
        return self._url.port or (443 if self._tls else 80)


class _Connection:
    """One connection that is kept as long as the receiver keeps it."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._target = host, port
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, request: bytes) -> int:
        """Write it, and read the answer's status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._target, ssl=self._tls)
        reader, writer = self._streams
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        fields = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if fields.get(b"connection", b"").strip() == b"close":
            self.drop()
        return int(lines[0].split()[1])

    def drop(self) -> None:
        """Let go of it."""
        if self._streams is not None:
            with suppress(OSError, RuntimeError):
                self._streams[1].close()
            self._streams = None


def sign(key: bytes, stamp: str, body: bytes) -> str:
    """The signature of a body at that time."""
    return hmac.new(key, f"{VERSION}:{stamp}:".encode() + body, sha256).hexdigest()


def _document(delivery: Delivery, metric: str, at: float, reason: str | None, random: Random) -> dict[str, Any]:
    customer = delivery.customer()
    data: dict[str, Any] = {
        "delivery_id": delivery.id,
        "customer_id": customer["id"] or customer["cio_id"],
        "identifiers": customer,
        "recipient": delivery.recipient,
        "transactional_message_id": delivery.template,
    }
    if delivery.subject is not None:
        data["subject"] = delivery.subject
    if reason is not None:
        data["failure_message"] = reason
    kind = "sms" if TYPES[delivery.kind] == "twilio" else TYPES[delivery.kind]
    return {
        "event_id": f"{random.getrandbits(80):020X}", "object_type": kind, "metric": metric, "timestamp": int(at),
        "data": data,
    }
