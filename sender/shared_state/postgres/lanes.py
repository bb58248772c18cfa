"""The PostgresLanes of a workspace: a row for each (`lane` and `reserve` in `schema.sql`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.shared_state.state_server import Grant, LaneTable, Look

if TYPE_CHECKING:
    from sender.engine.pacing.pace import Demand
    from sender.shared_state.postgres.connection import PostgresConnection


class PostgresLanes(LaneTable):
    """See `LaneTable`."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._call = connection.call

    async def ask(self, lane: str, *what: Any, patient: bool = True) -> Look:
        asked, *arguments = map(str, what)
        (row,) = await self._call("lane", lane, asked, arguments, types="text text text[]", patient=patient)
        return Look(*row)

    async def reserve(
        self, owner: int, lane: str, wants: Demand, *, widened: int, share: float, lead: int, owed: int, urgent: int
    ) -> Grant | None:
        (row,) = await self._call(
            "reserve", owner, lane, list(wants), widened, share, lead, owed, urgent,
            types="bigint text bigint[] bigint float8 bigint bigint integer", patient=False,
        )
        return None if row[1] is None else Grant(*map(float, row))
