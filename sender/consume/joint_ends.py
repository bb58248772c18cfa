"""Where queue and state are one database, the message goes in the transaction that makes the end of its job durable."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sender.engine.job_execution import delivery_id_of
from sender.queues import DatabaseQueue, Ending, StatementPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.consume.in_flight import InFlight
    from sender.ledger import FinalRecord
    from sender.queues import Message

    Messages = Mapping[DatabaseQueue, Sequence[Message]]


class JointEnds:
    """Of one workspace, and the database of its state. Jobs that were sent: any other has a dead letter before."""

    def __init__(self, in_flight: InFlight, database: str) -> None:
        self._in_flight = in_flight
        self._database = database

    def of(self, records: Sequence[FinalRecord]) -> StatementPart | None:
        """What goes with these ends; None when no message of theirs is in the database.

        A copy changes the row of what it is a copy of, too: it goes after its end, as with any other queue.
        """
        found: dict[DatabaseQueue, list[Message]] = {}
        for record in records:
            one = self._in_flight.only_message(record.key) if record.state == "sent" else None
            if one is None or not isinstance(one.queue, DatabaseQueue) or one.queue.database != self._database:
                continue
            if one.message.is_copy:
                continue
            one.message.ending = Ending(record.state, delivery_id_of(record.result), None, record.key)
            found.setdefault(one.queue, []).append(one.message)
        return StatementPart(partial(_expressions, found), partial(_mark, found)) if found else None


def _expressions(found: Messages, first: int) -> tuple[str, list[Any]]:
    texts: list[str] = []
    values: list[Any] = []
    for queue, messages in found.items():
        text, more = queue.ending(messages, first + len(values))
        texts.append(text)
        values += more
    return ", ".join(texts), values


def _mark(found: Messages) -> None:
    for messages in found.values():
        for message in messages:
            message.gone = True
