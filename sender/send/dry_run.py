"""`sender send --dry-run`: checks inputs and ledger, requests nothing, writes neither ledger nor log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from sender.engine.admission import admit
from sender.inputs.duplicate_index import DuplicateIndex
from sender.inputs.inputs import all_lines
from sender.jobs.job import Invalid
from sender.ledger.ledger_view import LedgerView
from sender.outcomes.summary import Books, summary_text
from sender.send.exclusions.exclusions import Exclusions
from sender.send.job_check import JobCheck, parser_of
from sender.send.redirect import Redirect

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.jobs.kinds import LaneName
    from sender.send.send_plan import SendPlan

NO_RUN = 0


def rehearse(plan: SendPlan) -> int:
    """Count what a run would do; exits as `validate` does."""
    begin = time.monotonic()
    settings = plan.settings
    check = JobCheck(parser_of(settings), Exclusions.of(settings), Redirect.of(settings))
    books, seen, ledger = Books(), DuplicateIndex(), LedgerView.open(plan.ledger)
    starting: Counter[LaneName] = Counter()
    for line in all_lines(plan.inputs, replace(plan.reading, check_files=True)):
        books.read += 1
        job, skip = check.check(line, time.time())
        if isinstance(job, Invalid):
            books.count("invalid")
            continue
        books.warnings.update(warning.code for warning in job.warnings)
        record = ledger.find([job.key]).get(job.key)
        admission = admit(job, seen.add(job), record, run=NO_RUN, retry=frozenset(settings.retry))
        if admission == "start" and skip is not None:
            books.count("skipped")
        elif admission == "start":
            books.not_started += 1
            starting[job.kind.lane] += 1
        elif admission == "known" and record is not None:
            books.count(
                "duplicate"
                if record.state == "sent"
                else "in_doubt"
                if record.state == "handed_over"
                else record.state
            )
        else:
            books.count("duplicate" if admission == "duplicate" else "invalid")
    summary = books.summary(time.monotonic() - begin, outcomes=None, ledger=None)
    summary["would_take_s"] = round(_time_of(starting, settings))
    sys.stdout.write((orjson.dumps(summary).decode() if settings.json else summary_text(summary)) + "\n")
    return 1 if books.statuses["invalid"] else 0


def _time_of(starting: Counter[LaneName], settings: Settings) -> float:
    """Seconds that so many jobs of each lane take at its limit; the lanes work side by side."""
    rates = {"send": settings.rate, "trigger": settings.rate_trigger, "app": settings.rate_app}
    return max((number / rates[lane] for lane, number in starting.items()), default=0.0)
