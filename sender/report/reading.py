"""Opens what a report is made from, and tells outcome logs from benchmark results."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.follow.delivery_log import SUFFIX, beside, read_deliveries
from sender.report.fate_figures import FateFigures
from sender.report.fate_table import FateTable
from sender.report.outcome_figures import OutcomeFigures
from sender.report.run_figures import RunFigures
from sender.report.run_history import read_manifest

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


def read_run(path: Path, name: str, tell_unsent: Callable[[Unsent], None] | None = None) -> RunFigures:
    """An outcome log with what stands beside it: deliveries file and manifest; UsageError when it is none."""
    if path.name.endswith(SUFFIX):
        raise UsageError(f"{path} is the deliveries file of a run: name its outcome log, which is read with it")
    deliveries, manifest = beside(path), read_manifest(path)
    if not deliveries.is_file():
        return RunFigures(name, read_outcomes(path, tell_unsent), None, manifest)
    table = FateTable()
    try:
        figures = read_outcomes(path, tell_unsent, table)
        for line in read_deliveries(deliveries):
            table.tell(line)
        return RunFigures(name, figures, FateFigures.of(table), manifest)
    finally:
        table.close()


def read_outcomes(
    path: Path, tell_unsent: Callable[[Unsent], None] | None = None, fates: FateTable | None = None
) -> OutcomeFigures:
    """The figures of one outcome log; UsageError when it is none. `tell_unsent` gets each job that was not sent, and
    `fates` each delivery."""
    figures = OutcomeFigures()
    for line in _lines(path):
        try:
            document: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            document = None
        known = figures.add(document)
        if not known and not figures.lines and figures.unreadable > 10:
            break
        if fates is not None and known and document["status"] == "sent" and document.get("delivery_id"):
            fates.accept(str(document["delivery_id"]))
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
