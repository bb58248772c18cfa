"""aiometer: runs a list of calls, evenly spaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiometer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def paced(post: Callable[[], Awaitable[None]], rate: int, count: int) -> None:
    await aiometer.run_all([post] * count, max_per_second=rate)
