"""A run waits until the API's lists show its attempts."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from sender.config.settings import DEFAULTS
from tests.doubts.test_histories import LAG, World, attempt
from tests.support.virtual_time import VirtualLoop, run_virtual


@pytest.mark.parametrize("seconds", [-2.4, -0.9, 0.0, 2.4])
def test_what_is_thought_of_the_apis_clock_may_change_meanwhile(seconds: float) -> None:
    """A doubt stayed open, and the run ended with 1, when the API's time turned out to be earlier."""

    async def story(loop: VirtualLoop) -> None:
        world = World(loop)
        await attempt(world, 1, "in_doubt", accepted=True, step=0)
        settling = asyncio.create_task(world.doubts.resolve())
        await asyncio.sleep(LAG / 2)
        world.clock.observe(formatdate(world.api_now() + seconds, usegmt=True))
        await settling
        assert world.doubts.resolved.still_open == []
        assert world.doubts.resolved.counts() == {"sent": 1}

    assert DEFAULTS.reconcile_lag == LAG
    run_virtual(story)
