"""The HealthServer: is it alive, is it ready, and what are its figures, over HTTP (docs/operations.md).

    GET /livez    200 as long as the loop turns; a loop that is stuck answers nothing, and the probe times out
    GET /readyz   200 or 503 and the conditions as JSON
    GET /metrics  the figures, where somebody renders them

One request a connection, GET and HEAD only, few bytes, little time, few connections: the oldest one makes room for a
newcomer, so that nobody who holds connections open keeps the probes out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, Self

from sender.errors import UsageError
from sender.runtime.bounded_server import BACKLOG, BoundedServer, answer, plain, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from sender.runtime.conditions import Conditions

MOST_CONNECTIONS: Final = 128
MOST_PORT: Final = 65535
ALL: Final = "0.0.0.0"  # noqa: S104 - a probe comes from outside of the pod


class Rendering(Protocol):
    """Renders the figures."""

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, text)."""


class HealthServer:
    """Answers probes and scrapes; made by `open`, ended by `aclose`."""

    def __init__(self, conditions: Conditions, metrics: Rendering | None = None) -> None:
        self._conditions = conditions
        self._metrics = metrics
        self._connections = BoundedServer(self._answer, most=MOST_CONNECTIONS)
        self._listener: asyncio.Server | None = None

    @classmethod
    async def open(
        cls, conditions: Conditions, port: int, host: str = ALL, *, metrics: Rendering | None = None
    ) -> Self:
        """Listen; `host` may name several addresses, parted by commas (`0.0.0.0,::`). UsageError if it cannot."""
        self = cls(conditions, metrics)
        if not 0 <= port <= MOST_PORT:
            raise UsageError(f"--health-port: {port} is no port; ports end at {MOST_PORT}")
        hosts = [one.strip().strip("[]") for one in host.split(",")]
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._connections, hosts, port, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(f"--health-port: cannot listen on {host} port {port}: {error.strerror or error}") from None
        return self

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return [one.getsockname()[:2] for one in sockets]

    @property
    def connections(self) -> Sequence[web.RequestHandler]:
        """Those that are open."""
        return tuple(self._connections.open)

    async def aclose(self) -> None:
        """Stop listening and let go of all connections."""
        if self._listener is None:
            return
        self._listener.close()
        await self._connections.abort()
        await self._listener.wait_closed()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if (refusal := refused(request, "GET", "HEAD")) is not None:
            return refusal
        if request.path == "/livez":
            return answer(200, "text/plain; charset=utf-8", b"ok\n")
        if request.path == "/readyz":
            return answer(200 if self._conditions.ready else 503, "application/json", self._conditions.report())
        if request.path == "/metrics" and self._metrics is not None:
            return answer(200, *await self._metrics.render(request.headers.get("Accept", "")))
        return plain(404)
