"""The names that `import sender` offers (docs/library.md), imported when they are first used.

The command line starts without them. Their types stand in `sender/__init__.pyi`.
"""

from importlib import import_module
from typing import Any, Final

MODULES: Final = {
    "HaltError": "sender.errors",
    "Outcome": "sender.outcomes.outcome",
    "SendSession": "sender.send.library",
    "Settings": "sender.config.settings",
    "UsageError": "sender.errors",
    "open_session": "sender.send.library",
}


def __getattr__(name: str) -> Any:
    """The object behind a public name."""
    if name not in MODULES:
        raise AttributeError(f"module 'sender' has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)
