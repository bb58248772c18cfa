"""Every job that was not sent as CSV, for spreadsheets: a cell that would be taken for a formula gets an apostrophe."""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sender.errors import OutputError
from sender.report.cells import cell
from sender.report.job_table import Unsent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def open_unsent(name: str | None) -> Iterator[Callable[[Unsent], None] | None]:
    """Takes jobs while it is open; `-` is stdout, None is no file. OutputError when it cannot be written."""
    if name is None:
        yield None
        return
    try:
        with nullcontext(sys.stdout) if name == "-" else Path(name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Unsent._fields)
            yield lambda job: writer.writerow(map(cell, job))
    except OSError as error:
        raise OutputError(f"--unsent: {name} cannot be written: {error.strerror}") from None
