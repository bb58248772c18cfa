from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.engine.pacing.guard import MOST_SPREAD, Guard
from sender.engine.pacing.pace import window_of
from sender.engine.pacing.pacer import Pacer
from tests.support.virtual_time import VirtualLoop, most_in_any, run_virtual


async def write_now(pacer: Pacer, stamps: list[float]) -> None:
    permit = await pacer.acquire()
    permit.written()
    stamps.append(asyncio.get_running_loop().time())


@pytest.mark.parametrize("rate", [1, 10, 100, 1000])
def test_full_rate_and_true_ceiling(rate: int) -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(rate), []
        count = rate * 30
        for _ in range(count):
            await write_now(pacer, stamps)
        assert most_in_any(1.0, stamps) <= rate
        assert rate - 1 <= pacer.most_in_window <= rate
        assert (count - 1) / (stamps[-1] - stamps[0]) >= 0.995 * rate

    run_virtual(body)


def test_first_second_is_full_and_even() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), []
        begin = loop.time()
        while loop.time() < begin + 1:
            await write_now(pacer, stamps)
        in_first = [stamp for stamp in stamps if stamp < begin + 1]
        assert len(in_first) == 100
        assert most_in_any(0.1, in_first) <= 11

    run_virtual(body)


def test_no_burst_after_idle() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), []
        for _ in range(250):
            await write_now(pacer, stamps)
        pacer.rest()
        await asyncio.sleep(10)
        after = loop.time()
        for _ in range(250):
            await write_now(pacer, stamps)
        late = [stamp for stamp in stamps if stamp >= after]
        assert most_in_any(0.1, late) <= 11
        assert most_in_any(1.0, stamps) <= 100

    run_virtual(body)


def test_a_stall_is_made_up_within_bounds() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), []
        for number in range(3000):
            if number % 300 == 150:
                loop.stall(0.2)
            await write_now(pacer, stamps)
        assert most_in_any(1.0, stamps) <= 100
        assert 2999 / (stamps[-1] - stamps[0]) >= 99.5
        loop.stall(30)
        after = loop.time()
        for _ in range(100):
            await write_now(pacer, stamps)
        assert most_in_any(0.05, [stamp for stamp in stamps if stamp >= after]) <= 25 + 6

    run_virtual(body)


def test_one_in_ten_seconds() -> None:
    assert window_of(0.1) == (1, 10.0)

    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(0.1), []
        for _ in range(20):
            await write_now(pacer, stamps)
        assert all(later - earlier >= 10 for earlier, later in pairwise(stamps))

    run_virtual(body)


def test_a_cancelled_permit_is_not_lost_and_a_cancelled_wait_takes_nothing() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer = Pacer(1)
        (await pacer.acquire()).cancel()
        (await pacer.acquire()).written()
        waiting = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        begin = loop.time()
        (await pacer.acquire()).written()
        assert loop.time() - begin < 1.0
        assert pacer.requests == 2

    run_virtual(body)


def test_an_unwritten_request_holds_its_place() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer = Pacer(2)
        slow = await pacer.acquire()
        (await pacer.acquire()).written()
        await asyncio.sleep(5)
        (await pacer.acquire()).written()
        waiting = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.4)
        assert not waiting.done(), "the slow one may be written at any instant from now on"
        slow.written()
        await waiting
        assert pacer.most_in_window <= 2

    run_virtual(body)


def test_pause() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), []
        await write_now(pacer, stamps)
        pause = loop.time() + 7
        pacer.pause_until(pause)
        for _ in range(200):
            await write_now(pacer, stamps)
        assert stamps[1] >= pause
        assert most_in_any(0.1, stamps[1:]) <= 36

    run_virtual(body)


@settings(max_examples=150, deadline=None)
@given(
    rate=st.sampled_from([1, 3, 10, 100]),
    seed=st.integers(0, 2**32),
    stalls=st.floats(0, 0.1),
    lag=st.floats(0, 0.5),
)
def test_never_above_the_ceiling(rate: int, seed: int, stalls: float, lag: float) -> None:
    """Stalls between permit and write, idle times, lost permits, late writes: never more than `rate` in any second."""
    chance = random.Random(seed)
    stamps: list[float] = []

    async def body(loop: VirtualLoop) -> None:
        pacer = Pacer(rate)

        async def attempt(late: float) -> None:
            permit = await pacer.acquire()
            if chance.random() < 0.05:
                permit.cancel()
                return
            if chance.random() < stalls:
                loop.stall(chance.random() * 3)
            if not late:
                permit.written()
                stamps.append(loop.time())
                return

            async def write_late() -> None:
                await asyncio.sleep(late)
                permit.written()
                stamps.append(loop.time())

            pending.append(asyncio.create_task(write_late()))

        pending: list[asyncio.Task[None]] = []
        for _ in range(rate * 4):
            if chance.random() < 0.02:
                await asyncio.sleep(chance.random() * 3)
            await attempt(chance.random() * lag if chance.random() < 0.3 else 0.0)
        await asyncio.gather(*pending)

    run_virtual(body)
    assert most_in_any(1.0, stamps) <= rate


