"""Reads `--exclude FILE[:COLUMN]`: addresses, ids or their SHA-256, one a line, or a column of a CSV file."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.jobs.nearest import nearest
from sender.send.exclusions.digest_set import DigestSet
from sender.send.exclusions.people import digests_of_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
EVERY: Final = 10_000
"""Entries between two looks at whether the run has to end."""
MOST_LINE: Final = 1 << 16
"""Characters of a line; nobody is called so."""


def read_exclusions(names: Iterable[str], stopped: Callable[[], bool] = lambda: False) -> DigestSet:
    """Everybody on these lists; UsageError names the file, and the line where one is wrong."""
    found = DigestSet()
    for name in names:
        path, column = split_column(name)
        try:
            with _open(path) as lines:
                for number, entry in enumerate(_entries(lines, path, column)):
                    if number % EVERY == 0 and stopped():
                        return found
                    if entry := entry.strip():
                        for digest in digests_of_entry(entry):
                            found.add(digest)
        except (OSError, EOFError) as error:
            raise UsageError(f"--exclude: {path} cannot be read: {_why(error)}") from None
        except UnicodeDecodeError:
            raise UsageError(f"--exclude: {path} is not UTF-8 text") from None
    return found


def split_column(name: str) -> tuple[Path, str]:
    """The file, and the column of it that is named, or an empty text."""
    path, colon, column = name.rpartition(":")
    return (Path(path), column) if colon and not Path(name).exists() else (Path(name), "")


def _open(path: Path) -> io.TextIOWrapper:
    packed = path.suffix == ".gz"
    return io.TextIOWrapper(gzip.open(path) if packed else path.open("rb"), encoding="utf-8-sig", newline="")


def _entries(lines: io.TextIOWrapper, path: Path, column: str) -> Iterator[str]:
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    delimiter = DELIMITERS.get(kind.lower())
    return _column(lines, path, column, delimiter or ",") if delimiter or column else _lines(lines, path)


def _lines(lines: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number = 0
    while line := lines.readline(MOST_LINE):
        number += 1
        if len(line) == MOST_LINE:
            raise UsageError(f"--exclude: {path}:{number} is longer than {MOST_LINE:,} characters: one entry a line")
        yield line


def _column(lines: io.TextIOWrapper, path: Path, column: str, delimiter: str) -> Iterator[str]:
    rows = csv.reader(_lines(lines, path), delimiter=delimiter, strict=True)
    try:
        head = [name.strip() for name in next(rows, [])]
        place = _place(head, path, column)
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
