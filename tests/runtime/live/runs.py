"""A run as a live view looks at it, without one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sender.errors import UsageError
from sender.runtime.live.figures import Figures, LaneFigures, Latency, Problem
from sender.runtime.live.live_address import LiveAddress
from sender.runtime.live.live_server import LiveServer
from sender.runtime.live.live_token import LiveToken
from sender.runtime.live.live_view import LiveView
from sender.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TOKEN = "0123456789abcdef-token"
LANE = LaneFigures("", "send", 300, 99.5, 100.0, 100, 0, 12, 88, "closed", 0, 0.0)
FIGURES = Figures(
    "send", total=1000, done=302, left=7.0, counts={"sent": 300, "invalid": 2, "in_doubt": 0}, lanes=[LANE],
    latency=Latency(300, 100.0, 180.0, 210.5, 240.0), problems=[Problem("bad_recipient", "invalid", 2, 1.8e9)],
)


class Run:
    """Source and Controls at once."""

    def __init__(self) -> None:
        self.figures = FIGURES
        self.asked: list[Any] = []
        self.letters: Any = None

    def look(self) -> Figures:
        self.figures = replace(self.figures, lanes=[replace(LANE, requests=self.figures.lanes[0].requests + 100)])
        return self.figures

    async def refresh(self) -> None:
        self.asked.append("refresh")

    async def pause(self, paused: bool) -> None:
        self.asked.append(("pause", paused))

    async def set_rate(self, rate: float) -> None:
        if rate > 100:
            raise UsageError("at most 100 a second")
        self.asked.append(("rate", rate))


class Letters:
    def __init__(self) -> None:
        self.redriven: list[str] = []
        self.repaired: list[tuple[str, str]] = []

    async def look(self, *, personal: bool) -> Sequence[dict[str, Any]]:
        return [{"name": "a1", "code": "api_error", "status": "rejected", "line": "{}" if personal else None}]

    async def redrive(self, names: Sequence[str]) -> str:
        self.redriven += names
        return f"{len(names)} api_error -> queue"

    async def repair(self, name: str, line: str) -> str:
        self.repaired.append((name, line))
        return "1 api_error -> queue"


@asynccontextmanager
async def shown(
    run: Run | None = None, *, token: str = "", host: str = "127.0.0.1", personal: bool = False
) -> AsyncIterator[tuple[LiveServer, LiveView]]:
    """A view with its server, on a free port."""
    run = run or Run()
    view = LiveView("send")
    view.show(run, run)
    secret = LiveToken(token) if token else None
    async with Supervisor() as supervisor:
        server = await LiveServer.open(view, LiveAddress(host, 0), secret, personal=personal)
        supervisor.start(view.run(), "live view", ends=True)
        try:
            yield server, view
        finally:
            view.end("it has ended")
            await server.aclose()
