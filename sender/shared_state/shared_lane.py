"""A SharedLane is one lane as the server keeps it for all replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sender.engine.pacing.pace import window_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.pace import Demand
    from sender.shared_state.server_clock import ServerClock
    from sender.shared_state.state_server import Grant, Holders, StateServer

LOOKS: Final = (("look",),) * 5
"""What a new replica asks, to know the server's clock well from its first slot on."""


class SharedLane:
    """Speaks for one replica, whose number as an owner is `owner()`; every call may raise StateLost or OutputError.

    Who `joins` takes the rate as it is, and brings its own only where nobody has been.
    """

    def __init__(
        self, server: StateServer, owner: Callable[[], int], name: str, rate: float, *, joins: bool = False
    ) -> None:
        self.name = name
        self.rate = rate
        """Requests per second, as configured."""
        self._connection = server.connection
        self._lanes = server.lanes
        self._owner = owner
        self._joins = joins
        self._epoch = ""

    @property
    def away(self) -> bool:
        """Whether the server does not answer just now."""
        return self._connection.away_since is not None

    @property
    def declared(self) -> bool:
        """Whether the server knows this lane in its present epoch."""
        return self._epoch == self._connection.token

    async def declare(self, clock: ServerClock) -> None:
        """Join the lane in this epoch, and learn the server's clock from the answers; Away without an answer."""
        epoch = self._connection.token
        limit, window = window_of(self.rate)
        declaration = ("declare", "" if self._joins else self.rate, limit, int(window * 1e6))
        loop = asyncio.get_running_loop()
        for what in (declaration, *LOOKS):
            sent = loop.time()
            look = await self._lanes.ask(self.name, *what, patient=False)
            clock.learn(sent, loop.time(), look.now / 1e6)
        self._epoch = epoch

    async def look(self, clock: ServerClock) -> bool:
        """Learn the server's clock anew; False when one of the two has jumped. Away without an answer."""
        loop = asyncio.get_running_loop()
        sent = loop.time()
        look = await self._lanes.ask(self.name, "look", patient=False)
        return clock.learn(sent, loop.time(), look.now / 1e6)

    async def reserve(
        self, wants: Demand, widened: float, share: float, lead: float, owed: float, *, urgent: int = 0
    ) -> Grant | None:
        """Ask for slots; in seconds and a part of the limit. None: the lane has to be declared. Away: no answer.

        An `urgent` call is given the next slot of the line, whatever the API asked the lane to wait (1), and though an
        operator paused it (2).
        """
        grant = await self._lanes.reserve(
            self._owner(), self.name, wants, widened=int(widened * 1e6), share=share, lead=int(lead * 1e6),
            owed=int(owed * 1e6), urgent=urgent,
        )
        if grant is None:
            self._epoch = ""
        return grant

    async def divide(self, version: int, division: bytes | None, *, parts: bool, care: float) -> Holders | None:
        """See `LaneTable.divide`; in seconds. None: the lane has to be declared. Away: no answer."""
        holders = await self._lanes.divide(
            self._owner(), self.name, version, division, parts=parts, care=int(care * 1e6)
        )
        if holders is None:
            self._epoch = ""
        return holders

    @property
    def owner(self) -> int:
        """This replica's number."""
        return self._owner()

    async def held(self) -> bool:
        """Whether an operator paused the lane; Away without an answer."""
        return (await self._lanes.ask(self.name, "look", patient=False)).held

    async def tell(self, *what: Any) -> None:
        """Change the lane for all replicas; waits until the server answers."""
        await self._lanes.ask(self.name, *what)
