"""Outcomes as lines of the operator's log, at a level of their own between debug and info (for `consume`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.runtime.logs import OUTCOME

if TYPE_CHECKING:
    from sender.outcomes.outcome import Outcome

LEFT_OUT: Final = ("meta", "answer")
"""What the outcome log keeps on somebody's wish, and an operator's log does not."""

log = structlog.get_logger()


class OutcomeLines:
    """Tells each outcome in one line, if the log's level asks for them."""

    def __init__(self, level: str) -> None:
        self.wanted = level in ("debug", OUTCOME)

    def tell(self, outcome: Outcome) -> None:
        """One line: id, kind, status, ids of the API, error; nothing of the payload."""
        if self.wanted:
            record: dict[str, Any] = orjson.loads(outcome.to_line())
            for name in LEFT_OUT:
                record.pop(name, None)
            log.info("outcome", level=OUTCOME, **record)
