"""The operator's log on stderr. Per-job facts go to the outcome log, never here."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

from sender.masking import mask_credentials

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(form: str, level: str) -> None:
    """Configure structlog for this process."""
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer())
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _mask(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: mask_credentials(value) if isinstance(value, str) else value for key, value in event.items()}
