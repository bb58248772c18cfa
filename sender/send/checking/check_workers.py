"""Processes that check lines: each has one batch at a time, and their answers are taken in the order of the batches."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NoReturn, Self

from sender.errors import HaltError
from sender.send.checking.checked_line import check_batch
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from sender.inputs.line_batch import LineBatch
    from sender.send.checking.checked_line import CheckedLine
    from sender.validation import Options


class CheckWorkers:
    """A context manager; a HaltError tells of a process that died."""

    def __init__(self, number: int, kind: str, options: Options) -> None:
        self._arguments = kind, options
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self._number = number
        self._given = self._taken = 0
        """Batches that were given, and whose answers were taken; the nth is the nth worker's, round and round."""

    def __enter__(self) -> Self:
        import multiprocessing
        from multiprocessing.resource_tracker import ensure_running

        context = multiprocessing.get_context("spawn")
        ensure_running()  # the first process starts it otherwise, and that unblocks the signal again
        # They inherit what is blocked here: Ctrl-C reaches them from the terminal, too, and is for us to judge.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(self._number):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
                process.start()
                theirs.close()
                self._workers.append((process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *error: object) -> None:
        for _, pipe in self._workers:
            pipe.close()
        for process, _ in self._workers:
            process.join(2)
            if process.is_alive():
                process.kill()

    def check(self, batch: LineBatch) -> Iterator[list[CheckedLine]]:
        """Have it checked; gives the answer that is due, if every process had a batch."""
        due = [self._take()] if self._given - self._taken == self._number else []
        process, pipe = self._workers[self._given % self._number]
        try:
            pipe.send(batch)
        except OSError:
            _tell_dead(process)
        self._given += 1
        yield from due

    def rest(self) -> Iterator[list[CheckedLine]]:
        """The answers that are under way."""
        while self._taken < self._given:
            yield self._take()

    def _take(self) -> list[CheckedLine]:
        process, pipe = self._workers[self._taken % self._number]
        try:
            found: list[CheckedLine] = pipe.recv()
        except (EOFError, OSError):
            _tell_dead(process)
        self._taken += 1
        return found


def _tell_dead(process: BaseProcess) -> NoReturn:
    process.join(2)
    code = process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit status {code}"
    raise HaltError(
        f"a process that checks lines ended {how}; what was told of the lines before stands. Check again, with fewer "
        "--processes if memory is short"
    )


def _work(pipe: Connection, kind: str, options: Options) -> None:
    """A process at work, until its parent hangs up."""
    parser = Parser(kind, options)
    try:
        while True:
            pipe.send(check_batch(parser, pipe.recv()))
    except (EOFError, OSError):
        return
