"""`--max-rejected N|P%`: a run that goes wrong ends before it has gone wrong for everybody."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sender.errors import HaltError, UsageError

if TYPE_CHECKING:
    from sender.outcomes.summary import Books

FLOOR: Final = 20
"""Jobs that must have ended before a share says anything."""
_RULE: Final = re.compile(r"(\d{1,9}(?:\.\d+)?)(%?)")


class MostRejected(NamedTuple):
    """How many jobs of a run the API may refuse for good."""

    number: float | None = None
    is_share: bool = False
    """Whether the number is percents of the jobs that were requested in this run."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """UsageError when it is neither a number nor a percentage; empty text means no rule."""
        if not text:
            return cls()
        found = _RULE.fullmatch(text.strip())
        if found is None or (not found[2] and "." in found[1]) or (found[2] and float(found[1]) > 100):
            raise UsageError("--max-rejected takes a number of jobs, like 10, or a percentage, like 2%")
        return cls(float(found[1]), bool(found[2]))

    def broken(self, books: Books) -> HaltError | None:
        """Why the run has to end, if it has."""
        rejected = books.statuses["rejected"] - books.known["rejected"]
        ended = sum(books.statuses[name] - books.known[name] for name in ("sent", "rejected", "failed", "in_doubt"))
        if self.number is None or (self.is_share and ended < FLOOR):
            return None
        if rejected <= (self.number * ended / 100 if self.is_share else self.number):
            return None
        rule = f"{self.number:g}{'%' if self.is_share else ''}"
        return HaltError(
            f"{rejected:,} of {ended:,} jobs were rejected, more than --max-rejected {rule}: nothing further was "
            "started. See sender outcomes --status rejected, mend the cause, and run the same command again"
        )
