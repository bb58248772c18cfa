"""What a ledger for many replicas promises beyond the contract of all ledgers (tests/ledger)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.errors import OutputError, StateLost, UsageError
from sender.ledger import LOST_NOTE
from sender.shared_state.state_url import open_state
from tests.support.ledgers import final, handed, state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sender.shared_state.shared_state import SharedState
    from tests.support.state_servers import RedisState, StateServer


@asynccontextmanager
async def replicas(server: StateServer, number: int = 2, **options: Any) -> AsyncIterator[list[SharedState]]:
    states = [await open_state(server.url, host="api", **options) for _ in range(number)]
    try:
        yield states
    finally:
        for state in states:
            await state.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.01)


async def earlier(state: SharedState) -> list[str]:
    return [doubt.key async for doubt in state.ledger.doubts(earlier_runs_handed_over=True)]


async def test_of_many_tasks_one_wins_each_key(state_server: StateServer) -> None:
    async with replicas(state_server, 8) as states:
        keys = [f"k{n}" for n in range(50)]

        async def grab(state: SharedState) -> set[str]:
            refused: set[str] = set()
            for start in range(0, 50, 10):
                refused |= set(await state.ledger.hand_over([handed(key) for key in keys[start : start + 10]]))
            return set(keys) - refused

        won = await asyncio.gather(*map(grab, states))
        assert sorted(key for keys_won in won for key in keys_won) == sorted(keys)
        assert await states[0].ledger.count() == {"handed_over": 50}


CLAIMER = """
import asyncio, json, sys
from sender.ledger import HandOverRecord
from sender.shared_state.state_url import open_state
async def main():
    state = await open_state(sys.argv[1], host="api")
    sys.stdin.readline()
    won = []
    for n in range(200):
        key = f"p{n}"
        if not await state.ledger.hand_over([HandOverRecord(key, "c", b"{}")]):
            won.append(key)
    print(json.dumps(won), flush=True)
    sys.stdin.readline()
    await state.close()
