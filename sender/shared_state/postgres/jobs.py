"""The PostgresJobs of a workspace: jobs, outcome lines, notes and owners.

A job that is handed over is a row of a small table, one that has ended a row of the large one. It is claimed by an
owner; what a dead one left handed over is taken by exactly one other, and is in doubt. Finished identities are
forgotten after `keep`, jobs in doubt and handed-over ones never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.errors import OutputError, StateLost
from sender.ledger import Doubt, JobRecord
from sender.ledger.record_detail import error_of
from sender.queues.postgres_server import storable
from sender.shared_state.state_connection import Away
from sender.shared_state.state_server import JobTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sender.ledger import FinalRecord, HandOverRecord, State
    from sender.queues import StatementPart
    from sender.shared_state.postgres.connection import PostgresConnection

BATCH: Final = 1000
"""Jobs in one call, so that it ends in time."""
FINISH: Final = "bigint text[] text[] text[] boolean[] text[] bytea[] bytea[] bigint bigint"

log = structlog.get_logger()


class PostgresJobs(JobTable):
    """See `JobTable`; each method is a function of `schema.sql`."""

    def __init__(self, connection: PostgresConnection, keep: float) -> None:
        self.together: Callable[[Sequence[FinalRecord]], StatementPart | None] | None = None
        self._call = connection.call
        self._keep = max(1, int(keep * 1e6))

    async def join(self) -> int:
        return int(await self._value("join_owners"))

    async def beat(self, owner: int, *, patient: bool = False) -> None:
        await self._call("beat", owner, types="bigint", patient=patient)

    async def leave(self, owner: int) -> None:
        await self._call("leave_owners", owner, types="bigint")

    async def told(self, owner: int) -> tuple[int, bool]:
        ((left, waits),) = await self._call("told", owner, types="bigint")
        return left, waits

    async def owners(self) -> list[tuple[int, int, int]]:
        return [(number, seen, jobs) for number, seen, jobs in await self._call("list_owners")]

    async def bind(self, name: str, value: str) -> str:
        return str(await self._value("bind", name, value, types="text text"))

    async def find(self, owner: int, keys: Sequence[str]) -> dict[str, JobRecord]:
        found: dict[str, JobRecord] = {}
        for batch in _batches(keys):
            found.update(_records(await self._call("find", owner, list(batch), types="bigint text[]")))
        return found

    async def hand_over(
        self, owner: int, records: Sequence[HandOverRecord], seen: Mapping[str, JobRecord]
    ) -> dict[str, JobRecord]:
        refused: dict[str, JobRecord] = {}
        for batch in _batches(list({record.key: record for record in records}.values())):
            known = [seen.get(one.key) for one in batch]
            columns = (
                [one.key for one in batch], [one.content for one in batch], [one.detail for one in batch],
                ["" if one is None else f"{one.state} {one.run}" for one in known],
            )
            rows = await self._call("hand_over", owner, *columns, types="bigint text[] text[] bytea[] text[]")
            refused.update(_records(rows))
        return refused

    async def release(self, owner: int, keys: Sequence[str]) -> None:
        for batch in _batches(keys):
            await self._call("release", owner, list(batch), types="bigint text[]")

    async def finish(self, owner: int, records: Sequence[FinalRecord], logged: int) -> int:
        last = 0
        for batch in _batches(records):
            arguments = (owner, *_columns(batch), logged, self._keep)
            part = None if self.together is None else self.together(batch)
            rows = None if part is None else await self._finish_with(part, arguments)
            last = (rows or await self._call("finish", *arguments, types=FINISH))[0][0]
        return last

    async def _finish_with(self, part: StatementPart, arguments: Sequence[Any]) -> list[Any] | None:
        """In one statement; None when that cannot be done now, since the ends themselves have to be kept anyway."""
        try:
            rows = await self._call("finish", *arguments, types=FINISH, patient=False, also=part)
        except StateLost:
            raise
        except Away:
            return None
        except OutputError as error:
            log.warning("messages do not go in the transaction of their end, but after it", error=str(error))
            self.together = None
            return None
        part.done()
        return rows

    async def outbox(self, owner: int, logged: int) -> tuple[int, list[bytes]]:
        rows = await self._call("waiting_lines", owner, logged, types="bigint bigint")
        return (rows[-1][0] if rows else 0), [line for _, line in rows]

    async def take(self, owner: int, most: int) -> int:
        return int(await self._value("take", owner, most, types="bigint bigint"))

    async def doubts(self, owner: int, *, taken: bool, after: str, most: int) -> list[Doubt]:
        rows = await self._call("doubts", owner, taken, after, most, types="bigint boolean text bigint")
        state: State = "handed_over" if taken else "in_doubt"
        return [Doubt(key, content, state, detail or b"{}", again) for key, content, detail, again in rows]

    async def known_results(self, results: Sequence[str]) -> set[str]:
        known: set[str] = set()
        for batch in _batches(results):
            rows = await self._call("known_results", list(map(storable, batch)), types="text[]")
            known.update(row[0] for row in rows)
        return known

    async def count(self) -> dict[str, int]:
        return {state: int(number) for state, number in await self._call("count_jobs")}

    async def get_note(self, name: str) -> bytes | None:
        value: bytes | None = await self._value("get_note", name, types="text")
        return value

    async def put_note(self, name: str, value: bytes) -> None:
        await self._call("put_note", name, value, types="text bytea")

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        return bool(await self._value("swap_note", name, expected, new, types="text bytea bytea"))

    async def _value(self, function: str, *arguments: Any, types: str = "") -> Any:
        return (await self._call(function, *arguments, types=types))[0][0]


def _columns(batch: Sequence[FinalRecord]) -> tuple[list[Any], ...]:
    """The arguments of `finish`: the last end of each key, what is known of its result, and the lines of all."""
    ends: dict[str, FinalRecord] = {}
    for record in batch:
        before = ends.get(record.key)
        ends[record.key] = record if before is None else record._replace(result=record.result or before.result)
    ordered = [ends[key] for key in sorted(ends)]
    results = [None if one.result is None else storable(one.result) for one in ordered]
    return (
        [one.key for one in ordered], [one.content for one in ordered], [one.state for one in ordered],
        [one.resendable for one in ordered], results, [one.detail for one in ordered], [one.line for one in batch],
    )


def _records(rows: Sequence[Any]) -> dict[str, JobRecord]:
    return {
        key: JobRecord(state, content, run, resendable, elsewhere, result, error_of(detail))
        for key, state, content, run, resendable, elsewhere, result, detail in rows
    }


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
