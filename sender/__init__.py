"""sender delivers a pile of jobs to the Customer.io App API: paced to its limit, nothing lost, nothing twice."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["HaltError", "Outcome", "SendSession", "Settings", "UsageError", "open_session"]

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.errors import HaltError, UsageError
    from sender.outcomes.outcome import Outcome
    from sender.send.library import SendSession, open_session

_HOMES = {
    "HaltError": "sender.errors",
    "Outcome": "sender.outcomes.outcome",
    "SendSession": "sender.send.library",
    "Settings": "sender.config.settings",
    "UsageError": "sender.errors",
    "open_session": "sender.send.library",
}


def __getattr__(name: str) -> Any:
    """What the library offers, imported when it is first used: the command line starts without it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
