"""What a scrape asks of others, it does not wait for long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

Answer = TypeVar("Answer")

WITHIN: Final = 2.0
"""Seconds; a scrape itself has about 5."""


async def answer_of(question: Awaitable[Answer]) -> Answer | None:
    """The answer, or None if there is none in time: an old one would be taken for a new one."""
    try:
        async with asyncio.timeout(WITHIN):
            return await question
    except Exception:  # noqa: BLE001 - what cannot be asked is told by those who work with it, not by the scrape
        return None
