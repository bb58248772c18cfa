"""Finds the job lines behind outcomes, also in inputs that were edited, reordered or renamed since."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.jobs.job import Job
from sender.jobs.kinds import SEND_KINDS
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sender.jobs.job import Line

_TABLES = """
CREATE TABLE wanted (number INTEGER PRIMARY KEY, id TEXT, source TEXT, line INTEGER, found INTEGER DEFAULT 0);
CREATE INDEX by_id ON wanted (id);
CREATE INDEX by_place ON wanted (source, line);
CREATE TABLE taken (source TEXT, line INTEGER, PRIMARY KEY (source, line)) WITHOUT ROWID;
"""


class JobLines:
    """The wanted lines, on disk when there are many.

    An outcome's own line is the one at its place, if that is the same job still; else the first one of its id.
    One without an id is known by its place alone.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # an empty name is a private temporary database
        self._db.executescript(_TABLES)
        self._kinds = {"email"}

    def want(self, outcome: Mapping[str, Any]) -> None:
        """Look for this outcome's job."""
        if outcome.get("kind") in SEND_KINDS:
            self._kinds.add(outcome["kind"])
        row = (outcome.get("id"), outcome.get("source"), outcome.get("line"))
        self._db.execute("INSERT INTO wanted (id, source, line) VALUES (?, ?, ?)", row)

    def find(self, inputs: Sequence[str], read: Callable[[], Iterator[Line]]) -> Iterator[Line]:
        """The wanted lines in the order of the inputs; `read` reads them all, and is called twice."""
        identify = _Identifier(sorted(self._kinds))
        names = self._names_of(inputs)
        for line in read():
            self._match_place(line, names.get(line.source, ()), identify)
        for line in read():
            if not line.fault and (self._is_taken(line) or self._match_id(identify(line))):
                yield line

    @property
    def missing(self) -> int:
        """How many were not found."""
        return int(self._db.execute("SELECT count(*) FROM wanted WHERE NOT found").fetchone()[0])

    def _names_of(self, inputs: Sequence[str]) -> dict[str, list[str]]:
        """Under which names the outcomes know each input."""
        names: dict[str, list[str]] = {}
        for (source,) in self._db.execute("SELECT DISTINCT source FROM wanted"):
            name = input_of(source, inputs)
            if name is not None:
                names.setdefault(name, []).append(source)
        return names

    def _match_place(self, line: Line, sources: Iterable[str], identify: _Identifier) -> None:
        for source in sources:
            place = (source, line.number)
            rows = self._db.execute("SELECT number, id FROM wanted WHERE source = ? AND line = ?", place).fetchall()
            own = identify(line) if rows else frozenset()
            for number, job_id in rows:
                if not line.fault and (job_id in own if job_id is not None else identify.is_anonymous(line)):
                    self._db.execute("UPDATE wanted SET found = 1 WHERE number = ?", (number,))
                    self._db.execute("INSERT OR IGNORE INTO taken VALUES (?, ?)", (line.source, line.number))

    def _is_taken(self, line: Line) -> bool:
        place = (line.source, line.number)
        return self._db.execute("SELECT 1 FROM taken WHERE source = ? AND line = ?", place).fetchone() is not None

    def _match_id(self, ids: Iterable[str]) -> bool:
        updates = [self._db.execute("UPDATE wanted SET found = 1 WHERE id = ? AND NOT found", (one,)) for one in ids]
        return any(update.rowcount > 0 for update in updates)


class _Identifier:
    """Tells which ids a line may stand under: its own, or for a bare one its hash as each kind it was sent as."""

    def __init__(self, kinds: Iterable[str]) -> None:
        lenient = Options(require_identifiers=False)  # what was valid when it was sent must get its id here, too
        self._parsers = [Parser(kind, lenient) for kind in kinds]

    def __call__(self, line: Line) -> frozenset[str]:
        found: set[str] = set()
        for parser in self._parsers:
            job = parser.parse(line, time.time())
            if job.id is not None:
                found.add(job.id)
            if not (isinstance(job, Job) and job.id == job.key):
                break  # its own id, or none at all: the kind of a bare line plays no part
        return frozenset(found)

    def is_anonymous(self, line: Line) -> bool:
        """Whether the line has no id of its own."""
        job = self._parsers[0].parse(line, time.time())
        return job.id is None or (isinstance(job, Job) and job.id == job.key)


def input_of(source: str, inputs: Sequence[str]) -> str | None:
    """The input that an outcome's source names: the same name, path, or file name, or the one that went into stdin."""
    if source in inputs:
        return source
    if source == "-":
        return inputs[0] if len(inputs) == 1 else None
    same = [name for name in inputs if Path(name).resolve() == Path(source).resolve()]
    alike = same or [name for name in inputs if Path(name).name == Path(source).name]
    return alike[0] if len(alike) == 1 else None
