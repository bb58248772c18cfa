"""`sender send --dry-run`: checks inputs and ledger, requests nothing, writes neither ledger nor log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sender.engine.pacing.schedule import Schedule
from sender.inputs.inputs import all_lines
from sender.jobs.job import Job
from sender.outcomes.summary import summary_text
from sender.runtime.screen import SCREEN
from sender.send.forecast import Forecast
from sender.send.most_rejected import MostRejected
from sender.send.stop_rules import StopRules
from sender.session.other_memories import WAYS_ON, find_memories, told
from sender.session.stores import memory_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.send.send_plan import SendPlan
    from sender.session.memories import Memory


def rehearse(plan: SendPlan) -> int:
    """Count what a run would do; exits as `validate` does."""
    begin = time.monotonic()
    _check_rules(plan.settings)
    forecast, memories = Forecast(plan), _other_memories(plan)
    elsewhere: Counter[Path] = Counter()
    for line in all_lines(plan.inputs, replace(plan.reading, check_files=True)):
        found, status, _ = forecast.see(line)
        if status is None and isinstance(found, Job):
            elsewhere.update(memory.path for memory in memories if memory.known([found.key]))
    summary = forecast.books.summary(time.monotonic() - begin, outcomes=None, ledger=None)
    summary["would_take_s"] = round(forecast.seconds)
    sys.stdout.write((orjson.dumps(summary).decode() if plan.settings.json else summary_text(summary)) + "\n")
    if elsewhere:
        SCREEN.write(f"sender: {told(elsewhere)}; a run would stop before its first request (exit 2). {WAYS_ON}\n")
        return 2
    return 1 if forecast.books.statuses["invalid"] else 0


def _check_rules(settings: Settings) -> None:
    """UsageError for rules that a run would refuse."""
    MostRejected.parse(settings.max_rejected)
    StopRules(settings.stop_when)
    Schedule(settings, time.time)


def _other_memories(plan: SendPlan) -> Sequence[Memory]:
    """Those that a run is held against; a rehearsal is held against none."""
    if plan.state or plan.settings.send_again or plan.settings.redirect_to:
        return ()
    files = [Path(name) for name in plan.inputs if Path(name).is_file()]
    return find_memories(plan.ledger, plan.outcomes, files, memory_of(plan), None)
