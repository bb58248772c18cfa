"""What a memory that has just begun makes of messages that come again."""

from __future__ import annotations

import asyncio
from typing import Any

from sender.consume.in_flight import UnackedMessage
from sender.consume.memory import YOUNG, Memory
from tests.consume.parts import FakeQueue, message
from tests.support.memory_ledger import MemoryLedger


def came(queue: FakeQueue, deliveries: int, after: float, began: float) -> UnackedMessage:
    found = message(1)
    found.deliveries = deliveries
    return UnackedMessage(queue, found, began + after)  # type: ignore[arg-type]


async def is_lost(queue: Any, *came_after: tuple[int, float], ledger: Any = None) -> bool:
    """Whether a memory that has just begun takes itself for lost, by (deliveries, seconds after its beginning)."""
    began = asyncio.get_running_loop().time()
    memory = Memory(MemoryLedger() if ledger is None else ledger, began=began)
    await memory.compare(queue)
    arrived = [came(queue, deliveries, after, began) for deliveries, after in came_after]
    await memory.judge(arrived)
    found = came(queue, 2, 0.0, began).message
    return memory.forgot(found)


async def test_what_comes_again_before_it_could_have_returned_was_given_out_before_the_state_began() -> None:
    """Such jobs were sent a second time by a state that was made anew, empty."""
    assert await is_lost(FakeQueue(), (1, 0.1), (2, 20.0))


async def test_what_comes_again_later_may_have_been_given_out_in_the_life_of_the_state() -> None:
    assert not await is_lost(FakeQueue(), (1, 0.1), (2, 30.5))


async def test_a_first_start_with_messages_that_were_never_given_out_is_no_loss() -> None:
    assert not await is_lost(FakeQueue(), (1, 0.1), (1, 20.0))


def returning(after: float | None) -> FakeQueue:
    """As RabbitMQ: what nobody has acknowledged returns at once."""
    queue = FakeQueue()
    queue.keep_every = None
    queue.returned_at = None if after is None else asyncio.get_running_loop().time() + after
    return queue


async def test_returned_messages_in_the_first_read_were_given_out_before_the_state_began() -> None:
    """27 of 600 were sent twice, from RabbitMQ after the loss of the state."""
    assert await is_lost(returning(1.0), (2, 1.0))


async def test_returned_messages_after_a_first_read_are_no_loss() -> None:
    assert not await is_lost(returning(None), (1, 0.1), (2, 1.0))
    assert not await is_lost(returning(YOUNG + 1), (2, YOUNG + 1))


async def test_returned_messages_of_a_replica_that_died_are_no_loss() -> None:
    ledger = MemoryLedger()
    assert not await is_lost(returning(None), (1, 0.1), ledger=ledger)
    assert not await is_lost(returning(1.0), (2, 1.0), ledger=ledger), "its successor, with the same state"


async def test_a_replica_that_finds_the_queue_read_learns_of_the_loss_that_another_saw() -> None:
    """Each sent 14 of the other's doubts."""
    ledger = MemoryLedger()
    assert await is_lost(returning(1.0), (2, 1.0), ledger=ledger)
    assert await is_lost(returning(None), (2, 1.0), ledger=ledger)
