"""A FollowPlan is everything that is settled before deliveries are followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings
    from sender.follow.until import Until


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """What to follow, where to ask, and when to end."""

    settings: Settings
    base_url: str
    api_key: ApiKey | None
    """None where nothing is requested."""
    runs: tuple[Path, ...]
    """Outcome logs and ledgers."""
    until: Until
    seconds: float
    """The longest time; infinite where there is none."""
    listen: tuple[str, int] | None = None
    """Where webhooks are taken, instead of reading lists."""
    signing_key: bytes = b""
    state: str = ""
    """URL of the shared state whose sends are followed; empty where there is none."""
    deliveries: Path = Path("sender.deliveries.jsonl")
    """Where what becomes of the state's sends is written."""
