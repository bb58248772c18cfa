"""A ListedDelivery is one delivery as the API's lists show it; reading them is strict, what is odd is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OTHERS = ("campaign_id", "newsletter_id", "broadcast_id")
"""What a delivery has that comes from no transactional send."""


class ListedDelivery(NamedTuple):
    """One delivery."""

    id: str
    type: str | None
    template: int | None
    """None where the list does not tell."""
    recipient: str
    subject: str | None
    created: float
    """Unix seconds by the API's clock."""
    people: tuple[tuple[str, str], ...] = ()
    """The identifiers of its person, by type, as far as told."""


class Listing(NamedTuple):
    """What one reading of a list showed."""

    deliveries: tuple[ListedDelivery, ...] = ()
    unreadable: int = 0
    """Entries of an unknown shape: each may be anything."""


def read_listing(entries: Iterable[object], asked_for: tuple[str, str] | None = None) -> Listing:
    """Read a list of deliveries, that of one person if `asked_for` names one.

    Those of campaigns, newsletters and broadcasts are nobody's here.
    """
    found, unreadable = [], 0
    for entry in entries:
        if isinstance(entry, dict) and any(entry.get(name) for name in OTHERS):
            continue
        delivery = _read(entry, asked_for) if isinstance(entry, dict) else None
        if delivery is None:
            unreadable += 1
        else:
            found.append(delivery)
    return Listing(tuple(found), unreadable)


def people_of(message: Mapping[str, Any]) -> dict[str, str]:
    """The identifiers of a delivery's person, by type."""
    shown = message.get("customer_identifiers") or message.get("identifiers")
    pairs = shown.items() if isinstance(shown, dict) else ()
    return {name: str(value) for name, value in pairs if isinstance(value, str | int) and value != ""}


def _read(entry: Mapping[str, Any], asked_for: tuple[str, str] | None) -> ListedDelivery | None:
    delivery_id, created = entry.get("id"), entry.get("created")
    if not isinstance(delivery_id, str) or isinstance(created, bool) or not isinstance(created, int | float):
        return None
    template, kind, subject = entry.get("transactional_message_id"), entry.get("type"), entry.get("subject")
    template = int(template) if isinstance(template, str) and template.isdecimal() else template
    people = people_of(entry) | (dict([asked_for]) if asked_for else {})
    return ListedDelivery(
        delivery_id, kind if isinstance(kind, str) else None, template if type(template) is int else None,
        str(entry.get("recipient") or ""), subject if isinstance(subject, str) else None, float(created),
        tuple(people.items()),
    )
