"""The workspace that the sandbox plays: what was accepted, what waits, what can be read back."""

from __future__ import annotations

import base64
import random
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

MOST_ID = 1000
"""Templates, broadcasts and newsletters below this number exist."""
MESSAGE_TYPES = {
    "email": "email", "sms": "twilio", "whatsapp": "whatsapp", "push": "push", "in_app": "in_app",
    "inbox_message": "inbox",
}  # fmt: skip


@dataclass(slots=True)
class Delivery:
    """An accepted send."""

    id: str
    channel: str
    payload: dict[str, Any]
    created: float

    def as_message(self) -> dict[str, Any]:
        """As the message endpoints show it: no field of the client's comes back as a correlation key."""
        payload = self.payload
        person = payload.get("identifiers") or {}
        template = payload.get("transactional_message_id")
        created = int(self.created)
        return {
            "id": self.id,
            "deduplicate_id": f"{self.id}:{created}",
            "type": MESSAGE_TYPES[self.channel],
            "recipient": payload.get("to"),
            "subject": payload.get("subject"),
            "customer_id": str(person.get("id", "")),
            "customer_identifiers": {name: person.get(name) for name in ("id", "email", "cio_id")},
            "created": created,
            "metrics": {"created": created, "sent": created + 1},
            "failure_message": None,
            "forgotten": False,
            "transactional_message_id": template if isinstance(template, int) else None,
            "msg_template_id": template if isinstance(template, int) else None,
            "campaign_id": None,
            "newsletter_id": None,
            "broadcast_id": None,
            "action_id": None,
            "content_id": None,
        }


@dataclass(slots=True)
class Trigger:
    """One start of a broadcast."""

    id: int
    broadcast_id: int
    created_at: float
    due: float
    errors: list[str] = field(default_factory=list)

    def as_dict(self, now: float) -> dict[str, Any]:
        """As the trigger endpoints show it."""
        shown: dict[str, Any] = {
            "id": self.id, "broadcast_id": self.broadcast_id, "created_at": int(self.created_at),
        }  # fmt: skip
        shown["processed_at"] = int(self.due) if self.due <= now else None
        return shown


@dataclass(slots=True)
class Newsletter:
    """A one-off newsletter."""

    id: int
    sent_at: int | None = None
    scheduled_at: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As the newsletter endpoints show it."""
        return {
            "id": self.id, "deduplicate_id": f"{self.id}:1700000000", "type": "email", "content_ids": [self.id * 10],
            "name": f"Newsletter {self.id}", "sent_at": self.sent_at, "created": 1700000000, "updated": 1700000000,
            "recipient_segment_ids": [1], "tags": [], "subscription_topic_id": None,
        }  # fmt: skip


class World:
    """State of one workspace; `forget` keeps counts only, for runs of millions."""

    def __init__(self, *, processing: float, lag: float, seed: int = 0, forget: bool = False) -> None:
        self.processing = processing
        self.lag = lag
        self.forget = forget
        self.random = random.Random(seed)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.deliveries: OrderedDict[str, Delivery] = OrderedDict()
        self.accepted = 0
        self.triggers: dict[int, list[Trigger]] = {}
        self.newsletters: dict[int, Newsletter] = {}
        self.contents: dict[tuple[int, int], dict[str, Any]] = {}

    def deliver(self, channel: str, payload: dict[str, Any], now: float) -> Delivery:
        """Accept a send."""
        raw = self.random.randbytes(30)
        delivery = Delivery(base64.urlsafe_b64encode(raw).decode(), channel, payload, now)
        self.accepted += 1
        if not self.forget:
            self.deliveries[delivery.id] = delivery
        return delivery

    def visible(self, delivery: Delivery) -> bool:
        """Whether the lists show it by now."""
        return delivery.created + self.lag <= time.time()

    def waiting(self, now: float) -> int:
        """Triggers that are not processed yet, over all broadcasts."""
        return sum(trigger.due > now for triggers in self.triggers.values() for trigger in triggers)

    def trigger(self, broadcast_id: int, errors: list[str], now: float) -> Trigger:
        """Queue one: they are processed one after another."""
        pending = [trigger.due for triggers in self.triggers.values() for trigger in triggers if trigger.due > now]
        due = max([now, *pending]) + self.processing
        triggers = self.triggers.setdefault(broadcast_id, [])
        triggers.append(Trigger(len(triggers) + 1, broadcast_id, now, due, errors))
        return triggers[-1]

    def newsletter(self, number: int) -> Newsletter | None:
        """The newsletter of this number, if it exists."""
        if not 0 < number < MOST_ID:
            return None
        return self.newsletters.setdefault(number, Newsletter(number))
