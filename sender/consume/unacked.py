"""The Holdings are the messages in hand of one station: which job each belongs to, and since when it is held."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sender.queues import Message, Queue


@dataclass(slots=True, eq=False)
class UnackedMessage:
    """One message in hand."""

    queue: Queue
    message: Message
    since: float
    """Loop time at which it was read."""


class Holdings:
    """All of them, by the identity of their job; a job may stand in several messages."""

    def __init__(self) -> None:
        self._by_key: defaultdict[str, list[UnackedMessage]] = defaultdict(list)
        self._of_queue: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._of_queue.total()

    def __iter__(self) -> Iterator[UnackedMessage]:
        for holdings in list(self._by_key.values()):
            yield from holdings

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def of(self, queue: Queue) -> int:
        """Messages of this queue."""
        return self._of_queue[queue.source]

    def add(self, key: str, holding: UnackedMessage) -> None:
        """A message of this job is in hand."""
        self._by_key[key].append(holding)
        self._of_queue[holding.queue.source] += 1

    def pop(self, key: str) -> list[UnackedMessage]:
        """The messages of a job that has ended; they are in hand no more."""
        found = self._by_key.pop(key, [])
        for holding in found:
            self._of_queue[holding.queue.source] -= 1
        return found

    def keys(self) -> list[str]:
        """Jobs with messages in hand."""
        return list(self._by_key)

    def overdue(self, now: float) -> list[str]:
        """Jobs with a message that its broker gives to another soon, whatever is done with it."""
        return [
            key for key, holdings in self._by_key.items()
            if any(one.queue.ack_timeout is not None and now - one.since > one.queue.ack_timeout for one in holdings)
        ]


def by_queue(holdings: Iterable[UnackedMessage]) -> dict[Queue, list[Message]]:
    """Their messages, each with the others of its queue."""
    found: dict[Queue, list[Message]] = {}
    for one in holdings:
        found.setdefault(one.queue, []).append(one.message)
    return found
