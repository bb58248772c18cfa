"""Which of the API's deliveries is whose: pure decisions over claimants and sightings (API.md section 7)."""

from __future__ import annotations

from collections import Counter
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sender.doubts.doubtful_job import Claimant

SKEW: Final = 10.0
"""Seconds by which our clock and the API's may differ, its rounding to seconds included."""
WIDE_SKEW: Final = 120.0
"""The same where a mistake would call a delivery absent."""
TYPES: Final = {
    "email": {"email"}, "sms": {"twilio", "sms", "whatsapp"}, "whatsapp": {"whatsapp", "twilio"}, "push": {"push"},
    "in_app": {"in_app"}, "inbox_message": {"inbox", "inbox_message", "in_app"},
}  # fmt: skip
"""The `type` that each send kind may have in the lists; a WhatsApp message by Twilio is `twilio`."""


class Sighting(NamedTuple):
    """One delivery as the API shows it."""

    id: str
    type: str | None
    template: int | None
    """None where the list does not tell."""
    recipient: str
    subject: str | None
    created: float


def sightings(items: Iterable[Mapping[str, Any]]) -> list[Sighting]:
    """Read a list of deliveries; those of campaigns, newsletters and broadcasts are nobody's here."""
    found = []
    for item in items:
        delivery_id, created = item.get("id"), item.get("created")
        others = (item.get(name) for name in ("campaign_id", "newsletter_id", "broadcast_id"))
        if not isinstance(delivery_id, str) or not isinstance(created, int | float) or any(others):
            continue
        template = item.get("transactional_message_id")
        template = int(template) if isinstance(template, str) and template.isdecimal() else template
        found.append(Sighting(
            delivery_id, item.get("type"), template if type(template) is int else None,
            str(item.get("recipient") or ""), item.get("subject"), float(created),
        ))  # fmt: skip
    return found


class Finding(NamedTuple):
    """What the lists say of one claimant."""

    adopted: Sighting | None = None
    candidates: int = 0
    """Deliveries that may be its own; 0 means that the lists show none."""


def match(
    seen: Sequence[tuple[Claimant, Collection[Sighting]]], numbers: Mapping[str, int], lag: float
) -> dict[str, Finding]:
    """Findings by key, from each claimant and the deliveries of nobody that its own list shows.

    All claimants have to be given at once: one person may be named in two ways, and a delivery has one owner.
    `numbers` are the templates behind trigger names, where known.
    """
    likely = {one.key: [s for s in free if is_like(one, s, numbers, lag)] for one, free in seen}
    claims = Counter(sighting.id for mine in likely.values() for sighting in mine)
    findings = {}
    for one, free in seen:
        mine = likely[one.key]
        sole = mine[0] if len(mine) == 1 and claims[mine[0].id] == 1 else None
        findings[one.key] = Finding(sole, sum(may_be(one, s, numbers, lag) for s in free))
    return findings


def may_be(claimant: Claimant, sighting: Sighting, numbers: Mapping[str, int], lag: float) -> bool:
    """Whether nothing that is sure speaks against it."""
    if sighting.type is not None and sighting.type not in TYPES.get(claimant.kind, {sighting.type}):
        return False
    if not claimant.since - WIDE_SKEW <= sighting.created <= claimant.until + lag + WIDE_SKEW:
        return False
    number = number_of(claimant, numbers)
    return number is None or sighting.template is None or sighting.template == number


def is_like(claimant: Claimant, sighting: Sighting, numbers: Mapping[str, int], lag: float) -> bool:
    """Whether template, time, recipient and subject all speak for it."""
    in_time = claimant.since - SKEW <= sighting.created <= claimant.likely_until + lag
    if not in_time or not may_be(claimant, sighting, numbers, lag):
        return False
    number = number_of(claimant, numbers)
    if number is None or sighting.template != number:
        return False
    return _same_recipient(claimant, sighting.recipient) and _same_subject(claimant, sighting.subject)


def number_of(claimant: Claimant, numbers: Mapping[str, int]) -> int | None:
    """The number of its template; None for a trigger name that nobody has resolved."""
    return claimant.template if isinstance(claimant.template, int) else numbers.get(claimant.template)


def _same_recipient(claimant: Claimant, shown: str) -> bool:
    wanted = claimant.detail.get("to")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    if claimant.kind == "email":
        return bool(_addresses(wanted) & _addresses(shown))
    return claimant.kind not in ("sms", "whatsapp") or wanted.strip() == shown.strip()


def _addresses(text: str) -> set[str]:
    return {address.strip().lower() for _, address in getaddresses([text]) if address}


def _same_subject(claimant: Claimant, shown: str | None) -> bool:
    wanted = claimant.detail.get("subject")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    return wanted.split() == shown.split()
