"""Replicas that do anything in any order, die and come back: no job is ever in two living hands, none is forgotten."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import StateLost
from sender.shared_state.state_url import open_state
from tests.support.ledgers import final, handed

if TYPE_CHECKING:
    from sender.shared_state.shared_state import SharedState
    from tests.support.state_servers import StateServer

KEYS = [f"k{n}" for n in range(30)]


class Replicas:
    """Three of them, and what each believes to hold."""

    def __init__(self, server: StateServer, states: list[SharedState], chance: random.Random) -> None:
        self.server = server
        self.states = states
        self.chance = chance
        self.hands: list[set[str]] = [set() for _ in states]
        self.accepted: list[str] = []
        self.doubted: set[str] = set()

    async def act(self, number: int) -> None:
        ledger, hand = self.states[number].ledger, self.hands[number]
        what = self.chance.choices(["claim", "settle", "release", "die", "take"], [8, 6, 2, 1, 2])[0]
        some = self.chance.sample(KEYS, 5)
        if what == "claim":
            known = await ledger.find(some)
            wanted = [key for key in some if key not in known or known[key].state == "failed"]
            refused = await ledger.hand_over([handed(key) for key in wanted])
            hand.update(key for key in wanted if key not in refused)
        elif what == "settle":
            state: Any = self.chance.choice(["sent", "rejected", "failed", "in_doubt"])
            ended = [key for key in some if key in hand]
            await ledger.finish([final(key, state, detail=b"{}") for key in ended])
            self._note(ended, state, hand)
        elif what == "release":
            await ledger.release([key for key in some if key in hand])
            hand.difference_update(some)
        elif what == "die":
            await self.die(number)
        else:
            taken = [doubt.key async for doubt in ledger.doubts(earlier_runs_handed_over=True)]
            await ledger.finish([final(key, "in_doubt", detail=b"{}") for key in taken])
            self.doubted.update(taken)

    async def die(self, number: int) -> None:
        """It stands still for so long that it is taken for dead, and then comes back as another."""
        self.server.bury(self.states[number])
        with pytest.raises(StateLost):
            await self.states[number].ledger.hand_over([handed("anything")])
        self.hands[number].clear()
        await self.states[number].rejoin()

    def _note(self, ended: list[str], state: str, hand: set[str]) -> None:
        hand.difference_update(ended)
        if state == "sent":
            self.accepted += ended
        if state == "in_doubt":
            self.doubted.update(ended)

    def check(self) -> None:
        held = [key for hand in self.hands for key in hand]
        assert len(held) == len(set(held)), "a job in two living hands"
        assert len(self.accepted) == len(set(self.accepted)), "sent twice"


@pytest.mark.parametrize("seed", range(4))
async def test_no_job_is_in_two_hands(state_server: StateServer, seed: int) -> None:
    states = [await open_state(state_server.url, host="api") for _ in range(3)]
    replicas = Replicas(state_server, states, random.Random(seed))
    for _ in range(60):
        await asyncio.gather(*map(replicas.act, range(3)))
        replicas.check()
    await same_books(state_server, states[0], replicas)
    for state in states:
        await state.close()


async def same_books(server: StateServer, state: SharedState, replicas: Replicas) -> None:
    found = await state.ledger.find(KEYS)
    states = [record.state for record in found.values()]
    assert await state.ledger.count() == {name: states.count(name) for name in set(states)}
    assert {key for key in KEYS if key in found and found[key].state == "sent"} == set(replicas.accepted)
    doubts = {doubt.key async for doubt in state.ledger.doubts()}
    assert doubts == {key for key in found if found[key].state == "in_doubt"} == replicas.doubted
    held = {key for hand in replicas.hands for key in hand}
    left = {doubt.key async for doubt in state.ledger.doubts(earlier_runs_handed_over=True)}
    assert held | left == {key for key in found if found[key].state == "handed_over"}
    assert {server.expires(key) for key in doubts | held | left} <= {None}
