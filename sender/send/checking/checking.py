"""All lines of the inputs, checked in their order, each held against those before it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from sender.errors import InputError
from sender.inputs.duplicate_index import DuplicateIndex
from sender.jobs.problem import Problem
from sender.send.checking.check_workers import CheckWorkers
from sender.send.checking.checked_line import check_batch
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sender.inputs.line_batch import LineBatch
    from sender.send.checking.checked_line import CheckedLine
    from sender.validation import Options

CONFLICT: Final = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")


def check_lines(
    batches: Iterator[LineBatch], kind: str, options: Options, processes: int = 1
) -> Generator[CheckedLine]:
    """Check them in so many processes; the answers do not depend on that.

    Raises InputError where an input breaks, and HaltError when a process dies, after what was found before.
    """
    seen = DuplicateIndex()
    parser = Parser(kind, options)
    if processes == 1:
        found = (check_batch(parser, batch) for batch in batches)
        yield from (_held_against(seen, line) for line in chain.from_iterable(found))
        return
    with CheckWorkers(processes, kind, options) as workers:
        for line in chain.from_iterable(_shared_out(batches, parser, workers)):
            yield _held_against(seen, line)


def _shared_out(
    batches: Iterator[LineBatch], parser: Parser, workers: CheckWorkers
) -> Iterator[list[CheckedLine]]:
    """Rows are checked here, and while there is nothing to read nobody waits for an answer."""
    broken: InputError | None = None
    try:
        for batch in batches:
            if batch.data or (batch.cut_lines and not batch.has_rows):
                yield from workers.check(batch)
                continue
            yield from workers.rest()
            yield check_batch(parser, batch)
    except InputError as error:
        broken = error
    yield from workers.rest()
    if broken is not None:
        raise broken


def _held_against(seen: DuplicateIndex, line: CheckedLine) -> CheckedLine:
    """The same, where an earlier line has its identity."""
    before = seen.add(line.key, line.content) if line.key else None
    if before is None:
        return line
    return line._replace(repeated=True) if before == line.content else line._replace(problems=(CONFLICT,))
