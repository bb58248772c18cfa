"""The operator's log on stderr. Per-job facts go to the outcome log, never here."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Final

import orjson
import structlog

from sender.jobs.masking import mask_credentials
from sender.runtime.screen import SCREEN

OUTCOME: Final = "outcome"
"""The level of `outcome_lines`: what it asks for beyond info is one line for each outcome."""
LEVELS: Final = {
    "debug": logging.DEBUG,
    OUTCOME: logging.INFO,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up(form: str, level: str) -> None:
    """Configure structlog for this process."""
    processors: list[Any] = [
        _add_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer(_dumps))
    else:
        colors = SCREEN.is_terminal and not os.environ.get("NO_COLOR")
        processors.append(structlog.dev.ConsoleRenderer(colors=colors, level_styles=_styles(colors=colors)))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(SCREEN),  # type: ignore[arg-type]  # write and flush are all it needs
        cache_logger_on_first_use=True,
    )


def _add_level(_: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    event.setdefault("level", method)
    return event


def _styles(*, colors: bool) -> dict[str, str]:
    return {OUTCOME: "", **structlog.dev.ConsoleRenderer.get_default_level_styles(colors)}


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
