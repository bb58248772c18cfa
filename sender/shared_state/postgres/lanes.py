"""The PostgresLanes of a workspace: a row for each (`lane` and `reserve` in `schema.sql`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sender.shared_state.state_server import Grant, Holders, LaneTable, Look

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

    async def divide(
        self, owner: int, lane: str, version: int, division: bytes | None, *, parts: bool, care: int
    ) -> Holders | None:
        text = None if division is None else division.decode()
        (row,) = await self._call(
            "divide", owner, lane, version, text, parts, care,
            types="bigint text bigint text boolean float8", patient=False,
        )
        if row[1] is None:
            return None
        holders = Holders(*row)
        heard = {int(owner): float(at) for owner, at in orjson.loads(row[12]).items()}
        return holders._replace(division=row[2].encode(), heard=heard)
