"""What becomes of accepted sends, by chance: the same for the same delivery, whoever asks and whenever. Pure.

The vendor's words are those of docs/following.md, "The vendor's words".
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

ENDS: Final = ("bounced", "soft_bounced", "dropped", "undeliverable", "failed", "lost")
"""At most one of these happens to a delivery; `lost` is that nothing more is ever heard of it."""
SIGNS: Final = ("deferred", "opened", "clicked", "unsubscribed", "spammed")
"""Each of these may happen beside others."""
WITHOUT_DELIVERED: Final = ("in_app", "inbox_message")
"""Kinds of which no source tells `delivered`."""
OPEN: Final = "open"

_CHANCE: Final = re.compile(r"([a-z_]+)=([0-9]+(?:\.[0-9]+)?)(%?)(?::domain=([^:,\s]+))?")
_WORDS: Final = {
    "bounced": ("bounced", "550 5.1.1 <{to}>: no such user here"),
    "soft_bounced": ("bounced", "452 4.2.2 the mailbox of {to} is full"),
    "dropped": ("dropped", "{to} is on the suppression list"),
    "undeliverable": ("undeliverable", "the message limit of this person is reached"),
    "failed": ("failed", "the template could not be rendered"),
}
"""What the API calls it, and the reason that it gives."""


class FateError(ValueError):
    """What is no chance of a fate."""


class Chance(NamedTuple):
    """How often something happens."""

    name: str
    rate: float
    """From 0 to 1."""
    domain: str | None = None
    """Of the recipient, where it holds for that one alone."""


class Event(NamedTuple):
    """Something that happens to a delivery."""

    metric: str
    at: float
    """Unix seconds."""
    reason: str | None = None


class Message(NamedTuple):
    """What is known of a delivery when it is accepted."""

    id: str
    kind: str
    recipient: str
    accepted_at: float
    due: float
    """When it is sent: later than accepted where it has a `send_at`."""
    draft: bool
    suppressed: bool


class Fates:
    """The chances of one sandbox."""

    def __init__(self, chances: tuple[Chance, ...], delay: tuple[float, float]) -> None:
        self._chances = chances
        self._delay = delay

    def events(self, message: Message) -> tuple[Event, ...]:
        """All that ever happens to it, in order of time."""
        if message.draft:
            return (Event("drafted", message.accepted_at),)
        rolls = _rolls(message.id)
        least, most = self._delay
        end = message.due + least + rolls[0] * (most - least)
        name = "dropped" if message.suppressed else self._end(message, rolls[1])
        happened = [Event("attempted", message.due)]
        if name in _WORDS:
            metric, reason = _WORDS[name]
            reached = metric in ("bounced", "dropped")
            happened += [Event("sent", message.due)] if reached else []
            return (*happened, Event(metric, end, reason.format(to=message.recipient or "the device")))
        happened.append(Event("sent", message.due))
        if name == "lost":
            return tuple(happened)
        signs = {sign for sign, roll in zip(SIGNS, rolls[2:], strict=False) if roll < self._rate(sign, message)}
        return (*happened, *_good(message, end, signs))

    def _end(self, message: Message, roll: float) -> str:
        """What happens in the place of a delivery; empty where it arrives."""
        bound = 0.0
        for name in ENDS:
            bound += self._rate(name, message)
            if roll < bound:
                return name
        return ""

    def _rate(self, name: str, message: Message) -> float:
        """A chance of the recipient's domain comes before one of all."""
        domain = message.recipient.rpartition("@")[2].rstrip(">").lower()
        found = {one.domain: one.rate for one in self._chances if one.name == name}
        return found.get(domain, found.get(None, 0.0))


def fate_of(message_kind: str, events: tuple[Event, ...], now: float) -> str:
    """Where it stands now: open, delivered, bounced, dropped or failed."""
    fate = OPEN
    for event in events:
        if event.at > now:
            break
        arrived = "sent" if message_kind in (*WITHOUT_DELIVERED, "push") else "delivered"
        if event.metric == arrived:
            fate = "delivered"
        elif event.metric in ("bounced", "dropped", "failed"):
            fate = event.metric
        elif event.metric == "undeliverable":
            fate = "dropped"
    return fate


def parse_chance(text: str) -> Chance:
    """`NAME=RATE[:domain=DOMAIN]`, the rate a number from 0 to 1 or a share like 2%; FateError for what is none."""
    found = _CHANCE.fullmatch(text)
    if found is None or found[1] not in (*ENDS, *SIGNS):
        raise FateError(f"{text!r} is no fate: NAME=RATE[:domain=DOMAIN], with a name of {', '.join((*ENDS, *SIGNS))}")
    rate = float(found[2]) / (100 if found[3] else 1)
    if rate > 1:
        raise FateError(f"{text!r}: a rate is from 0 to 1, or a share like 2%")
    return Chance(found[1], rate, found[4].lower() if found[4] else None)


def _good(message: Message, at: float, signs: set[str]) -> list[Event]:
    """What happens to one that arrives."""
    happened = []
    if "deferred" in signs:
        happened.append(Event("deferred", (message.due + at) / 2, "421 4.7.0 try again later"))
    if message.kind not in WITHOUT_DELIVERED:
        happened.append(Event("delivered", at))
    later = [sign for sign in ("opened", "clicked", "unsubscribed", "spammed") if sign in signs]
    return happened + [Event(sign, at + number) for number, sign in enumerate(later, 1)]


def _rolls(delivery_id: str) -> list[float]:
    """Numbers from 0 to 1, always the same for one delivery."""
    digest = blake2b(delivery_id.encode(), digest_size=28).digest()
    return [int.from_bytes(digest[place : place + 4]) / 2**32 for place in range(0, len(digest), 4)]
