"""The SharedState of a workspace: its connection, ledger and pacers, opened and closed as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import structlog

from sender.shared_state.shared_lane import SharedLane
from sender.shared_state.shared_ledger import SharedLedger
from sender.shared_state.shared_pacer import SharedPacer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Demand
    from sender.jobs.job import Priority
    from sender.jobs.kinds import LaneName
    from sender.ledger import FinalRecord
    from sender.queues import StatementPart
    from sender.shared_state.state_server import StateServer

log = structlog.get_logger()


class SharedState:
    """What the replicas of a workspace have in common; open it with `sender.shared_state.state_url.open_state`."""

    def __init__(self, server: StateServer, ledger: SharedLedger) -> None:
        self._server = server
        self._connection = server.connection
        self.ledger = ledger
        self.durability = server.durability
        """One sentence on what the server's settings promise."""
        self._pacers: list[SharedPacer] = []

    @classmethod
    async def join(cls, server: StateServer, on_lost: Callable[[BaseException], None] | None) -> Self:
        """Become one of the replicas; a server that cannot be joined is let go of."""
        ledger = SharedLedger(server, on_lost=on_lost)
        try:
            await ledger.join()
        except BaseException:
            await server.connection.close()
            raise
        for warning in server.warnings:
            log.warning(warning, state=server.connection.shown)
        log.info("state", url=server.connection.shown, durability=server.durability)
        return cls(server, ledger)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self._connection.shown

    @property
    def reachable(self) -> bool:
        """Whether the server answered when it was last asked, and kept what it was told."""
        return self._connection.away_since is None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept in it just now; None while it can."""
        return self._connection.trouble

    @property
    def database(self) -> str | None:
        """Names the database, as a `DatabaseQueue` does; None where there can be no queue in it."""
        return self._server.database

    def end_together(self, together: Callable[[Sequence[FinalRecord]], StatementPart | None]) -> None:
        """Have this go into the transaction of ends."""
        self._server.jobs.together = together

    async def age(self) -> float:
        """Seconds since the state began, by the server's own clock."""
        return await self._connection.now() - self.ledger.born

    @property
    def round_trips(self) -> int:
        """Calls made to the server."""
        return self._connection.calls

    @property
    def away_since(self) -> float | None:
        """Loop time since when the server does not answer, or keeps nothing; None while it does."""
        return self._connection.away_since

    def pacer(
        self,
        lane: LaneName,
        rate: float,
        *,
        guard: Guard | None = None,
        demand: Callable[[], Demand] | None = None,
        priority: Priority = "normal",
        joins: bool = False,
    ) -> SharedPacer:
        """This replica's part of a lane's pace; a `rate` configured otherwise than before changes it for all.

        Who `joins` takes the rate as it is, and brings its own only where nobody has been.
        """
        shared = SharedLane(self._server, lambda: self.ledger.run, lane, rate, joins=joins)
        made = SharedPacer(shared, guard=guard, demand=demand, priority=priority)
        self._pacers.append(made)
        return made

    @property
    def settled(self) -> bool:
        """Whether all that a restarted server may have forgotten was said again, as far as anybody can."""
        return self.ledger.settled

    async def rejoin(self) -> None:
        """After StateLost: take the epoch as it is now, as a new owner; waits while the server is away."""
        await self._connection.rejoin()
        await self.ledger.join()

    async def close(self) -> None:
        """Leave in order; what is left handed over may then be taken over at once."""
        for pacer in self._pacers:
            await pacer.aclose()
        await self.ledger.close()
        await self._connection.close()