asyncio.run(main())
"""


def test_of_many_processes_one_wins_each_key(state_server: StateServer) -> None:
    command = [sys.executable, "-c", CLAIMER, state_server.url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        process.stdin.write(b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    won: list[str] = []
    for process in processes:
        line = b""
        while not line.startswith(b"["):
            line = process.stdout.readline()  # type: ignore[union-attr]
            assert line
        won += json.loads(line)
    for process in processes:
        process.communicate(b"\n", timeout=20)
    assert sorted(won) == sorted(f"p{n}" for n in range(200))


async def test_refusals_say_how_the_job_stands(state_server: StateServer) -> None:
    async with replicas(state_server) as (one, two):
        await one.ledger.hand_over([handed("a"), handed("b")])
        await one.ledger.finish([final("b")])
        refused = await two.ledger.hand_over([handed("a"), handed("b"), handed("c")])
        assert {key: (found.state, found.owned_elsewhere) for key, found in refused.items()} == {
            "a": ("handed_over", True),
            "b": ("sent", False),
        }
        assert (await two.ledger.find(["a"]))["a"].owned_elsewhere
        assert not (await one.ledger.find(["a"]))["a"].owned_elsewhere
        await two.ledger.release(["a"])
        assert await state_of(one.ledger, "a") == "handed_over", "only its owner takes a hand-over back"
        state_server.bury(one)
        assert not (await two.ledger.find(["a"]))["a"].owned_elsewhere
        assert "a" in await two.ledger.hand_over([handed("a")]), "a dead owner's job is in doubt, nobody's to send"


async def test_a_doubt_is_taken_up_only_by_who_saw_it(state_server: StateServer) -> None:
    async with replicas(state_server, 3) as (one, two, three):
        await two.ledger.find(["a"])
        await one.ledger.hand_over([handed("a")])
        await one.ledger.finish([final("a", "in_doubt", detail=b"{}")])
        assert "a" in await two.ledger.hand_over([handed("a")]), "it was unknown when two looked"
        await two.ledger.find(["a"])
        await three.ledger.find(["a"])
        assert await two.ledger.hand_over([handed("a")]) == {}
        assert "a" in await three.ledger.hand_over([handed("a")])
        await two.ledger.finish([final("a", "in_doubt", detail=b"{}")])
        assert "a" in await three.ledger.hand_over([handed("a")]), "it is another doubt than the one three saw"


async def test_what_a_dead_owner_held_goes_to_exactly_one(state_server: StateServer) -> None:
    async with replicas(state_server, 4) as (dead, *living):
        keys = [f"k{n:04d}" for n in range(1200)]
        await dead.ledger.hand_over([handed(key) for key in keys])
        last = await dead.ledger.finish([final("z"), final("y")])
        assert last == 2
        assert [await earlier(state) for state in living] == [[], [], []], "it lives"
        state_server.bury(dead)
        taken = await asyncio.gather(*map(earlier, living))
        assert sorted(key for part in taken for key in part) == keys
        assert await earlier(living[0]) == taken[0], "until they are settled they are told again"
        for state, part in zip(living, taken, strict=True):
            await state.ledger.finish([final(key, "in_doubt", detail=b"{}") for key in part])
            assert await earlier(state) == []
        assert len([doubt async for doubt in living[0].ledger.doubts()]) == 1200
        lines = [line for state in living for line in await state.ledger.unlogged()]
        assert lines.count(b'{"id":"z"}\n') == 1, "its outbox was taken over by one"
        assert len(lines) == 1202


async def test_who_was_taken_for_dead_may_not_go_on(state_server: StateServer) -> None:
    async with replicas(state_server) as (stalled, other):
        await stalled.ledger.hand_over([handed("a"), handed("b")])
        state_server.bury(stalled)
        assert await earlier(other) == ["a", "b"]
        with pytest.raises(StateLost, match="taken for dead"):
            await stalled.ledger.hand_over([handed("c")])
        await stalled.ledger.finish([final("a", "sent")])
        assert await earlier(other) == ["b"], "what it knows counts all the same"
        await other.ledger.finish([final("b", "in_doubt", detail=b"{}"), final("a", "in_doubt", detail=b"{}")])
        assert await state_of(other.ledger, "a") == "sent", "a known acceptance is not doubted"
        await stalled.rejoin()
        assert await stalled.ledger.hand_over([handed("c")]) == {}


async def test_when_nobody_could_say_that_he_lives_nobody_is_dead(state_server: StateServer) -> None:
    async with replicas(state_server) as (one, two):
        await one.ledger.hand_over([handed("a")])
        long_ago = int(time.time() * 1e6) - 60_000_000
        state_server.date_lives((one, two), beat=long_ago, deadline=long_ago + 30_000_000)
        assert (await two.ledger.find(["a"]))["a"].owned_elsewhere
        await two.ledger.beat()
        assert await earlier(two) == []
        await one.ledger.beat()


async def test_those_that_have_not_left_are_listed(state_server: StateServer) -> None:
    async with replicas(state_server, 3) as (one, two, left):
        await one.ledger.hand_over([handed("a"), handed("b")])
        await left.close()
        found = await two.ledger.replicas()
        assert [(replica.number, replica.handed_over) for replica in found] == [(1, 2), (2, 0)]
        assert max(replica.seen for replica in found) < 20


async def test_a_clean_end_leaves_nothing_behind(state_server: StateServer) -> None:
    async with replicas(state_server, 1) as (state,):
        await state.ledger.hand_over([handed("a")])
        await state.ledger.logged(await state.ledger.finish([final("a")]))
    assert state_server.leftovers() == 0


async def test_a_lost_state_is_noticed(state_server: StateServer) -> None:
    async with replicas(state_server) as (one, two):
        await one.ledger.hand_over([handed("a")])
        born = one.ledger.born
        state_server.lose_all()
        for call in (one.ledger.finish([final("a")]), one.ledger.find(["a"]), one.ledger.put_note("x", b"1")):
            with pytest.raises(StateLost):
                await call
        await asyncio.gather(one.rejoin(), two.rejoin())
        assert one.ledger.run != two.ledger.run
        assert one.ledger.born == two.ledger.born > born
        await one.ledger.finish([final("a")])
        assert await state_of(two.ledger, "a") == "sent"


async def test_a_lost_state_is_told_by_the_heartbeat(
    state_server: StateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.shared_state.heartbeat.BEAT", 0.05)
    told: asyncio.Future[StateLost] = asyncio.get_running_loop().create_future()
    async with replicas(state_server, 1, on_lost=told.set_result):
        state_server.lose_all()
        async with asyncio.timeout(10):
            assert "lost" in str(await told)


async def test_calls_outlive_a_pause_and_a_killed_server(state_server: StateServer) -> None:
    async with replicas(state_server) as (one, two):
        await one.ledger.hand_over([handed("a")])
        state_server.stall(0.5)
        await one.ledger.hand_over([handed("b")])
        state_server.kill()
        with capture_logs() as logs:
            waiting = asyncio.create_task(one.ledger.finish([final("a"), final("b")]))
            await asyncio.sleep(0.3)
            assert not one.reachable
            assert not waiting.done()
            state_server.start()
            await waiting
        assert one.reachable
        assert {"the state answers again"} <= {log["event"] for log in logs}
        found = await two.ledger.find(["a", "b"])
        assert [found[key].state for key in ("a", "b")] == ["sent", "sent"]


async def test_a_server_that_is_full_is_in_trouble_until_it_keeps_something(
    redis_server: RedisState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only reads was answered, what writes was not: the state was away and back ten times a second."""
    monkeypatch.setattr("sender.shared_state.heartbeat.BEAT", 0.05)
    async with replicas(redis_server) as (one, two):
        await one.ledger.hand_over([handed("a")])
        seen: set[str | None] = set()
        with capture_logs() as logs:
            redis_server.do("CONFIG", "SET", "maxmemory", 1)
            try:
                waiting = asyncio.create_task(one.ledger.hand_over([handed("b")]))
                await until(lambda: not one.reachable and not two.reachable)
                for _ in range(20):
                    assert await state_of(two.ledger, "a") == "handed_over"
                    assert await state_of(one.ledger, "a") == "handed_over"
                    seen |= {one.trouble, two.trouble}
                    await asyncio.sleep(0.02)
                assert not waiting.done()
            finally:
                redis_server.do("CONFIG", "SET", "maxmemory", 0)
            await waiting
            await until(lambda: two.reachable)
        assert seen == {"the shared state is full: its Redis has reached maxmemory"}
        assert one.trouble is two.trouble is None
        told = Counter(log["event"] for log in logs if log["event"].startswith("the state "))
        assert told == {"the state keeps nothing: lanes wait": 2, "the state answers again": 2}


