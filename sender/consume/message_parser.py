"""The MessageParser of a queue: from a message to its job, or to the outcome of what is none."""

from __future__ import annotations

import time
from math import isfinite
from typing import TYPE_CHECKING

from sender.jobs.job import MOST_LINE, Invalid, Line
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.queues.message_identity import shown_id
from sender.queues.queue import EXPIRES

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.jobs.job import Job
    from sender.queues import Message
    from sender.validation.parser import Parser


class MessageParser:
    """Numbers the messages as they come."""

    def __init__(self, parser: Parser, settings: Settings) -> None:
        self._parser = parser
        self._settings = settings
        self._number = 0

    def parse(self, message: Message) -> Job | Outcome:
        """A fault in the checks raises, until the message has been delivered too often; then it is invalid, too."""
        self._number += 1
        identity = None
        if self._settings.identity == "message" and message.identity is not None:
            identity = (shown_id(message.identity), message.identity)
        fault = _too_long(message.unread) if message.unread else None
        line = Line(
            message.source, self._number, message.data, fault, identity, message.priority or "normal",
            expires_at=_expires_at(message),
        )
        found = self._check(line, message)
        return invalid(found, found.problems) if isinstance(found, Invalid) else found

    def _check(self, line: Line, message: Message) -> Job | Invalid:
        deliveries = message.deliveries
        try:
            found = self._parser.parse(line, time.time())
        except Exception:
            if deliveries <= self._settings.max_deliveries:
                raise  # a fault of our own ends the consumer, and says where; the message comes again
            text = f"it was delivered {deliveries - 1} times, and nobody could read it"
            return Invalid(None, None, line.source, line.number, (Problem("too_many_deliveries", None, text),))
        late = isinstance(found, Invalid) and found.problems[0].code == "expired"
        if late and (deliveries > 1 or message.is_copy):
            # It may have been sent in time: the ledger knows, else the lane says it.
            return self._parser.parse(line, 0.0)
        return found


def _expires_at(message: Message) -> float | None:
    """As its queue tells, or as the queue told that it was in before it came to a retry queue."""
    if message.expires_at is not None:
        return message.expires_at
    try:
        told = float(message.headers.get(EXPIRES, "nan"))
    except ValueError:
        return None
    return told if isfinite(told) else None


def _too_long(size: int) -> Problem:
    text = f"the message has {size:,} bytes, and a job at most {MOST_LINE:,}; it was not read"
    return Problem("line_too_long", None, text)


def invalid(found: Invalid | Job, problems: tuple[Problem, ...]) -> Outcome:
    """The outcome of a line that is not sent."""
    kind = found.kind if isinstance(found, Invalid) else found.kind.name
    return Outcome(
        found.id, kind, "invalid", found.source, found.line,
        problems=problems, warnings=found.warnings, meta=found.meta,
    )
