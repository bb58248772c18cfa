"""`sender send --dry-run`: checks inputs and ledger, requests nothing, writes neither ledger nor log."""

from __future__ import annotations

import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import orjson

from sender.engine.admission import admit
from sender.errors import UsageError
from sender.inputs.duplicate_index import DuplicateIndex
from sender.inputs.inputs import all_lines
from sender.jobs.job import Invalid
from sender.ledger import JobRecord
from sender.outcomes.summary import Books, summary_text
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from sender.send.send_plan import SendPlan

NO_RUN = 0


def rehearse(plan: SendPlan) -> int:
    """Count what a run would do; exits as `validate` does."""
    begin = time.monotonic()
    settings = plan.settings
    parser = Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))
    books, seen, ledger = Books(), DuplicateIndex(), _Peek(plan)
    for line in all_lines(plan.inputs):
        books.read += 1
        job = parser.parse(line, time.time())
        if isinstance(job, Invalid):
            books.count("invalid")
            continue
        books.warnings.update(warning.code for warning in job.warnings)
        standing = ledger.find(job.key)
        admission = admit(job, seen.add(job), standing, run=NO_RUN, retry=frozenset(settings.retry))
        if admission == "start":
            books.not_started += 1
        elif admission == "standing" and standing is not None:
            books.count(
                "duplicate"
                if standing.state == "sent"
                else "in_doubt"
                if standing.state == "handed_over"
                else standing.state
            )
        else:
            books.count("duplicate" if admission == "duplicate" else "invalid")
    summary = books.summary(time.monotonic() - begin, outcomes=str(plan.outcomes), ledger=str(plan.ledger))
    sys.stdout.write((orjson.dumps(summary).decode() if settings.json else summary_text(summary)) + "\n")
    return 1 if books.statuses["invalid"] else 0


class _Peek:
    """Looks into a ledger without writing a byte; one that does not exist knows nothing."""

    def __init__(self, plan: SendPlan) -> None:
        self._db: sqlite3.Connection | None = None
        if not plan.ledger.exists():
            return
        try:
            self._db = sqlite3.connect(f"file:{plan.ledger}?mode=ro", uri=True)
            self._db.execute("SELECT 1 FROM standings LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise UsageError(f"the ledger {plan.ledger} cannot be read: {error}") from None

    def find(self, key: str) -> JobRecord | None:
        """What is known of this identity."""
        if self._db is None:
            return None
        row = self._db.execute("SELECT state, content, run, resendable FROM standings WHERE key = ?", (key,)).fetchone()
        return None if row is None else JobRecord(row[0], row[1], row[2], bool(row[3]))
