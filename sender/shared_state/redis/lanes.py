"""The RedisLanes of a workspace: a hash for each (`lane.lua`, `reserve.lua`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.shared_state.state_server import Grant, Holders, LaneTable, Look

if TYPE_CHECKING:
    from sender.engine.pacing.pace import Demand
    from sender.shared_state.redis.connection import RedisConnection


class RedisLanes(LaneTable):
    """See `LaneTable`."""

    def __init__(self, connection: RedisConnection) -> None:
        self._call = connection.call

    async def ask(self, lane: str, *what: Any, patient: bool = True) -> Look:
        limit, window, held, now = await self._call("lane", lane, *what, patient=patient)
        return Look(float(limit), float(window), bool(held == b"1"), float(now))

    async def reserve(
        self, owner: int, lane: str, wants: Demand, *, widened: int, share: float, lead: int, owed: int, urgent: int
    ) -> Grant | None:
        answer = await self._call("reserve", owner, lane, *wants, widened, share, lead, owed, urgent, patient=False)
        return None if len(answer) == 2 else Grant(*map(float, answer))

    async def divide(
        self, owner: int, lane: str, version: int, division: bytes | None, *, parts: bool, care: int
    ) -> Holders | None:
        answer = await self._call("divide", owner, lane, version, division or b"", int(parts), care, patient=False)
        if len(answer) == 2:
            return None
        now, new, text, begins, floor, limit, window, held, paused, unsettled, most, replicas, heard = answer
        instants = dict(zip(map(int, heard[::2]), map(float, heard[1::2]), strict=True))
        return Holders(float(now), int(new), text, float(begins), float(floor), int(limit), float(window), held == b"1",
                       float(paused), float(unsettled), float(most), int(replicas), instants)
