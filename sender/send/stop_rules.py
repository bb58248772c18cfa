"""`--stop-when 'rejected>2%'`: rules over the latest ends of a run, after which nothing further starts. Pure."""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sender.errors import HaltError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.jobs.status import Status

COUNTED: Final = ("sent", "invalid", "rejected", "failed", "in_doubt")
"""Ends that a share is a part of: those of jobs that the user wanted to be sent."""
LAST: Final = 1000
"""Ends that a share looks back on."""
FLOOR: Final = 20
"""Ends before which a share says nothing."""
_RULE: Final = re.compile(r"(invalid|rejected|failed|in_doubt)>([0-9]{1,9}(?:\.[0-9]+)?)(%?)(?:/([0-9]{1,7}))?")
USAGE: Final = (
    "--stop-when takes rules like rejected>2%, in_doubt>10, or invalid>5%/500 for the last 500 jobs; the statuses are "
    "invalid, rejected, failed, in_doubt"
)


class Rule(NamedTuple):
    """More than `most` of the `last` ends, or more than that share of them, have this status."""

    text: str
    status: str
    most: float
    is_share: bool
    last: int | None
    """None: of all ends of the run."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """UsageError for what is no rule."""
        found = _RULE.fullmatch("".join(text.split()))
        if found is None:
            raise UsageError(USAGE)
        most, is_share, last = float(found[2]), bool(found[3]), int(found[4]) if found[4] else None
        if (is_share and most > 100) or (not is_share and not most.is_integer()) or last == 0:
            raise UsageError(USAGE)
        return cls(found[0], found[1], most, is_share, last or (LAST if is_share else None))


class RuleCount:
    """The ends that one rule looks back on."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._latest: deque[str] = deque(maxlen=rule.last or 0)
        self._counts: Counter[str] = Counter()

    def see(self, status: str) -> None:
        """A job ended so."""
        if self._rule.last is not None:
            if len(self._latest) == self._rule.last:
                self._counts[self._latest[0]] -= 1
            self._latest.append(status)
        self._counts[status] += 1

    def broken(self) -> HaltError | None:
        """Why the run has to end, if it has."""
        rule, ended = self._rule, self._counts.total()
        number = self._counts[rule.status]
        if rule.is_share and ended < min(FLOOR, rule.last or FLOOR):
            return None
        if number <= (rule.most * ended / 100 if rule.is_share else rule.most):
            return None
        return HaltError(
            f"{number:,} of the last {ended:,} jobs are {rule.status}: --stop-when {rule.text}. Nothing further was "
            f"started. See sender outcomes --status {rule.status}, mend the cause, and run the same command again"
        )


class StopRules:
    """All rules of a run."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts = [RuleCount(Rule.parse(text)) for text in texts]
        self.broken: HaltError | None = None
        """Why the run has to end, if it has: the first rule that was broken."""

    def see(self, status: Status) -> None:
        """A job of this run ended so."""
        if status not in COUNTED or self.broken is not None:
            return
        for count in self._counts:
            count.see(status)
        self.broken = next(filter(None, (count.broken() for count in self._counts)), None)
