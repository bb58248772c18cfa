"""`sender send --dry-run`: checks inputs and ledger, requests nothing, writes neither ledger nor log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sender.engine.admission import admit
from sender.inputs.duplicate_index import DuplicateIndex
from sender.inputs.inputs import all_lines
from sender.jobs.job import Invalid
from sender.ledger.ledger_view import LedgerView
from sender.outcomes.summary import Books, summary_text
from sender.runtime.screen import SCREEN
from sender.session.other_memories import WAYS_ON, find_memories, told
from sender.session.stores import host_of
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.jobs.kinds import LaneName
    from sender.send.send_plan import SendPlan
    from sender.session.memories import Memory

NO_RUN = 0


def rehearse(plan: SendPlan) -> int:
    """Count what a run would do; exits as `validate` does."""
    begin = time.monotonic()
    settings = plan.settings
    parser = Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))
    books, seen, ledger = Books(), DuplicateIndex(), LedgerView.open(plan.ledger)
    starting: Counter[LaneName] = Counter()
    memories = () if plan.state or settings.send_again else _other_memories(plan)
    elsewhere: Counter[Path] = Counter()
    for line in all_lines(plan.inputs, replace(plan.reading, check_files=True)):
        books.read += 1
        job = parser.parse(line, time.time())
        if isinstance(job, Invalid):
            books.count("invalid")
            continue
        books.warnings.update(warning.code for warning in job.warnings)
        record = ledger.find([job.key]).get(job.key)
        admission = admit(job, seen.add(job), record, run=NO_RUN, retry=frozenset(settings.retry))
        if admission == "start":
            books.not_started += 1
            starting[job.kind.lane] += 1
            elsewhere.update(memory.path for memory in memories if memory.known([job.key]))
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
    if elsewhere:
        SCREEN.write(f"sender: {told(elsewhere)}; a run would stop before its first request (exit 2). {WAYS_ON}\n")
        return 2
    return 1 if books.statuses["invalid"] else 0


def _other_memories(plan: SendPlan) -> Sequence[Memory]:
    files = [Path(name) for name in plan.inputs if Path(name).is_file()]
    return find_memories(plan.ledger, plan.outcomes, files, host_of(plan.base_url), None)


def _time_of(starting: Counter[LaneName], settings: Settings) -> float:
    """Seconds that so many jobs of each lane take at its limit; the lanes work side by side."""
    rates = {"send": settings.rate, "trigger": settings.rate_trigger, "app": settings.rate_app}
    return max((number / rates[lane] for lane, number in starting.items()), default=0.0)
