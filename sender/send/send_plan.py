"""A SendPlan is everything that is settled before a run begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What to send, where to, and where to write."""

    settings: Settings
    inputs: tuple[str, ...]
    base_url: str
    outcomes: Path
    ledger: Path
    api_key: ApiKey | None
    """None in a dry run."""
    state: str = ""
    """URL of the shared state, which is then used instead of the ledger."""
