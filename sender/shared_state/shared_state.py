"""The SharedState of a workspace: its connection, ledger and pacers, opened and closed as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import structlog
from redis.exceptions import RedisError, ResponseError

from sender.errors import StateAway
from sender.shared_state.redis_connection import RedisConnection
from sender.shared_state.redis_ledger import RedisLedger
from sender.shared_state.server_settings import ASKED, examine
from sender.shared_state.shared_lane import SharedLane
from sender.shared_state.shared_pacer import SharedPacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Demand
    from sender.jobs.job import Priority
    from sender.jobs.kinds import LaneName

log = structlog.get_logger()


class SharedState:
    """What the replicas of a workspace have in common; open it with `sender.shared_state.state_url.open_state`."""

    def __init__(self, connection: RedisConnection, ledger: RedisLedger, durability: str) -> None:
        self._connection = connection
        self.ledger = ledger
        self.durability = durability
        """One sentence on what the server's settings promise."""
        self._pacers: list[SharedPacer] = []

    @classmethod
    async def open(
        cls, url: str, tag: str, host: str, *, keep: float, durable: str,
        on_lost: Callable[[BaseException], None] | None,
    ) -> Self:
        """Connect, check, join."""
        connection = await RedisConnection.open(url, tag, host)
        try:
            version = (await _ask(connection, "INFO", "server") or {}).get("redis_version", "7.0")
            finding = examine(version, await _settings(connection), durable=durable, shown=connection.shown)
            connection.wait_for(durable)
            ledger = RedisLedger(connection, keep=keep, on_lost=on_lost)
            await ledger.join()
        except BaseException:
            await connection.close()
            raise
        for warning in finding.warnings:
            log.warning(warning, state=connection.shown)
        log.info("state", url=connection.shown, durability=finding.durability)
        return cls(connection, ledger, finding.durability)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self._connection.shown

    @property
    def reachable(self) -> bool:
        """Whether the server answered when it was last asked."""
        return self._connection.away_since is None

    async def age(self) -> float:
        """Seconds since the state began, by the server's own clock."""
        seconds, microseconds = await _ask(self._connection, "TIME")
        return int(seconds) + int(microseconds) / 1e6 - self.ledger.born

    @property
    def round_trips(self) -> int:
        """Calls made to the server."""
        return self._connection.calls

    @property
    def away_since(self) -> float | None:
        """Loop time since when the server does not answer; None while it does."""
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
        shared = SharedLane(self._connection, lambda: self.ledger.run, lane, rate, joins=joins)
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


async def _ask(connection: RedisConnection, *command: str) -> Any:
    try:
        return await connection.command(*command)
    except ResponseError:
        return None
    except (RedisError, OSError) as error:
        raise StateAway(f"--state {connection.shown} cannot be used: {connection.told(error)}") from None


async def _settings(connection: RedisConnection) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for name in ASKED:
        answer = await _ask(connection, "CONFIG GET", name)
        if answer is None:
            return None
        found |= answer
    return found
