"""A SessionPlan is everything that is settled before a session is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Where to send, with which key, and where to write."""

    settings: Settings
    base_url: str
    outcomes: Path
    ledger: Path
    api_key: ApiKey | None
    """None where nothing is requested."""
    state: str = ""
    """URL of the shared state, which is then used instead of the ledger."""

    @property
    def key(self) -> ApiKey:
        """The key, where there has to be one."""
        if self.api_key is None:
            raise ValueError("a session that makes requests needs a key")
        return self.api_key
