"""Accepted sends, and how the API's lists show them: late, and without a mark of the client's."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from bisect import bisect_left
from dataclasses import dataclass
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, Final

from sender.sandbox.exchange import both_forms
from sender.sandbox.fates import Message, fate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from sender.sandbox.fates import Event, Fates

TYPES: Final = {
    "email": "email",
    "sms": "twilio",
    "whatsapp": "whatsapp",
    "push": "push",
    "in_app": "in_app",
    "inbox_message": "inbox",
}
"""Which `type` a send kind has in the lists (docs/api.md, "Reading the API")."""


@dataclass(slots=True)
class Delivery:
    """One accepted send."""

    id: str
    kind: str
    accepted_at: float
    """Seconds since the epoch."""
    identifier: tuple[str, str]
    """("id", "42"), ("email", …) or ("cio_id", …)."""
    template: int
    recipient: str
    subject: str | None
    send_at: int | None
    """Only when it was in the future."""
    draft: bool
    body: bytes
    """The request's body as it came."""
    fates: Fates
    suppressed: bool = False
    """Whether its recipient stood on a suppression list when it was accepted."""
    _events: tuple[Event, ...] | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """All that ever happens to it."""
        if self._events is None:
            due = max(self.accepted_at, self.send_at or 0)
            self._events = self.fates.events(
                Message(self.id, self.kind, self.recipient, self.accepted_at, due, self.draft, self.suppressed)
            )
        return self._events

    def fate(self, now: float) -> str:
        """Where it stands: open, delivered, bounced, dropped or failed."""
        return fate_of(self.kind, self.events, now)

    def customer(self) -> dict[str, str | None]:
        """`customer_identifiers` of the lists; the cio_id is made from the other one."""
        kind, value = self.identifier
        known: dict[str, str | None] = {"id": None, "email": None, "cio_id": cio_id(kind, value)}
        known[kind] = value
        return known

    def metrics(self, now: float) -> dict[str, int]:
        """What has happened to it, by name and unix seconds."""
        happened = {event.metric: int(event.at) for event in self.events if event.at <= now}
        return {"created": int(self.accepted_at), **happened}

    def reason(self, now: float) -> str | None:
        """Why it did not arrive, or not at once."""
        told = [event.reason for event in self.events if event.at <= now and event.reason]
        return told[-1] if told else None

    def record(self) -> dict[str, Any]:
        """The send as the sandbox's own list shows it."""
        return {
            "delivery_id": self.id,
            "kind": self.kind,
            "accepted_at": self.accepted_at,
            "template": self.template,
            **both_forms(self.body),
        }

    def shown(self, now: float, *, hide_template: bool) -> dict[str, Any]:
        """The delivery as the API's lists show it (docs/api.md, "Reading the API")."""
        created = int(self.accepted_at)
        customer = self.customer()
        item: dict[str, Any] = {
            "id": self.id,
            "deduplicate_id": f"{self.id}:{created}",
            "type": TYPES[self.kind],
            "recipient": self.recipient,
            "subject": self.subject,
            "customer_id": customer["id"] or customer["cio_id"],
            "customer_identifiers": customer,
            "created": created,
            "metrics": self.metrics(now),
            "failure_message": self.reason(now),
            "forgotten": False,
            "msg_template_id": None,
            "campaign_id": None,
            "newsletter_id": None,
            "broadcast_id": None,
            "action_id": None,
            "content_id": None,
        }
        if not hide_template:
            item["transactional_message_id"] = self.template
        return item


def cio_id(kind: str, value: str) -> str:
    """The id that the API itself gives to a person."""
    return value if kind == "cio_id" else blake2s(f"{kind}:{value}".encode(), digest_size=6).hexdigest()


def new_delivery_id(random: Random) -> str:
    """Opaque, base64-like, may hold `=`, `_` and `-` (docs/api.md, "Transactional sends")."""
    return urlsafe_b64encode(random.randbytes(26)).decode()


class Deliveries:
    """The store, in order of acceptance, newest listed first."""

    def __init__(self, lag: float, *, forget: bool, show_scheduled: bool) -> None:
        self._lag = lag
        self._forget = forget
        self._show_scheduled = show_scheduled
        self.all: list[Delivery] = []
        self._by_id: dict[str, Delivery] = {}
        self._by_person: dict[tuple[str, str], list[int]] = {}
        self._by_template: dict[int, list[int]] = {}

    def add(self, delivery: Delivery) -> None:
        """Keep it, unless the stand-in only counts."""
        if self._forget:
            return
        index = len(self.all)
        self.all.append(delivery)
        self._by_id[delivery.id] = delivery
        self._by_template.setdefault(delivery.template, []).append(index)
        for key in _person_keys(delivery):
            self._by_person.setdefault(key, []).append(index)

    def get(self, delivery_id: str, now: float) -> Delivery | None:
        """One delivery if it is visible by now."""
        found = self._by_id.get(delivery_id)
        return found if found and self._visible(found, now) else None

    def everything(self) -> range:
        """The places of all deliveries."""
        return range(len(self.all))

    def of_person(self, id_type: str, value: str) -> list[int]:
        """The places of one person's deliveries."""
        return self._by_person.get((id_type, value), [])

    def of_template(self, template: int) -> list[int]:
        """The places of one template's deliveries."""
        return self._by_template.get(template, [])

    def templates(self) -> Iterable[int]:
        """Templates that were used."""
        return self._by_template

    def page(
        self, places: range | list[int], wanted: Callable[[Delivery], bool], now: float, limit: int, before: int | None
    ) -> tuple[list[Delivery], str]:
        """Up to `limit` visible deliveries, newest first, and the cursor of the next page (empty at the end)."""
        end = len(places) if before is None else bisect_left(places, before)
        page: list[Delivery] = []
        last = 0
        for place in range(end - 1, -1, -1):
            delivery = self.all[places[place]]
            if not (self._visible(delivery, now) and wanted(delivery)):
                continue
            if len(page) == limit:
                return page, str(last)
            page.append(delivery)
            last = places[place]
        return page, ""

    def _visible(self, delivery: Delivery, now: float) -> bool:
        due = delivery.accepted_at
        if delivery.send_at and not self._show_scheduled:
            due = max(due, delivery.send_at)
        return now >= due + self._lag


def _person_keys(delivery: Delivery) -> set[tuple[str, str]]:
    keys = {delivery.identifier, ("cio_id", cio_id(*delivery.identifier))}
    if delivery.kind in ("sms", "whatsapp") and delivery.recipient:
        keys.add(("phone", delivery.recipient))
    return keys
