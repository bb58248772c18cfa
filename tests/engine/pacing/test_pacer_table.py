"""The instants of a pacer's permits, to the millisecond, in virtual time that starts at 1000."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sender.engine.pacing.guard import Guard
from sender.engine.pacing.pacer import CATCH_UP, LOOK_AGAIN, MARGIN, SLACK, LocalPacers, Pacer

if TYPE_CHECKING:
    from sender.engine.pacing.permit import Permit
    from tests.support.virtual_time import VirtualLoop

START = 1000.0
near = partial(pytest.approx, rel=0, abs=1e-6)


def now() -> float:
    return asyncio.get_running_loop().time()


async def written(pacer: Pacer, count: int = 1) -> list[float]:
    """The instants of so many writes, one after another."""
    stamps = []
    for _ in range(count):
        (await pacer.acquire()).written()
        stamps.append(now())
    return stamps


def step(rate: float, spread: float = 0.0, share: float = 1.0) -> float:
    return (1.0 + SLACK + spread) / (rate * share)


@pytest.mark.parametrize(
    ("rate", "reached", "window"), [(100, 100.0, 1.0), (2.9, 2.0, 1.0), (1, 1.0, 1.0), (0.5, 0.5, 2.0)]
)
def test_rate_and_window(virtual: VirtualLoop, rate: float, reached: float, window: float) -> None:
    async def body() -> None:
        for pacer in (Pacer(rate), Pacer(7)):
            pacer.set_rate(rate)
            assert (pacer.rate, pacer.window) == (reached, window)
            assert (pacer.paused, pacer.paused_until) == (False, -math.inf)

    virtual.run_until_complete(body())


def test_slots_are_even_and_a_little_wider_than_the_window(virtual: VirtualLoop) -> None:
    async def body() -> None:
        assert await written(Pacer(10), 40) == near([START + n * step(10) for n in range(40)])

    virtual.run_until_complete(body())


def test_a_guard_widens_window_and_slots_and_takes_a_share(virtual: VirtualLoop) -> None:
    async def body() -> None:
        guard = Guard()
        guard.spread, guard.share = 0.03, 0.5
        pacer = Pacer(10, guard=guard)
        assert await written(pacer, 10) == near([START + n * step(10, 0.03, 0.5) for n in range(10)])
        guard.share = 1.0
        full = Pacer(2, guard=guard)
        for permit in [await full.acquire(), await full.acquire()]:
            permit.written()
        assert full.next_at(now()) == near(now() + 1.0 + MARGIN + 0.03)

    virtual.run_until_complete(body())


def test_the_window_holds_whatever_the_slots_say(virtual: VirtualLoop) -> None:
    """Writes that come late and together: the next one waits until the first of them has left the window."""

    async def body() -> None:
        pacer = Pacer(2, catch_up=0)
        early, late = await pacer.acquire(), await pacer.acquire()
        assert pacer.next_at(now()) == math.inf, "both may be written at any instant from now on"
        early.written()
        stamp = now()
        assert pacer.next_at(now()) == near(stamp + 1.0 + MARGIN), "the late one counts as if written now"
        await asyncio.sleep(0.7)
        late.written()
        assert pacer.next_at(now()) == near(stamp + 1.0 + MARGIN)
        await pacer.acquire()
        assert now() == near(stamp + 1.0 + MARGIN)
        assert pacer.next_at(now()) == near(stamp + 0.7 + 1.0 + MARGIN)

    virtual.run_until_complete(body())


@pytest.mark.parametrize("catch_up", [0, 3, CATCH_UP])
def test_a_stall_is_made_up_by_so_many_slots_and_rest_by_none(virtual: VirtualLoop, catch_up: int) -> None:
    async def body() -> None:
        pacer = Pacer(100, catch_up=catch_up)

        async def at_once() -> int:
            count = 0
            while pacer.next_at(now()) <= now():
                await written(pacer)
                count += 1
            return count

        assert await at_once() == 1, "nothing is made up at the start"
        virtual.stall(5)
        assert await at_once() == 1 + catch_up
        virtual.stall(5)
        pacer.rest()
        assert await at_once() == 1
        virtual.stall(5)
        assert await at_once() == 1 + catch_up, "a rest is over with the first permit after it"

    virtual.run_until_complete(body())


def test_after_a_pause_nothing_is_made_up(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(100)
        await written(pacer)
        await pacer.pause()
        await pacer.resume()
        await asyncio.sleep(3)
        await written(pacer)
        assert pacer.next_at(now()) == near(now() + step(100))

    virtual.run_until_complete(body())


def test_while_paused_it_looks_again(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(100)
        await pacer.pause()
        assert pacer.paused
        assert pacer.next_at(now()) == now() + LOOK_AGAIN
        waiting = asyncio.create_task(written(pacer))
        await asyncio.sleep(7.3)
        await pacer.resume()
        assert pacer.paused is False
        assert await waiting == [START + 7.3], "it is woken, and does not sleep until it would look again"

    virtual.run_until_complete(body())


def test_the_later_of_two_pauses_wins(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(100)
        pacer.pause_until(START + 5)
        pacer.pause_until(START + 3)
        assert pacer.paused_until == START + 5
        assert await written(pacer, 2) == near([START + 5, START + 5 + step(100)])

    virtual.run_until_complete(body())


def test_permits_come_in_the_order_of_asking(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer, order = Pacer(10), list[int]()

        async def ask(number: int) -> None:
            permit = await pacer.acquire()
            order.append(number)
            permit.written()

        await asyncio.gather(*(ask(number) for number in range(8)))
        assert order == list(range(8))

        async def late() -> None:
            await asyncio.sleep(pacer.next_at(now()) - now())
            await ask(99)  # asks at the very instant at which the first of those who wait is due

        asked = [asyncio.create_task(ask(number)) for number in range(8, 11)]
        await asyncio.gather(late(), *asked)
        assert order == [*range(11), 99]

    virtual.run_until_complete(body())


@pytest.mark.parametrize("among_waiting", [False, True])
def test_who_gives_up_holds_nobody_up(virtual: VirtualLoop, among_waiting: bool) -> None:
    async def body() -> None:
        pacer = Pacer(10)
        await written(pacer)
        gone = asyncio.create_task(pacer.acquire())
        waiting = asyncio.create_task(written(pacer)) if among_waiting else None
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        stamps = await waiting if waiting else await written(pacer)
        assert stamps == near([START + step(10)])
        await asyncio.sleep(1)
        at_once = pacer.acquire()
        with pytest.raises(StopIteration):
            at_once.send(None)

    virtual.run_until_complete(body())


def test_a_permit_that_is_given_back_makes_room_at_once(virtual: VirtualLoop) -> None:
    async def given_back(write: bool) -> float:
        pacer = Pacer(2)
        begin = now()
        permits: list[Permit] = [await pacer.acquire(), await pacer.acquire()]
        if write:
            permits.pop(0).written()
        waiting = asyncio.create_task(written(pacer))
        await asyncio.sleep(0.6)
        permits[0].cancel()
        return (await waiting)[0] - begin

    async def body() -> None:
        for write in (False, True):
            assert await given_back(write) == near(step(2) + 0.6)

    virtual.run_until_complete(body())


def test_a_write_lets_the_next_one_know_when(virtual: VirtualLoop) -> None:
    """Who waits for an unwritten request is told as soon as it is written, and then waits for the window."""

    async def body() -> None:
        pacer = Pacer(1)
        permit = await pacer.acquire()
        waiting = asyncio.create_task(written(pacer))
        await asyncio.sleep(5)
        permit.written()
        assert await waiting == near([START + 5 + 1.0 + MARGIN])

    virtual.run_until_complete(body())


@pytest.mark.parametrize(
    ("before", "after", "pause"),
    [(100, 0.1, 10 + MARGIN), (0.5, 0.1, 10 + MARGIN), (0.1, 100, None), (100, 50, None), (100, 100, None)],
)
def test_the_last_write_stands_for_those_that_a_longer_window_would_count(
    virtual: VirtualLoop, before: float, after: float, pause: float | None
) -> None:
    async def body() -> None:
        idle = Pacer(before)
        idle.set_rate(after)
        assert idle.paused_until == -math.inf, "nothing was written"
        pacer = Pacer(before)
        await written(pacer)
        await asyncio.sleep(0.25)
        pacer.set_rate(after)
        assert pacer.paused_until == (-math.inf if pause is None else START + pause)

    virtual.run_until_complete(body())


def test_a_new_rate_holds_from_the_next_slot_on(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(1)
        await written(pacer)
        waiting = asyncio.create_task(written(pacer, 3))
        await asyncio.sleep(0.5)
        pacer.set_rate(10)
        assert await waiting == near([START + 0.5 + n * step(10) for n in (1, 2, 3)])
        slower = Pacer(10)
        (stamp,) = await written(slower)
        slower.set_rate(2)
        assert slower.next_at(now()) == near(stamp + step(10)), "a slot that is known comes no later"

    virtual.run_until_complete(body())


def test_writes_leave_the_window_one_by_one(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(3, catch_up=3)
        permits = [await pacer.acquire() for _ in range(3)]
        stamps = []
        for permit in permits:
            await asyncio.sleep(0.2)
            permit.written()
            stamps.append(now())
        for stamp in stamps:
            (await pacer.acquire()).written()
            assert now() >= stamp + 1.0 + MARGIN - 1e-9
        assert (pacer.requests, pacer.first_written, pacer.most_in_window) == (6, stamps[0], 3)

    virtual.run_until_complete(body())


def test_what_is_urgent_passes_those_who_wait_and_a_pause_of_the_api(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(10)
        await written(pacer)
        pacer.pause_until(START + 60)
        waiting = asyncio.create_task(written(pacer))
        await asyncio.sleep(0.01)
        (await pacer.acquire_urgent()).written()
        assert (now(), waiting.done()) == (START + 0.01, False)
        assert await waiting == near([START + 60])

    virtual.run_until_complete(body())


def test_what_is_urgent_keeps_the_limit_and_counts_towards_it(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(2)
        permits = [await pacer.acquire_urgent(), await pacer.acquire_urgent()]
        assert pacer.next_at(now()) == math.inf
        for permit in permits:
            permit.written()
        assert pacer.next_at(now()) == near(START + 1.0 + MARGIN)
        (await pacer.acquire_urgent()).written()
        assert now() == near(START + 1.0 + MARGIN)
        assert (pacer.requests, pacer.most_in_window) == (3, 2)

    virtual.run_until_complete(body())


def test_what_is_urgent_waits_for_an_unwritten_request_and_for_resume(virtual: VirtualLoop) -> None:
    async def body() -> None:
        pacer = Pacer(1)
        slow = await pacer.acquire()
        urgent = asyncio.create_task(pacer.acquire_urgent())
        await asyncio.sleep(5.2)
        assert not urgent.done()
        slow.cancel()
        (await urgent).cancel()
        assert START + 5.2 <= now() <= START + 5.2 + LOOK_AGAIN
        await pacer.pause()
        urgent = asyncio.create_task(pacer.acquire_urgent())
        await asyncio.sleep(10)
        assert not urgent.done()
        at = now()
        await pacer.resume()
        await urgent
        assert at <= now() <= at + LOOK_AGAIN

    virtual.run_until_complete(body())


def test_a_run_alone_paces_each_lane_by_itself(virtual: VirtualLoop) -> None:
    async def body() -> None:
        guard = Guard()
        guard.share = 0.5
        pacer = LocalPacers().pacer("send", 10, guard=guard, demand=lambda: (0, 0, 0), joins=True)
        assert pacer.rate == 10
        assert await written(pacer, 3) == near([START + n * step(10, share=0.5) for n in range(3)])

    virtual.run_until_complete(body())
