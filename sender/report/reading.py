"""Opens what a report is made from, and tells outcome logs from benchmark results."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.report.outcome_figures import OutcomeFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sender.report.job_table import Unsent

MOST_LINE: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"


def is_bench(path: Path) -> bool:
    """Whether the file is a saved benchmark result; UsageError when it cannot be read."""
    with _open(path) as file:
        try:
            head = file.read(400)
        except (OSError, EOFError, zlib.error):
            raise UsageError(f"{path} is neither an outcome log nor a benchmark result") from None
    return b'"sender-bench/' in head and b'"schema"' in head


def read_outcomes(path: Path, tell_unsent: Callable[[Unsent], None] | None = None) -> OutcomeFigures:
    """The figures of one outcome log; UsageError when it is none. `tell_unsent` gets each job that was not sent."""
    figures = OutcomeFigures()
    for line in _lines(path):
        try:
            document: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            document = None
        if not figures.add(document) and not figures.lines and figures.unreadable > 10:
            break
    figures.close(tell_unsent)
    if figures.unreadable and not figures.lines:
        raise UsageError(f"{path} is neither an outcome log nor a benchmark result")
    return figures


def _lines(path: Path) -> Iterator[bytes]:
    """Lines that are not blank; of one that is too long only a beginning, which is no JSON."""
    with _open(path) as file:
        try:
            while line := file.readline(MOST_LINE):
                whole = line.endswith(b"\n")
                if line.strip():
                    yield line if whole or len(line) < MOST_LINE else b""
                while not whole and (rest := file.readline(MOST_LINE)):
                    whole = rest.endswith(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{path} cannot be read to its end: {type(error).__name__}") from None


def _open(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name outcome logs and benchmark results")
        file = path.open("rb")
        if file.peek(2)[:2] == _GZIP:
            file.close()
            return gzip.open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    return file
