"""What a pacer is made of: windows, permits, one sleeper, and the count of what was written."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from sender.engine.pacing.pace import UNLIMITED, WriteCounter, window_of
from sender.engine.pacing.pacer import Pacer
from sender.engine.pacing.permit import Permit
from sender.engine.pacing.waiter import Waiter

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.1, (1, 10.0)), (0.5, (1, 2.0)), (1, (1, 1.0)), (1.9, (1, 1.0)), (100, (100, 1.0)),
        (math.inf, (UNLIMITED, 1.0)),
    ],
)
def test_a_rate_is_so_many_requests_in_so_many_seconds(rate: float, expected: tuple[int, float]) -> None:
    assert window_of(rate) == expected


def test_without_a_limit_nothing_waits(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(math.inf)
        permits = [await pacer.acquire() for _ in range(1000)]
        assert len(permits) == 1000
        assert virtual.time() - 1000.0 < 1e-6

    virtual.run_until_complete(body())


def test_the_receivers_stamps_may_differ_by_a_millisecond(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer, stamps = Pacer(2), list[float]()
        for number in range(20):
            permit = await pacer.acquire()
            await asyncio.sleep(0.3 * (number % 3))
            permit.written()
            stamps.append(virtual.time())
        assert min(later - earlier for earlier, later in zip(stamps, stamps[2:], strict=False)) >= 1.001 - 1e-9

    virtual.run_until_complete(body())


def test_a_permit_ends_once() -> None:
    for first, second in (("written", "cancel"), ("cancel", "written"), ("cancel", "cancel"), ("written", "written")):
        ends: list[bool] = []
        permit = Permit(ends.append)
        getattr(permit, first)()
        getattr(permit, second)()
        assert ends == [first == "written"]


def test_what_was_written_a_window_ago_is_in_the_window_no_longer() -> None:
    counter = WriteCounter()
    for now in (0.0, 0.5, 1.0, 1.25, 1.5):
        counter.count_written(now, 1.0)
    assert (counter.requests, counter.most_in_window) == (5, 3)
    assert (counter.first_written, counter.last_written) == (0.0, 1.5)


def test_a_sleep_ends_at_its_instant_or_when_it_is_woken(virtual: VirtualLoop) -> None:
    async def body() -> None:
        waiter = Waiter()
        waiter.wake()  # nobody sleeps
        begin = virtual.time()
        await waiter.sleep_until(begin + 5)
        assert (virtual.time(), waiter.until) == (begin + 5, begin + 5)
        sleeping = asyncio.create_task(waiter.sleep_until(math.inf))
        await asyncio.sleep(60)
        assert (sleeping.done(), waiter.until) == (False, math.inf)
        waiter.wake()
        waiter.wake()
        await sleeping
        short = asyncio.create_task(waiter.sleep_until(virtual.time() + 1))
        await asyncio.sleep(0.5)
        waiter.wake()
        await short
        begin = virtual.time()
        await waiter.sleep_until(begin + 10)
        assert virtual.time() == begin + 10, "the timer of an earlier sleep ends no later one"

    virtual.run_until_complete(body())


def test_what_had_no_permit_counts_in_the_window_and_is_forgotten_after_it(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(2)
        for _ in range(1000):
            pacer.occupy()
            await asyncio.sleep(0.5)
        assert len(pacer._written) < 10
        pacer.occupy()
        begin = virtual.time()
        (await pacer.acquire()).written()
        assert virtual.time() - begin > 0.5

    virtual.run_until_complete(body())
