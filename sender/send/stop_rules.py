"""`--stop-when 'rejected>2%'`: rules over the latest ends of a run, after which nothing further starts. Pure.

Jobs that are invalid end as they are read, long before those that are read with them were sent. They are counted by
their place in the input, and all others by the order of their ends.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sender.errors import HaltError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.outcomes.outcome import Outcome

COUNTED: Final = ("sent", "rejected", "failed", "in_doubt")
"""Ends that a share is a part of: those of jobs that were tried."""
MOST_PLACES: Final = 100_000
"""Invalid lines of an input that are remembered, or as many as the rule looks back on."""
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

    def broken(self, number: int, of: int) -> HaltError | None:
        """Why the run has to end, if it has, when that number of that many is so."""
        if self.is_share and of < min(FLOOR, self.last or FLOOR):
            return None
        if number <= (self.most * of / 100 if self.is_share else self.most):
            return None
        return HaltError(
            f"{number:,} of the last {of:,} jobs are {self.status}: --stop-when {self.text}. Nothing further was "
            f"started. See sender outcomes --status {self.status}, mend the cause, and run the same command again"
        )


class RuleCount:
    """The ends that one rule looks back on."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._latest: deque[str] = deque(maxlen=rule.last or 0)
        self._counts: Counter[str] = Counter()

    def see(self, outcome: Outcome) -> HaltError | None:
        """A job ended so; why the run has to end, if it has."""
        status = outcome.status
        if status not in COUNTED:
            return None
        if self._rule.last is not None:
            if len(self._latest) == self._rule.last:
                self._counts[self._latest[0]] -= 1
            self._latest.append(status)
        self._counts[status] += 1
        return self._rule.broken(self._counts[self._rule.status], self._counts.total())


class InvalidCount:
    """The invalid lines of each input, among the lines that stand before them in it."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        self._total = 0

    def see(self, outcome: Outcome) -> HaltError | None:
        """A job ended so; why the run has to end, if it has. Lanes may come to their lines in any order."""
        rule, line = self._rule, outcome.line
        if outcome.status != rule.status:
            return None
        self._total += 1
        if rule.last is None:
            return rule.broken(self._total, self._total)
        places = self._places[outcome.source]
        insort(places, line)
        number = bisect_right(places, line) - bisect_left(places, line - rule.last + 1)
        del places[: -max(MOST_PLACES, rule.last)]
        return rule.broken(number, min(line, rule.last))


class StopRules:
    """All rules of a run."""

    def __init__(self, texts: Iterable[str]) -> None:
        rules = map(Rule.parse, texts)
        self._counts = [InvalidCount(rule) if rule.status == "invalid" else RuleCount(rule) for rule in rules]
        self.broken: HaltError | None = None
        """Why the run has to end, if it has: the first rule that was broken."""

    def see(self, outcome: Outcome) -> None:
        """A job of this run ended so."""
        for count in self._counts:
            error = count.see(outcome)
            self.broken = self.broken or error
