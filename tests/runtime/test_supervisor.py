"""Supervised tasks that end before they began."""

from __future__ import annotations

import asyncio
import gc
import warnings

from sender.runtime.supervisor import Supervisor


def test_work_that_never_began_is_closed() -> None:
    async def work() -> None:
        await asyncio.sleep(3600)

    async def begin_and_end() -> None:
        async with Supervisor() as supervisor:
            supervisor.start(work(), "work")

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(begin_and_end())
        gc.collect()
    assert [str(one.message) for one in told] == []
