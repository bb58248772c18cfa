"""A shop that writes orders and their receipts into one PostgreSQL, and replicas that send from its outbox."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from sender.outbox import enqueue
from sender.outbox.outbox_table import OutboxTable
from sender.outbox.schema import create
from tests.support.databases import PostgresServer, find
from tests.support.fleet import Consumer, until
from tests.support.processes import email, running_sandbox
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.processes import Sandbox

TABLE = OutboxTable.named("sender_outbox")
WRITERS = 8
MOST_IN_ONE = 3
"""Orders in one transaction."""
ROLLED_BACK = 1 / 3


@dataclass
class Books:
    """What the shop committed, what the API accepted, and what stands beside each order."""

    committed: set[int]
    accepted: Counter[int]
    statuses: dict[int, str]
    letters: set[int]
    """Of jobs in doubt."""
    without_id: set[int]
    """Orders whose receipt stands as sent, by no delivery that anybody could name."""
    most: int
    """Most requests in any second."""

    @property
    def lost(self) -> set[int]:
        return self.committed - set(self.accepted) - self.letters

    @property
    def twice(self) -> set[int]:
        return {number for number, times in self.accepted.items() if times > 1}

    @property
    def never_committed(self) -> set[int]:
        return set(self.accepted) - self.committed

    @property
    def told_wrong(self) -> set[int]:
        """Orders whose status is not what the API knows: a job in doubt may have been accepted or not."""
        known = {number for number, status in self.statuses.items() if status == "sent"}
        return (known ^ set(self.accepted)) - self.letters


class OutboxFleet:
    """PostgreSQL as the queue, a state in Redis or in the same PostgreSQL, a sandbox, and consumers."""

    def __init__(self, folder: Path, *sandbox_arguments: str, state: str = "redis", rate: float = 100.0) -> None:
        self.folder, self.rate = folder, rate
        self._stack = ExitStack()
        self._names = count()
        self.consumers: list[Consumer] = []
        self.server = PostgresServer()
        self._stack.callback(self.server.stop)
        self.server.start()
        orders = "CREATE TABLE orders (number integer, receipt bigint);"
        self.server.do(create(TABLE, 7) + create(TABLE.part("dead"), 0) + orders)
        self.state_url = self._state(state)
        self.sandbox: Sandbox = self._stack.enter_context(running_sandbox(*sandbox_arguments))

    def _state(self, kind: str) -> str:
        if kind == "postgres":
            return self.server.url
        folder = self.folder / "state"
        folder.mkdir()
        server = RedisServer(folder).start()
        self._stack.callback(server.stop)
        return server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.consumers:
            one.kill()
        self._stack.close()

    def start(self, *arguments: str) -> Consumer:
        name = f"consumer-{next(self._names)}"
        consumer = Consumer(
            self.folder, name, f"{self.server.url}?table={TABLE}", "--state", self.state_url, "--dead-letter",
            f"{self.server.url}?table={TABLE}_dead", "--outcomes", f"{name}.jsonl", "--base-url", self.sandbox.url,
            "--rate", str(self.rate), "--log-format", "json", *arguments,
        )
        self.consumers.append(consumer)
        return consumer

    def until(self, what: Callable[[], Any], seconds: float = 60.0) -> None:
        until(what, seconds, lambda: [one.told[-3000:] for one in self.consumers])

    @property
    def arrived(self) -> int:
        return int(self.sandbox.lanes["send"]["arrived"])

    @property
    def open(self) -> int:
        """Rows without an end; as if there were some while the server is away."""
        found = self.ask(f"SELECT count(*) FROM {TABLE} WHERE slot = 0")
        return int(found) if found else -1

    def ask(self, sql: str) -> str:
        command = [find("psql", "postgresql"), self.server.url, "-qAt", "-c", sql]
        return subprocess.run(command, capture_output=True, check=False).stdout.decode().strip()

    def write_orders(self, first: int, end: int, seed: int = 1, pause: float = 0.0) -> None:
        """Orders with their receipts, by several writers at once, each with a pause after each transaction; a third of
        the transactions roll back."""
        asyncio.run(_write_orders(self.server.url, range(first, end), seed, pause))

    def stamps(self) -> list[float]:
        rows = self.sandbox.get("stats?arrivals=1")["arrivals"]
        return sorted(row["at_ns"] / 1e9 for row in rows if row["lane"] == "send")

    def books(self) -> Books:
        committed = {int(line) for line in self.ask("SELECT number FROM orders").splitlines()}
        statuses = dict(line.split("|") for line in self.ask(
            f"SELECT number, status FROM orders JOIN {TABLE} ON id = receipt").splitlines())
        letters = self.ask(f"SELECT reason ->> 'id' FROM {TABLE}_dead WHERE reason ->> 'reason' = 'in_doubt'")
        return Books(
            committed, Counter(self.sandbox.numbers()), {int(number): status for number, status in statuses.items()},
            {int(name.removeprefix("job-")) for name in letters.splitlines()}, self._without_id(),
            int(self.sandbox.lanes["send"]["max_in_window"]),
        )

    def _without_id(self) -> set[int]:
        found = self.ask(f"SELECT number FROM orders JOIN {TABLE} ON id = receipt WHERE status = 'sent' AND "
                         "delivery_id IS NULL")
        return {int(line) for line in found.splitlines()}

    def end_all(self) -> list[int]:
        """Drain those that live; their exit statuses."""
        return [one.end() for one in self.consumers if one.process.poll() is None]


async def _write_orders(url: str, orders: range, seed: int, pause: float) -> None:
    numbers = iter(orders)
    await asyncio.gather(*(_write(url, numbers, random.Random(f"{seed} {one}"), pause) for one in range(WRITERS)))


async def _write(url: str, numbers: Any, chance: random.Random, pause: float) -> None:
    """One writer; a transaction that broke is not written again, whether it was committed or not."""
    connection: Any = None
    while found := [number for _, number in zip(range(chance.randint(1, MOST_IN_ONE)), numbers, strict=False)]:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            if connection is None or connection.is_closed():
                connection = await asyncpg.connect(url)
            await _transaction(connection, found, rolls_back=chance.random() < ROLLED_BACK)
            await asyncio.sleep(pause)
            continue
        await asyncio.sleep(0.05)
    if connection is not None:
        await connection.close()


async def _transaction(connection: Any, numbers: list[int], *, rolls_back: bool) -> None:
    transaction = connection.transaction()
    await transaction.start()
    for number in numbers:
        receipt = await enqueue(connection, email(number))
        await connection.execute("INSERT INTO orders VALUES ($1, $2)", number, receipt)
    await (transaction.rollback() if rolls_back else transaction.commit())


def reached(stamps: list[float], rate: float, seconds: float) -> float:
    """The share of the limit that the best undisturbed stretch of so many seconds held."""
    best, first = 0, 0
    for last, stamp in enumerate(stamps):
        while stamp - stamps[first] >= seconds:
            first += 1
        best = max(best, last - first + 1)
    return best / (rate * seconds)
