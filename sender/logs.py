"""The operator's log on stderr. Per-job facts go to the outcome log, never here."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Final

import orjson
import structlog

from sender.masking import mask_credentials
from sender.screen import SCREEN

OUTCOME: Final = 25
"""The level of a consumer's line for each outcome: above info, below warning."""
LEVELS: Final = {
    "debug": logging.DEBUG, "info": logging.INFO, "outcome": OUTCOME, "warning": logging.WARNING,
    "error": logging.ERROR,
}  # fmt: skip


def set_up(form: str, level: str) -> None:
    """Configure structlog for this process."""
    processors: list[Any] = [
        structlog.processors.add_log_level,
        _name_outcomes,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer(_dumps))
    else:
        colors = SCREEN.is_terminal and not os.environ.get("NO_COLOR")
        processors.append(structlog.dev.ConsoleRenderer(colors=colors))
    structlog.configure(
        processors=processors,
        wrapper_class=_with_outcomes(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(SCREEN),  # type: ignore[arg-type]  # write and flush are all it needs
        cache_logger_on_first_use=True,
    )


def _with_outcomes(least: int) -> type[Any]:
    """A logger with one more method, `outcome`, at a level of its own."""
    filtering: type[Any] = structlog.make_filtering_bound_logger(least)

    def outcome(self: Any, event: str, **facts: Any) -> Any:
        return self._proxy_to_logger("info", event, outcome_level=True, **facts) if least <= OUTCOME else None

    return type("OutcomeLogger", (filtering,), {"outcome": outcome})


def _name_outcomes(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    if event.pop("outcome_level", False):
        event["level"] = "outcome"
    return event


def _dumps(event: dict[str, Any], **_: Any) -> str:
    """One line, whatever stands in the event: a log line must never be why a run ends."""
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # orjson refuses texts that are not UTF-8 and integers over 64 bits
        return json.dumps(event, default=str)


def _mask(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner) for inner in value]
    return mask_credentials(str(value))
