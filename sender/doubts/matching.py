"""Which of the API's deliveries is whose: pure decisions over claimants and sightings.

See docs/api.md, "Reading the API".
"""

from __future__ import annotations

from collections import Counter
from email.utils import getaddresses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob

SKEW: Final = 10.0
"""Seconds by which our clock and the API's may differ, its rounding to seconds included."""
WIDE_SKEW: Final = 120.0
"""The same where a mistake would call a delivery absent."""
TYPES: Final = {
    "email": {"email"}, "sms": {"twilio", "sms", "whatsapp"}, "whatsapp": {"whatsapp", "twilio"}, "push": {"push"},
    "in_app": {"in_app"}, "inbox_message": {"inbox", "inbox_message", "in_app"},
}
"""The `type` that each send kind may have in the lists; a WhatsApp message by Twilio is `twilio`."""


class ListedDelivery(NamedTuple):
    """One delivery as the API shows it."""

    id: str
    type: str | None
    template: int | None
    """None where the list does not tell."""
    recipient: str
    subject: str | None
    created: float


def listed_deliveries(items: Iterable[Mapping[str, Any]]) -> list[ListedDelivery]:
    """Read a list of deliveries; those of campaigns, newsletters and broadcasts are nobody's here."""
    found = []
    for item in items:
        delivery_id, created = item.get("id"), item.get("created")
        others = (item.get(name) for name in ("campaign_id", "newsletter_id", "broadcast_id"))
        if not isinstance(delivery_id, str) or not isinstance(created, int | float) or any(others):
            continue
        template = item.get("transactional_message_id")
        template = int(template) if isinstance(template, str) and template.isdecimal() else template
        found.append(ListedDelivery(
            delivery_id, item.get("type"), template if type(template) is int else None,
            str(item.get("recipient") or ""), item.get("subject"), float(created),
        ))
    return found


class Match(NamedTuple):
    """What the lists say of one claimant."""

    adopted: ListedDelivery | None = None
    candidates: int = 0
    """Deliveries that may be its own; 0 means that the lists show none."""


def match(
    seen: Sequence[tuple[DoubtfulJob, Collection[ListedDelivery]]], numbers: Mapping[str, int], lag: float
) -> dict[str, Match]:
    """Findings by key, from each claimant and the deliveries of nobody that its own list shows.

    All claimants have to be given at once: one person may be named in two ways, and a delivery has one owner.
    `numbers` are the templates behind trigger names, where known.
    """
    likely = {one.key: [s for s in free if is_like(one, s, numbers, lag)] for one, free in seen}
    claims = Counter(listed.id for mine in likely.values() for listed in mine)
    findings = {}
    for one, free in seen:
        mine = likely[one.key]
        sole = mine[0] if len(mine) == 1 and claims[mine[0].id] == 1 else None
        findings[one.key] = Match(sole, sum(may_be(one, s, numbers, lag) for s in free))
    return findings


def may_be(doubtful: DoubtfulJob, listed: ListedDelivery, numbers: Mapping[str, int], lag: float) -> bool:
    """Whether nothing that is sure speaks against it."""
    if listed.type is not None and listed.type not in TYPES.get(doubtful.kind, {listed.type}):
        return False
    if not doubtful.since - WIDE_SKEW <= listed.created <= doubtful.until + lag + WIDE_SKEW:
        return False
    number = number_of(doubtful, numbers)
    return number is None or listed.template is None or listed.template == number


def is_like(doubtful: DoubtfulJob, listed: ListedDelivery, numbers: Mapping[str, int], lag: float) -> bool:
    """Whether template, time, recipient and subject all speak for it."""
    in_time = doubtful.since - SKEW <= listed.created <= doubtful.likely_until + lag
    if not in_time or not may_be(doubtful, listed, numbers, lag):
        return False
    number = number_of(doubtful, numbers)
    if number is None or listed.template != number:
        return False
    return _same_recipient(doubtful, listed.recipient) and _same_subject(doubtful, listed.subject)


def number_of(doubtful: DoubtfulJob, numbers: Mapping[str, int]) -> int | None:
    """The number of its template; None for a trigger name that nobody has resolved."""
    return doubtful.template if isinstance(doubtful.template, int) else numbers.get(doubtful.template)


def _same_recipient(doubtful: DoubtfulJob, shown: str) -> bool:
    wanted = doubtful.detail.get("to")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    if doubtful.kind == "email":
        return bool(_addresses(wanted) & _addresses(shown))
    return doubtful.kind not in ("sms", "whatsapp") or wanted.strip() == shown.strip()


def _addresses(text: str) -> set[str]:
    return {address.strip().lower() for _, address in getaddresses([text]) if address}


def _same_subject(doubtful: DoubtfulJob, shown: str | None) -> bool:
    wanted = doubtful.detail.get("subject")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    return wanted.split() == shown.split()
