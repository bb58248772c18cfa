"""Broadcast triggers: accepted at once, processed one after another, some found faulty only then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sender.sandbox.exchange import both_forms


@dataclass(slots=True)
class Trigger:
    """One call of a broadcast."""

    id: int
    """Counts up per broadcast."""
    broadcast_id: int
    created_at: float
    done_at: float
    errors: tuple[str, ...]
    """What its processing finds; known to clients once it is done."""
    body: bytes
    """The request's body as it came."""

    def record(self) -> dict[str, Any]:
        """The trigger as the sandbox's own list shows it."""
        return {
            "id": self.id,
            "broadcast_id": self.broadcast_id,
            "created_at": self.created_at,
            "done_at": self.done_at,
            "errors": self.errors,
            **both_forms(self.body),
        }


@dataclass(slots=True)
class Triggers:
    """The queue of one workspace (docs/api.md, "Not documented": assumed to be one for all broadcasts)."""

    queue: int
    processing_time: float
    by_broadcast: dict[int, list[Trigger]] = field(default_factory=dict)
    _busy_until: float = 0.0
    _waiting: list[Trigger] = field(default_factory=list)

    def full(self, now: float) -> bool:
        """Whether as many as the API allows are not processed yet."""
        self._waiting = [trigger for trigger in self._waiting if trigger.done_at > now]
        return len(self._waiting) >= self.queue

    def add(
        self, broadcast_id: int, now: float, errors: tuple[str, ...], body: bytes, *, queued: bool = True
    ) -> Trigger:
        """A new trigger; one that is not queued failed on the spot."""
        triggers = self.by_broadcast.setdefault(broadcast_id, [])
        done = now
        if queued:
            done = self._busy_until = max(now, self._busy_until) + self.processing_time
        trigger = Trigger(len(triggers) + 1, broadcast_id, now, done, errors, body)
        triggers.append(trigger)
        if queued:
            self._waiting.append(trigger)
        return trigger

    def all(self) -> list[Trigger]:
        """The triggers of all broadcasts, in order of creation."""
        return sorted((one for group in self.by_broadcast.values() for one in group), key=lambda one: one.created_at)

    def get(self, broadcast_id: int, trigger_id: int) -> Trigger | None:
        """One trigger, None if there is none of this number."""
        triggers = self.by_broadcast.get(broadcast_id, [])
        return triggers[trigger_id - 1] if 1 <= trigger_id <= len(triggers) else None
