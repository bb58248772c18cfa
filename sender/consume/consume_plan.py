"""A ConsumePlan is everything that is known before a consumer begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Where the jobs of one workspace go."""

    name: str | None
    """None for jobs that name no workspace."""
    base_url: str
    key: ApiKey
    ledger: Path | None
    """None where the state is shared."""


@dataclass(frozen=True, slots=True)
class ConsumePlan:
    """What to read, where to send, and where to write."""

    settings: Settings
    urls: tuple[str, ...]
    workspaces: tuple[WorkspaceConfig, ...]
    outcomes: str
    """A path, `-` for stdout, or a queue's URL."""
    state: str
    """URL of the shared state, or empty."""
    dead_letter: str
    retry_to: str
    """The URL of a queue, or empty."""
    config: str
    """Path of the settings file, which is followed; or empty."""
    read_settings: Callable[[], Settings]
    """Reads them anew, from command line, environment and file."""
