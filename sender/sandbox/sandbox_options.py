"""What can be set about the stand-in; the defaults are the documented limits of the API (docs/api.md, "Limits")."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final, Literal

LimitKind = Literal["strict", "bucket"]
RetryAfter = Literal["none", "seconds", "date"]
Pending = Literal["null", "zero", "absent"]

KINDS: Final = (
    "email", "sms", "whatsapp", "push", "in_app", "inbox_message",
    "broadcast", "newsletter_send", "newsletter_schedule", "content",
)


@dataclass(frozen=True, slots=True)
class Options:
    """All settings of one stand-in; times in seconds unless the name says `_ms`."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    api_key: str = "sandbox-key"
    limit: LimitKind = "strict"
    rate_send: float = 100.0
    """Requests per second; below 1 it means one in 1/N s, 0 means no limit."""
    rate_trigger: float = 0.1
    rate_app: float = 10.0
    queue: int = 5
    """How many triggers may wait to be processed, over all broadcasts."""
    queue_full: int = 429
    """Status of one trigger more than that: 429 or 422, neither is documented (docs/api.md, "Not documented")."""
    processing_time: float = 2.0
    """How long one trigger takes; they are processed one after another."""
    pending: Pending = "null"
    """How `processed_at` of a waiting trigger looks."""
    visibility_lag: float = 2.0
    """How long after acceptance deliveries, and `sent_at` of a newsletter, show up in GETs."""
    show_scheduled: bool = False
    """Whether a send with a future `send_at` is listed before it is due."""
    hide_template_id: bool = False
    """Leave `transactional_message_id` out of the listed deliveries."""
    latency_ms: tuple[float, float] = (0.0, 0.0)
    jitter_ms: float = 0.0
    """A wire with 0..J ms each way, uniform and independent per request."""
    retry_after: RetryAfter = "none"
    """What a 429 on sends and triggers carries; those on the other endpoints always carry seconds."""
    keep_alive: float = 75.0
    forget: bool = False
    """Keep counts only, for runs of millions."""
    no_read_scope: bool = False
    forbid: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    fates: tuple[str, ...] = ()
    """Chances of what becomes of accepted sends, as in `fates.parse_chance`; without any all arrive."""
    deliver_after: tuple[float, float] = (1.0, 1.0)
    """How long after it is sent a message arrives or comes back, from least to most."""
    webhook: str = ""
    """URL to which reporting webhooks are posted; none where it is empty."""
    webhook_key: str = "sandbox-signing-key"
    webhook_repeats: float = 0.0
    """Share of the events that are posted twice, from 0 to 1."""
    webhook_ca: str = ""
    """PEM of the authority behind an https URL."""
    seed: int | None = None


def milliseconds(text: str) -> tuple[float, float]:
    """`5` or `5-20` as (least, most); raises ArgumentTypeError."""
    least, _, most = text.partition("-")
    try:
        span = (float(least), float(most or least))
    except ValueError:
        span = (1.0, 0.0)
    if not 0 <= span[0] <= span[1] < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither MS nor MIN-MAX in milliseconds")
    return span


def span(text: str) -> tuple[float, float]:
    """`5` or `5-20` in seconds, as (least, most); raises ArgumentTypeError."""
    try:
        return milliseconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither SECONDS nor MIN-MAX in seconds") from None


def share(text: str) -> float:
    """`0.1` or `10%`; raises ArgumentTypeError."""
    value = amount(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1, or like 10%")
    return value


def amount(text: str) -> float:
    """A finite number not below 0; raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value


def port_number(text: str) -> int:
    """A TCP port, 0 for a free one; raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def whole(text: str) -> int:
    """A whole number not below 0; raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)
