"""`sender send --dry-run`: checks inputs and ledger, requests nothing, writes neither ledger nor log."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from sender.inputs.inputs import all_lines
from sender.outcomes.summary import summary_text
from sender.send.forecast import Forecast

if TYPE_CHECKING:
    from sender.send.send_plan import SendPlan


def rehearse(plan: SendPlan) -> int:
    """Count what a run would do; exits as `validate` does."""
    begin = time.monotonic()
    forecast = Forecast(plan)
    for line in all_lines(plan.inputs, replace(plan.reading, check_files=True)):
        forecast.see(line)
    summary = forecast.books.summary(time.monotonic() - begin, outcomes=None, ledger=None)
    summary["would_take_s"] = round(forecast.seconds)
    sys.stdout.write((orjson.dumps(summary).decode() if plan.settings.json else summary_text(summary)) + "\n")
    return 1 if forecast.books.statuses["invalid"] else 0
