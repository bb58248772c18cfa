"""Reads `--exclude FILE[:COLUMN]`: addresses, ids or their SHA-256, one a line, or a column of a CSV file."""

from __future__ import annotations

import csv
import gzip
import io
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import UsageError
from sender.inputs.tables.csv_table import CANDIDATES
from sender.jobs.nearest import nearest
from sender.send.exclusions.digest_set import DigestSet
from sender.send.exclusions.people import digests_of_entry, is_certain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TABLES: Final = (".csv", ".tsv")
OTHERS: Final = (".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".zst", ".bz2")
"""Endings of files that are inputs, and no lists."""
EVERY: Final = 10_000
"""Entries between two looks at whether the run has to end."""
MOST_LINE: Final = 1 << 16
"""Characters of a line; nobody is called so."""

log = structlog.get_logger()


def read_exclusions(names: Iterable[str], stopped: Callable[[], bool] = lambda: False) -> DigestSet:
    """Everybody on these lists; UsageError names the file, and the line where one is wrong."""
    found = DigestSet()
    for name in names:
        path, column = split_column(name)
        if path.suffix.lower() in OTHERS:
            raise UsageError(f"--exclude: {path} is no list: give text with one entry a line, CSV or TSV, or .gz")
        try:
            entries = _add(found, path, column, stopped)
        except (OSError, EOFError) as error:
            raise UsageError(f"--exclude: {path} cannot be read: {_why(error)}") from None
        except UnicodeDecodeError:
            raise UsageError(f"--exclude: {path} is not UTF-8 text") from None
        if stopped():
            return found
        if not entries:
            raise UsageError(f"--exclude: {path} holds no entry and keeps out nobody; leave it out, or see whether "
                             "it is the right file and column")
        log.info("exclusion list", list=str(path), entries=entries)
    return found


def _add(found: DigestSet, path: Path, column: str, stopped: Callable[[], bool]) -> int:
    """Add a list; how many entries it has, as far as it was read."""
    entries = 0
    with _open(path) as lines:
        for number, entry in enumerate(_entries(lines, path, column)):
            if number % EVERY == 0 and stopped():
                break
            if entry := entry.strip():
                entries += 1
                for digest in digests_of_entry(entry):
                    found.add(digest)
    return entries


def split_column(name: str) -> tuple[Path, str]:
    """The file, and the column of it that is named, or an empty text."""
    path, colon, column = name.rpartition(":")
    return (Path(path), column) if colon and not Path(name).exists() else (Path(name), "")


def _open(path: Path) -> io.TextIOWrapper:
    packed = path.suffix == ".gz"
    return io.TextIOWrapper(gzip.open(path) if packed else path.open("rb"), encoding="utf-8-sig", newline="")


def _entries(lines: io.TextIOWrapper, path: Path, column: str) -> Iterator[str]:
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if column or kind.lower() in TABLES:
        return _column(_lines(lines, path), path, column, "\t" if kind.lower() == ".tsv" else "")
    return _lines(lines, path)


def _lines(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number = 0
    while line := lines.readline(MOST_LINE):
        number += 1
        if len(line) == MOST_LINE:
            raise UsageError(f"--exclude: {path}:{number} is longer than {MOST_LINE:,} characters: one entry a line")
        yield line


def _column(lines: Iterator[str], path: Path, column: str, delimiter: str) -> Iterator[str]:
    first = next(lines, "")
    rows = csv.reader(chain([first], lines), delimiter=delimiter or max(CANDIDATES, key=first.count), strict=True)
    try:
        head = [name.strip() for name in next(rows, [])]
        place = _place(head, path, column)
        if head and is_certain(head[place]):  # a list without a header
            yield head[place]
        for row in rows:
            if len(row) > place:
                yield row[place]
    except csv.Error as error:
        raise UsageError(f"--exclude: {path}:{rows.line_num} is not CSV: {error}") from None


def _place(head: list[str], path: Path, column: str) -> int:
    """Which column it is; one that stands alone need not be named."""
    if not column and len(head) <= 1:
        return 0
    if column in head:
        return head.index(column)
    if not column:
        raise UsageError(f"--exclude: {path} has {len(head)} columns; name one of them: {path}:{head[0]}")
    near = nearest(column, head)
    hint = f"is {near} meant?" if near else f"it has {', '.join(head)}"
    raise UsageError(f"--exclude: {path} has no column {column}; {hint}")


def _why(error: OSError | EOFError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is damaged"