async def test_what_a_killed_server_forgot_is_said_again(state_server: StateServer) -> None:
    async with replicas(state_server) as (one, two):
        await one.ledger.hand_over([handed("hand"), handed("end")])
        await one.ledger.finish([final("end")])
        # As after a power loss: the marker and the owners are there, the last second is not.
        state_server.lose("hand", "end")
        state_server.kill()
        state_server.start()
        await one.ledger.beat(patient=True)
        async with asyncio.timeout(10):
            while len(found := await two.ledger.find(["hand", "end"])) < 2:
                await asyncio.sleep(0.02)
        assert found["hand"].state == "handed_over"
        assert found["hand"].owned_elsewhere
        assert found["end"].state == "sent"


async def test_every_replica_says_again_what_it_knows(state_server: StateServer) -> None:
    """Only the first that met the new server did, and of the last three seconds."""
    async with replicas(state_server) as states:
        keys = [[f"r{number}-{n}" for n in range(3)] for number in range(2)]
        for state, mine in zip(states, keys, strict=True):
            await state.ledger.hand_over([handed(key) for key in mine])
            await state.ledger.finish([final(mine[0], "sent")])
        await asyncio.sleep(3.5)
        for mine in keys:
            state_server.lose(*mine)
        with capture_logs() as logs:
            await state_server.replace(states)
            for state in states:
                await state.ledger.count()
                assert not state.ledger.settled
            async with asyncio.timeout(10):
                while not all(state.ledger.settled for state in states):
                    await asyncio.sleep(0.05)
        found = await states[0].ledger.find([key for mine in keys for key in mine])
        assert {key: record.state for key, record in found.items()} == {
            key: "handed_over" if n else "sent" for mine in keys for n, key in enumerate(mine)
        }
        assert await states[1].ledger.get_note(LOST_NOTE) is not None
        assert any("has forgotten its last moments" in line["event"] for line in logs)


async def test_finished_identities_expire_and_doubts_never(state_server: StateServer) -> None:
    async with replicas(state_server, 1, keep=30.0) as (state,):
        ledger = state.ledger
        await ledger.hand_over([handed("held")])
        await ledger.finish([final("sent"), final("doubt", "in_doubt", detail=b"{}"), final("failed", "failed")])
        assert 0 < state_server.expires("sent") <= 30
        assert [state_server.expires(key) for key in ("doubt", "held")] == [None, None]
        await ledger.hand_over([handed("failed")])
        assert state_server.expires("failed") is None
        await ledger.release(["failed"])
        assert state_server.expires("failed") > 0
        await ledger.finish([final("doubt", "sent")])
        assert state_server.expires("doubt") > 0


async def test_workspaces_do_not_meet_and_an_api_is_one(state_server: StateServer) -> None:
    async with replicas(state_server, 1, workspace="{a} b") as (a,), replicas(state_server, 1, workspace="b") as (b,):
        await a.ledger.finish([final("k")])
        assert await b.ledger.find(["k"]) == {}
        await a.ledger.bind_workspace("7")
        await a.ledger.bind_workspace("7")
        with pytest.raises(UsageError, match="belongs to the workspace 7, this key to 8"):
            await a.ledger.bind_workspace("8")
    with pytest.raises(UsageError, match="belongs to the API at api, this run goes to other"):
        await open_state(state_server.url, workspace="b", host="other")


async def test_what_waiting_does_not_mend_is_told(state_server: StateServer) -> None:
    async with replicas(state_server, 1) as (state,):
        said = state_server.spoil_counts()
        with pytest.raises(OutputError, match=f"cannot be written: .*{said}"):
            await state.ledger.count()
