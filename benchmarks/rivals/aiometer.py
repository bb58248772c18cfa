"""aiometer: runs a list of calls, evenly spaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiometer

if TYPE_CHECKING:
    from rivals import Post


async def paced(post: Post, rate: int, count: int) -> None:
    await aiometer.run_all([post] * count, max_per_second=rate)