def refused_share(
    jitter: float, seconds: int, *, rival: float = 0.0, skip: float = 0.0, careful: bool = False
) -> tuple[float, float]:
    """(rate reached, part refused after `skip` seconds) against a strict sliding count behind a jittered wire."""
    chance = random.Random(7)
    result: list[float] = []

    async def body(loop: VirtualLoop) -> None:
        guard = Guard.careful() if careful else Guard()
        pacer = Pacer(100, guard=guard)
        begin = loop.time()
        counted: list[float] = []
        answers: list[tuple[float, bool]] = []

        async def arrive(written: float) -> None:
            await asyncio.sleep(chance.random() * jitter)
            now = loop.time()
            counted[:] = [stamp for stamp in counted if stamp > now - 1]
            taken = len(counted) < 100
            if taken:
                counted.append(now)
            await asyncio.sleep(0.05 + chance.random() * jitter)
            if taken:
                guard.accepted(loop.time(), loop.time() - written)
            else:
                guard.refused(loop.time())
            answers.append((written - begin, taken))

        async def other() -> None:
            while rival:
                await asyncio.sleep(1 / rival)
                now = loop.time()
                counted[:] = [stamp for stamp in counted if stamp > now - 1]
                if len(counted) < 100:
                    counted.append(now)

        rival_task = asyncio.create_task(other())
        async with asyncio.TaskGroup() as group:
            while loop.time() < begin + seconds:
                permit = await pacer.acquire()
                permit.written()
                group.create_task(arrive(loop.time()))
        rival_task.cancel()
        late = [taken for written, taken in answers if written >= skip]
        taken = sum(late)
        result.extend((taken / (seconds - skip), 1 - taken / len(late)))

    run_virtual(body)
    return result[0], result[1]


@pytest.mark.parametrize("jitter", [0.002, 0.01, 0.03])
def test_jitter_is_learned(jitter: float) -> None:
    rate, refused = refused_share(jitter, 80, skip=20)
    assert rate >= 94
    assert refused <= 0.002


@pytest.mark.parametrize(("jitter", "least"), [(0.0, 99.5), (0.002, 99.0), (0.01, 98.0), (0.03, 96.0), (0.1, 94.0)])
def test_a_careful_guard_is_hardly_refused_from_the_first_second_on(jitter: float, least: float) -> None:
    """A wire of 0 to 100 ms each way had one request in a hundred refused until the guard had learned it."""
    rate, refused = refused_share(jitter, 20, careful=True)
    assert refused < 0.005
    assert rate >= least


def test_a_rival_on_the_same_budget() -> None:
    rate, refused = refused_share(0.002, 120, rival=50, skip=30)
    assert refused < 0.02
    assert rate + 50 > 90


def test_guard_is_idle_without_refusals() -> None:
    guard = Guard()
    for second in range(1000):
        guard.accepted(float(second))
    assert guard.spread == 0.0
    assert guard.share == 1.0


def test_what_a_rival_left_is_taken_again_within_two_minutes() -> None:
    """After a stretch of refusals the lane took ten minutes to come back to its rate."""
    guard, now = Guard(), 0.0
    for answer in range(2000):
        now += 0.05
        if answer % 3:
            guard.accepted(now)
        else:
            guard.refused(now)
    assert guard.share < 0.2
    quiet_since = now
    while guard.share < 1.0:
        now += 0.5
        guard.accepted(now)
    assert now - quiet_since < 120


def test_guard_forgets_slowly() -> None:
    guard = Guard()
    for second in range(20):
        guard.refused(float(second * 2))
    assert guard.spread <= MOST_SPREAD
    for second in range(40, 40_000):
        guard.accepted(float(second))
    assert guard.spread == 0.0
    assert guard.share == 1.0


@given(rates=st.lists(st.sampled_from([0.1, 0.5, 1, 7, 50, 100, 300]), min_size=2, max_size=6), seed=st.integers())
@settings(max_examples=60)
def test_a_changed_rate_holds_from_its_change_on(rates: list[float], seed: int) -> None:
    async def body(loop: VirtualLoop) -> None:
        chance = random.Random(seed)
        pacer, written = Pacer(rates[0]), list[float]()
        for rate in rates:
            pacer.set_rate(rate)
            limit, window = window_of(rate)
            before = len(written)
            for _ in range(chance.randint(1, 3 * limit)):
                await write_now(pacer, written)
            for stamp in written[before:]:
                assert len([one for one in written if stamp - window < one <= stamp]) <= limit

    run_virtual(body)


def test_a_longer_window_still_counts_what_was_just_written() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), list[float]()
        await write_now(pacer, stamps)
        await asyncio.sleep(5)
        pacer.set_rate(0.1)
        await write_now(pacer, stamps)
        assert stamps[1] - stamps[0] >= 10

    run_virtual(body)


def test_a_higher_rate_does_not_wait_for_the_old_slot() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(0.01), list[float]()
        await write_now(pacer, stamps)
        waiting = asyncio.create_task(write_now(pacer, stamps))
        await asyncio.sleep(2)
        pacer.set_rate(100)
        await waiting
        assert stamps[1] - stamps[0] < 2.1

    run_virtual(body)


def test_while_paused_nothing_starts_and_afterwards_there_is_no_burst() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer, stamps = Pacer(100), list[float]()
        for _ in range(50):
            await write_now(pacer, stamps)
        await pacer.pause()
        assert pacer.paused
        waiting = asyncio.create_task(write_now(pacer, stamps))
        await asyncio.sleep(60)
        assert len(stamps) == 50
        assert loop.time() < pacer.next_at(loop.time()) < loop.time() + 1, "a lane looks again by itself"
        await pacer.resume()
        await waiting
        released = loop.time()
        for _ in range(200):
            await write_now(pacer, stamps)
        assert most_in_any(1.0, stamps) <= 100
        assert len([stamp for stamp in stamps if released <= stamp < released + 0.1]) <= 12

    run_virtual(body)
