"""The RedisJobs of a workspace: jobs, outcome lines, notes and owners.

A job is a hash. It is claimed by an owner; what a dead one left handed over is taken by exactly one other, and is in
doubt. Finished identities are forgotten after `keep`, jobs in doubt and handed-over ones never. `count` counts what was
recorded, forgotten or not. Outcome lines wait in a list of their owner's until they are logged; a dead owner's are
taken over. How durable it all is depends on the server, see `sender.shared_state.redis.server_settings`.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final

from sender.ledger import Doubt
from sender.shared_state.redis.records import STATES, batches, final_fields, job_records, rows, seen_as
from sender.shared_state.state_server import JobTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.ledger import FinalRecord, HandOverRecord, JobRecord
    from sender.shared_state.redis.connection import RedisConnection

DAY: Final = 86400


class RedisJobs(JobTable):
    """See `JobTable`; each method is a script, of as many jobs at once as a server should stand still for."""

    together = None

    def __init__(self, connection: RedisConnection, keep: float) -> None:
        self._call = connection.call
        self._keep = max(1, int(keep * 1000))

    async def join(self) -> int:
        return int(await self._call("join"))

    async def beat(self, owner: int, *, patient: bool = False) -> None:
        await self._call("beat", owner, patient=patient)

    async def leave(self, owner: int) -> None:
        await self._call("leave", owner)

    async def told(self, owner: int) -> tuple[int, bool]:
        left, waits = await self._call("told", owner)
        return int(left), bool(waits)

    async def owners(self) -> list[tuple[int, int, int]]:
        return [(int(number), int(seen), int(jobs)) for number, seen, jobs in await self._call("replicas")]

    async def bind(self, name: str, value: str) -> str:
        found: bytes = await self._call("bind", name, value)
        return found.decode()

    async def find(self, owner: int, keys: Sequence[str]) -> dict[str, JobRecord]:
        found: dict[str, JobRecord] = {}
        for batch in batches(keys):
            found.update(job_records(await self._call("find", owner, *batch)))
        return found

    async def hand_over(
        self, owner: int, records: Sequence[HandOverRecord], seen: Mapping[str, JobRecord]
    ) -> dict[str, JobRecord]:
        refused: dict[str, JobRecord] = {}
        for batch in batches(records):
            jobs = ((one.key, one.content, one.detail, seen_as(seen.get(one.key))) for one in batch)
            fields = [field for job in jobs for field in job]
            refused.update(job_records(await self._call("hand_over", owner, *fields, lasting=True)))
        return refused

    async def release(self, owner: int, keys: Sequence[str]) -> None:
        for batch in batches(keys):
            await self._call("release", owner, self._keep, *batch)

    async def finish(self, owner: int, records: Sequence[FinalRecord], logged: int) -> int:
        last, day = 0, int(time() // DAY)
        for batch in batches(records):
            fields = [field for record in batch for field in final_fields(record)]
            last = int(await self._call("finish", owner, self._keep, logged, day, *fields, lasting=True))
        return last

    async def outbox(self, owner: int, logged: int) -> tuple[int, list[bytes]]:
        last, lines = await self._call("outbox", owner, logged)
        return int(last), list(lines)

    async def take(self, owner: int, most: int) -> int:
        return int(await self._call("take", owner, most))

    async def doubts(self, owner: int, *, taken: bool, after: str, most: int) -> list[Doubt]:
        letter = "h" if taken else "d"
        found = await self._call("doubts", owner, letter, after, most)
        return [
            Doubt(key.decode(), content.decode(), STATES[letter.encode()], detail, resendable != b"0")
            for key, content, detail, resendable in rows(found, 4)
        ]

    async def known_results(self, results: Sequence[str]) -> set[str]:
        today = int(time() // DAY)
        first = today - self._keep // (DAY * 1000) - 1
        known: set[str] = set()
        for batch in batches(results):
            known.update(found.decode() for found in await self._call("results", first, today + 1, *batch))
        return known

    async def count(self) -> dict[str, int]:
        counts = rows(await self._call("count"), 2)
        return {STATES[state]: int(number) for state, number in counts if int(number) > 0}

    async def get_note(self, name: str) -> bytes | None:
        value: bytes | None = await self._call("note", "get", name)
        return value

    async def put_note(self, name: str, value: bytes) -> None:
        await self._call("note", "put", name, "", b"1" + value, lasting=True)

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        values = [b"0" if value is None else b"1" + value for value in (expected, new)]
        return bool(await self._call("note", "swap", name, *values, lasting=True))
