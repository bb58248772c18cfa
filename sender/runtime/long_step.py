"""Steps that take time in proportion to their input leave the event loop when the input is large."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

LONG: Final = 2**20
"""Bytes that take the slowest of these steps some 50 ms."""


async def run_step(size: int, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Take a step over `size` bytes, in a thread if they are many, so that the loop stands for 50 ms at most."""
    if size <= LONG:
        return step(*args, **kwargs)
    return await asyncio.to_thread(step, *args, **kwargs)
