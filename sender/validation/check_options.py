"""What can be set about the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RISKY: Final = frozenset({"exe", "bat", "cmd", "com", "js", "jar", "msi", "scr", "vbs", "ps1"})


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set about the checks."""

    require_identifiers: bool = True
    """Whether an email without `identifiers` is refused, or only warned of (docs/api.md, "Identifiers")."""
    risky_extensions: frozenset[str] = RISKY


DEFAULT: Final = Options()
