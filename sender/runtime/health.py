"""Health: is it alive, is it ready, and what are its figures, over a tiny HTTP server (docs/operations.md, "Health").

    GET /livez    200 as long as the loop turns; a loop that is stuck answers nothing, and the probe times out
    GET /readyz   200 or 503 and the conditions as JSON; told by what the parts saw, the API is never called
    GET /metrics  the figures, where somebody renders them

One request a connection, GET and HEAD only, few bytes, little time, few connections: the oldest one makes room for a
newcomer, so that nobody who holds connections open keeps the probes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

import orjson
import structlog

from sender.errors import UsageError
from sender.jobs.masking import mask_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_HEAD: Final = 8192
"""Bytes of a request's head."""
WITHIN: Final = 5.0
"""Seconds for a whole request, from its connection to its last byte."""
MOST_CONNECTIONS: Final = 128
MOST_LEFT: Final = 65536
"""Bytes that are read and dropped after the answer, so that the client gets it before the connection ends."""
BACKLOG: Final = 256
MOST_PORT: Final = 65535
ALL: Final = "0.0.0.0"  # noqa: S104 - a probe comes from outside of the pod
REASONS: Final = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
TEXT: Final = "text/plain; charset=utf-8"

Check = Callable[[], str | None]
"""Why a condition is not met; None when it is."""

log = structlog.get_logger()


class Conditions:
    """What must be true before a replica is ready, each by a name: set by the parts, or read of them when asked."""

    def __init__(self, *names: str) -> None:
        self._unmet: dict[str, str | None] = dict.fromkeys(names, "not yet known")
        self._watched: dict[str, Check] = {}

    def meet(self, name: str) -> None:
        """This condition is met from now on."""
        self._unmet[name] = None

    def miss(self, name: str, reason: str) -> None:
        """This condition is not met, for a reason that holds no secret."""
        self._unmet[name] = mask_credentials(reason)

    def watch(self, name: str, check: Check) -> None:
        """This condition is met while `check` gives no reason why not; it only looks at what is known already."""
        self._watched[name] = check

    def drop(self, name: str) -> None:
        """This condition matters no more."""
        self._unmet.pop(name, None)
        self._watched.pop(name, None)

    @property
    def ready(self) -> bool:
        """Whether all are met."""
        return not any(self._reasons().values())

    def met(self) -> dict[str, bool]:
        """Each by its name."""
        return {name: not reason for name, reason in self._reasons().items()}

    def report(self) -> bytes:
        """As JSON: `ready`, and of each condition whether it is met or why not."""
        reasons = self._reasons()
        shown = {
            name: {"met": False, "reason": reason} if reason else {"met": True} for name, reason in reasons.items()
        }
        return orjson.dumps({"ready": not any(reasons.values()), "conditions": shown}) + b"\n"

    def _reasons(self) -> dict[str, str | None]:
        return {**self._unmet, **{name: _checked(check) for name, check in self._watched.items()}}


def _checked(check: Check) -> str | None:
    try:
        reason = check()
    except Exception as error:  # noqa: BLE001 - a part that cannot even be looked at is no reason to seem dead
        return f"it cannot be told: {type(error).__name__}"
    return None if reason is None else mask_credentials(reason)


class Exposing(Protocol):
    """Renders the figures."""

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, text)."""


class Answer(NamedTuple):
    """A whole answer, but for its head."""

    status: int
    content_type: str
    body: bytes


class HealthServer:
    """Answers probes and scrapes; made by `open`, ended by `aclose`."""

    def __init__(self, conditions: Conditions, metrics: Exposing | None = None) -> None:
        self._conditions = conditions
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], None] = {}

    @classmethod
    async def open(
        cls,
        conditions: Conditions,
        port: int,
        host: str = ALL,
        *,
        metrics: Exposing | None = None,
    ) -> Self:
        """Listen; `host` may name several addresses, parted by commas (`0.0.0.0,::`). UsageError if it cannot."""
        self = cls(conditions, metrics)
        if not 0 <= port <= MOST_PORT:
            raise UsageError(f"--health-port: {port} is no port; ports end at {MOST_PORT}")
        hosts = [one.strip().strip("[]") for one in host.split(",")]
        try:
            self._server = await asyncio.start_server(self._connected, hosts, port, limit=MOST_HEAD, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(f"--health-port: cannot listen on {host} port {port}: {error.strerror or error}") from None
        return self

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        sockets = self._server.sockets if self._server is not None else ()
        return [one.getsockname()[:2] for one in sockets]

    async def aclose(self) -> None:
        """Stop listening and let go of all connections."""
        if self._server is None:
            return
        self._server.close()
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = None
        task.add_done_callback(lambda done: self._disconnected(done, writer))

    def _disconnected(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._connections.pop(task, None)
        writer.transport.abort()  # here and not in the task: one that is cancelled before it began cleans nothing up

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last; whatever breaks on it is its own affair."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(WITHIN):
                await self._exchange(reader, writer)
                writer.close()
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head, answer = b"", _plain(431)
        else:
            answer = await self._answer(head)
        writer.write(_encode(answer, with_body=not head.startswith(b"HEAD ")))
        await writer.drain()
        with suppress(OSError):
            writer.write_eof()
        await _read_out(reader)

    async def _answer(self, head: bytes) -> Answer:
        line, _, rest = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[1].startswith(b"/"):
            return _plain(400)
        method, target, version = words
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            return _plain(505 if version.startswith(b"HTTP/") else 400)
        if method not in (b"GET", b"HEAD"):
            return _plain(405)
        try:
            return await self._route(target.partition(b"?")[0], rest)
        except Exception as error:  # noqa: BLE001 - a probe or scrape that fails must not end the server
            log.warning("the health server could not answer", error=type(error).__name__)
            return _plain(500)

    async def _route(self, path: bytes, headers: bytes) -> Answer:
        if path == b"/livez":
            return Answer(200, TEXT, b"ok\n")
        if path == b"/readyz":
            return Answer(200 if self._conditions.ready else 503, "application/json", self._conditions.report())
        if path == b"/metrics" and self._metrics is not None:
            return Answer(200, *await self._metrics.render(_accept(headers)))
        return _plain(404)


def _plain(status: int) -> Answer:
    return Answer(status, TEXT, f"{REASONS[status]}\n".encode())


def _accept(headers: bytes) -> str:
    """The Accept header, or nothing."""
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return value.strip().decode("latin-1")
    return ""


def _encode(answer: Answer, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"{'Allow: GET, HEAD' + chr(13) + chr(10) if answer.status == 405 else ''}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (answer.body if with_body else b"")


async def _read_out(reader: asyncio.StreamReader) -> None:
    left = MOST_LEFT
    while left > 0 and (data := await reader.read(4096)):
        left -= len(data)
