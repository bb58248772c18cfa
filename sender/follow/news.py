"""News of a delivery, as the API's lists and webhooks tell it; nothing of a person stays in it. Pure.

What comes from the network is read strictly: what has an odd shape is left out, and no text is kept but a masked one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.follow.fate import LOST, code_of
from sender.jobs.kinds import LIST_TYPES
from sender.jobs.masking import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OTHERS: Final = ("campaign_id", "newsletter_id", "broadcast_id")
"""What a delivery has that no transactional send made."""
MOST_METRICS: Final = 40
MOST_REASON: Final = 200
MOST_ID: Final = 256
END_OF_TIME: Final = 253_402_300_800
"""Unix seconds at which the year 10000 begins, which no calendar of ours has."""
_METRIC: Final = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
_DOMAIN: Final = re.compile(r"[a-z0-9.-]{1,253}", re.ASCII)
KINDS: Final = {**{kind: name for name, kind in LIST_TYPES.items()}, "sms": "sms", "inbox": "inbox_message"}
"""The kind behind a `type` of a list, or an `object_type` of a webhook."""
NOT_METRICS: Final = ("created", "queued")


class Reason(NamedTuple):
    """Why a delivery did not arrive."""

    code: str | None
    text: str
    """Masked."""


class News(NamedTuple):
    """What is known of one delivery."""

    delivery_id: str
    metrics: Mapping[str, int]
    """Unix seconds by the vendor's word."""
    reasons: Mapping[str, Reason]
    """By the same words."""
    domain: str | None = None
    """Of an email's recipient."""
    kind: str | None = None
    created: float | None = None
    """Unix seconds."""


def read_entry(entry: object) -> News | None:
    """News of an entry of a list; None for what is no transactional delivery."""
    if not isinstance(entry, dict) or any(entry.get(name) for name in OTHERS):
        return None
    delivery_id, metrics = _id(entry.get("id")), entry.get("metrics")
    if delivery_id is None or not isinstance(metrics, dict | None):
        return None
    known = known_metrics((metrics or {}).items())
    reason = _reason(entry, entry.get("failure_message"))
    told = [metric for metric in known if metric in LOST or metric == "deferred"]
    reasons = {max(told, key=lambda metric: known[metric]): reason} if reason is not None and told else {}
    created = entry.get("created")
    return News(
        delivery_id, known, reasons, _domain(entry.get("type"), entry.get("recipient")),
        KINDS.get(str(entry.get("type"))), int(created) if is_time(created) else None,  # type: ignore[arg-type]
    )


def read_event(event: object) -> News | None:
    """News of a reporting webhook; None for what is no transactional delivery's."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(data, dict) or any(data.get(name) for name in OTHERS):
        return None
    delivery_id = _id(data.get("delivery_id"))
    known = known_metrics([(event.get("metric"), event.get("timestamp"))])
    if delivery_id is None or not known:
        return None
    reason = _reason(data, data.get("failure_message") or data.get("reason"))
    reasons = {} if reason is None else dict.fromkeys(known, reason)
    kind = event.get("object_type")
    return News(delivery_id, known, reasons, _domain(kind, data.get("recipient")), KINDS.get(str(kind)))


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MOST_ID and value.isprintable() else None


def known_metrics(pairs: Iterable[tuple[object, object]]) -> dict[str, int]:
    """Words and their times, without what is none."""
    found: dict[str, int] = {}
    for name, at in pairs:
        if isinstance(name, str) and _METRIC.fullmatch(name) and name not in NOT_METRICS and is_time(at):
            found[name] = int(at)  # type: ignore[call-overload]
        if len(found) >= MOST_METRICS:
            break
    return found


def is_time(value: object) -> bool:
    """Whether these are unix seconds of a year that there is."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < END_OF_TIME


def _reason(told: Mapping[str, Any], text: object) -> Reason | None:
    """Without what names the recipient: the code is taken out before, since it looks like a number."""
    if not isinstance(text, str) or not text.strip():
        return None
    text = " ".join(text[: 4 * MOST_REASON].split())
    people = told.get("customer_identifiers") or told.get("identifiers")
    secrets: list[object] = [told.get("recipient"), told.get("subject"), told.get("customer_id")]
    secrets += people.values() if isinstance(people, dict) else ()
    texts = [one for one in secrets if isinstance(one, str)]
    texts += [one.partition("@")[0] for one in texts if "@" in one]
    return Reason(code_of(text), mask(text, orjson.dumps(texts))[:MOST_REASON])


def _domain(kind: object, recipient: object) -> str | None:
    if kind != "email" or not isinstance(recipient, str):
        return None
    domain = recipient.rpartition("@")[2].rstrip("> ").lower()
    return domain if "@" in recipient and _DOMAIN.fullmatch(domain) else None
