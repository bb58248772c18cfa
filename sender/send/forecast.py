"""The Forecast: what a run would do with each line of its inputs, from inputs and ledger alone. It changes neither."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.engine.admission import admit
from sender.inputs.duplicate_index import DuplicateIndex
from sender.jobs.job import Invalid
from sender.jobs.problem import Problem
from sender.ledger.ledger_view import LedgerView
from sender.outcomes.summary import Books
from sender.send.exclusions.exclusions import Exclusions
from sender.send.job_check import JobCheck, parser_of
from sender.send.redirect import Redirect

if TYPE_CHECKING:
    from sender.engine.admission import Admission
    from sender.jobs.job import Job, Line
    from sender.jobs.kinds import LaneName
    from sender.jobs.status import Status
    from sender.ledger import JobRecord
    from sender.send.send_plan import SendPlan

NO_RUN: Final = 0
CONFLICT: Final = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")


class Foreseen(NamedTuple):
    """What a line would become."""

    found: Job | Invalid
    status: Status | None
    """None: it would be sent."""
    problems: tuple[Problem, ...] = ()
    """Why not."""


class Forecast:
    """Asked for each line in the order of the inputs; counts as a run would."""

    def __init__(self, plan: SendPlan) -> None:
        settings = self._settings = plan.settings
        self._check = JobCheck(parser_of(settings), Exclusions.of(settings), Redirect.of(settings))
        self._ledger = LedgerView.open(plan.ledger)
        self._seen = DuplicateIndex()
        self._starting: Counter[LaneName] = Counter()
        self.books = Books()

    def see(self, line: Line) -> Foreseen:
        """Judge the next line, and count it."""
        foreseen = self._judge(line)
        self.books.read += 1
        if foreseen.status is not None:
            self.books.count(foreseen.status)
        elif not isinstance(foreseen.found, Invalid):
            self.books.not_started += 1
            self._starting[foreseen.found.kind.lane] += 1
        if not isinstance(foreseen.found, Invalid):
            self.books.warnings.update(warning.code for warning in foreseen.found.warnings)
        return foreseen

    @property
    def seconds(self) -> float:
        """How long it would take at the limits of its lanes, which work side by side."""
        settings = self._settings
        rates = {"send": settings.rate, "trigger": settings.rate_trigger, "app": settings.rate_app}
        return max((number / rates[lane] for lane, number in self._starting.items()), default=0.0)

    def _judge(self, line: Line) -> Foreseen:
        found, skip = self._check.check(line, time.time())
        if isinstance(found, Invalid):
            return Foreseen(found, "invalid", found.problems)
        record = self._ledger.find([found.key]).get(found.key)
        retry = frozenset(self._settings.retry)
        # A job that is kept out takes nobody's place.
        before = None if skip is not None else self._seen.add(found.key, found.content)
        admission = admit(found, before, record, run=NO_RUN, retry=retry)
        if admission == "start":
            return Foreseen(found, None) if skip is None else Foreseen(found, "skipped", (skip,))
        status = _status_of(admission, record)
        return Foreseen(found, status, (CONFLICT,) if status == "invalid" else ())


def _status_of(admission: Admission, record: JobRecord | None) -> Status:
    """What a job counts as that would not be started."""
    if admission == "known" and record is not None:
        return "duplicate" if record.state == "sent" else "in_doubt" if record.state == "handed_over" else record.state
    return "duplicate" if admission == "duplicate" else "invalid"
