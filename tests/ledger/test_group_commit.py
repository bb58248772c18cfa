"""One thread, one connection: what is committed together, in which order, and what a failure means to whom."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import OutputError
from sender.ledger.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Notebook:
    """A table of numbers behind a GroupCommit that can be held up."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "l"
        self.begun: list[bool] = []
        """One entry for each transaction: whether it was open when `before_write` ran."""
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        self.commits = GroupCommit(db, self.path, lambda db: self.begun.append(db.in_transaction))
        self.gate = threading.Event()

    async def hold_up(self) -> asyncio.Future[bool]:
        """Let what is asked from now on wait together, until `gate` is set."""
        entered = threading.Event()

        def wait(_: sqlite3.Connection) -> bool:
            entered.set()
            return self.gate.wait(10)

        waiting = asyncio.ensure_future(self.commits.read(wait))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(entered.wait, 10)
        return waiting

    @staticmethod
    def add(number: int) -> Callable[[sqlite3.Connection], int]:
        def write(db: sqlite3.Connection) -> int:
            db.execute("INSERT INTO numbers VALUES (?)", (number,))
            return number

        return write

    @staticmethod
    def read(db: sqlite3.Connection) -> list[int]:
        return [number for (number,) in db.execute("SELECT n FROM numbers ORDER BY n")]

    def committed(self) -> list[int]:
        """What another process finds."""
        db = sqlite3.connect(self.path)
        try:
            return self.read(db)
        finally:
            db.close()


async def test_what_waits_is_one_transaction_in_the_order_of_asking(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    held = await book.hold_up()
    asked = [
        asyncio.ensure_future(ask) for ask in (
            book.commits.write(book.add(1)), book.commits.read(book.read), book.commits.write(book.add(2)),
            book.commits.read(book.read),
        )
    ]
    await asyncio.sleep(0)
    assert book.committed() == []
    book.gate.set()
    assert await asyncio.gather(held, *asked) == [True, 1, [1], 2, [1, 2]]
    assert book.committed() == [1, 2]
    assert book.commits.commits == 1
    assert book.begun == [True]
    assert await book.commits.write(book.add(3)) == 3
    assert (book.commits.commits, book.begun) == (2, [True, True])
    await book.commits.close()


async def test_reads_begin_no_transaction(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    assert await book.commits.read(lambda db: db.in_transaction) is False
    assert (book.commits.commits, book.begun) == (0, [])
    await book.commits.close()


async def test_a_failed_write_takes_its_whole_batch_with_it_and_ends_all_writing(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    await book.commits.write(book.add(1))
    held = await book.hold_up()
    batch = [asyncio.ensure_future(book.commits.write(book.add(number))) for number in (2, 1, 3)]
    await asyncio.sleep(0)
    book.gate.set()
    ends = await asyncio.gather(held, *batch, return_exceptions=True)
    sentence = (
        f"the ledger {book.path} cannot be written (UNIQUE constraint failed: numbers.n): nothing further was sent. "
        "Make room or mend the disk, then run the same command again"
    )
    assert [(type(end), str(end)) for end in ends] == [(bool, "True"), *[(OutputError, sentence)] * 3]
    assert book.committed() == [1]
    with pytest.raises(OutputError, match="UNIQUE"):
        await book.commits.write(book.add(4))
    assert await book.commits.read(book.read) == [1], "it can still be read"
    await book.commits.close()


async def test_what_was_asked_before_a_failure_was_known_fails_too(tmp_path: Path) -> None:
    """It waited while the batch before it failed."""
    book = Notebook(tmp_path)
    held = await book.hold_up()
    follow_up: list[asyncio.Future[int]] = []

    def fail(db: sqlite3.Connection) -> None:
        asyncio.run_coroutine_threadsafe(later(), loop).result(10)
        raise sqlite3.OperationalError("disk I/O error")

    async def later() -> None:
        follow_up.append(asyncio.ensure_future(book.commits.write(book.add(5))))
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    failing = asyncio.ensure_future(book.commits.write(fail))
    book.gate.set()
    assert await held
    with pytest.raises(OutputError, match="disk I/O error"):
        await failing
    with pytest.raises(OutputError, match="disk I/O error"):
        await follow_up[0]
    assert (book.committed(), len(book.begun)) == ([], 1)
    await book.commits.close()


async def test_a_connection_that_is_gone_altogether_is_told_too(tmp_path: Path) -> None:
    book = Notebook(tmp_path)

    def lose(db: sqlite3.Connection) -> None:
        db.close()
        raise sqlite3.OperationalError("gone")

    with pytest.raises(OutputError, match="gone"):
        await asyncio.wait_for(book.commits.write(lose), 10)
    await book.commits.close()


async def test_a_failure_that_has_its_own_sentence_keeps_it(tmp_path: Path) -> None:
    book = Notebook(tmp_path)

    def fail(db: sqlite3.Connection) -> None:
        raise OutputError("the lease is lost")

    for _ in range(2):
        with pytest.raises(OutputError, match=r"^the lease is lost$"):
            await book.commits.write(fail)
    await book.commits.close()


async def test_who_no_longer_waits_is_told_nothing_and_its_write_stands(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    held = await book.hold_up()
    gone, kept = (asyncio.ensure_future(book.commits.write(book.add(number))) for number in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    book.gate.set()
    assert await held
    assert await kept == 2
    assert gone.cancelled()
    assert book.committed() == [1, 2]
    await book.commits.close()


async def test_close_finishes_what_waits_and_lets_go_of_the_file(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    held = await book.hold_up()
    last = asyncio.ensure_future(book.commits.write(book.add(1)))
    closing = asyncio.ensure_future(book.commits.close())
    await asyncio.sleep(0)
    assert not closing.done()
    book.gate.set()
    await closing
    assert await held
    assert await last == 1
    assert book.committed() == [1]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        book.commits.connection.execute("SELECT 1")


def test_a_loop_that_ended_meanwhile_is_no_failure(tmp_path: Path) -> None:
    """The write of a run that was cut off is committed, and its thread ends in order."""
    books: list[Notebook] = []
    held: list[asyncio.Future[Any]] = []

    async def cut_off() -> None:
        book = Notebook(tmp_path)
        books.append(book)
        held.append(await book.hold_up())
        held.append(asyncio.ensure_future(book.commits.write(book.add(1))))
        await asyncio.sleep(0)

    asyncio.run(cut_off())
    (book,) = books
    book.gate.set()
    book.commits._waiting.put(None)
    book.commits._thread.join(10)
    assert not book.commits._thread.is_alive()
    assert book.committed() == [1]
    book.commits.connection.close()
