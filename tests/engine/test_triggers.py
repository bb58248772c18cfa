"""The queue of five at the API: kept over restarts, polled gently, and late errors told."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader
from sender.engine.job_execution import JobExecution
from sender.engine.pacing.pacer import Pacer
from sender.engine.trigger_follower import FORGOTTEN, LONGEST, TriggerFollower
from sender.engine.waiting_triggers import NOTE
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.jobs.masking import mask_words, words_of
from sender.transport import TransportFault
from tests.engine.world import OK, World, give, make_lane, work_off
from tests.support.listing_api import Api
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import most_in_any, run_virtual

if TYPE_CHECKING:
    from sender.outcomes.recorder import FinishedJob
    from tests.support.virtual_time import VirtualLoop

BODY = b'{"ids":["cust-17","ada"],"data":{"note":"Dear Ada Lovelace"}}'


def execution(number: int, body: bytes = BODY) -> JobExecution:
    job = Job(f"b{number}", f"k{number}", "c", KINDS["broadcast"], "/v1/campaigns/12/triggers", body, "f", number)
    return JobExecution(job, attempts=1, started_at=1000.0, tried_at=1000.0)


class Server:
    """A broadcast's list and errors endpoint."""

    def __init__(self) -> None:
        self.processed: dict[int, bool] = {}
        self.errors: dict[int, list[str]] = {}
        self.api = Api(**{"/v1/broadcasts/12/triggers": self.listed, **{
            f"/v1/campaigns/12/triggers/{n}/errors": (lambda query, n=n: {"errors": self.errors.get(n), "next": 0})
            for n in range(20)
        }, **{f"/v1/campaigns/12/triggers/{n}": (lambda query, n=n: self.shown(n)) for n in range(20)}})

    def shown(self, number: int) -> Any:
        found = [one for one in self.listed(None)["triggers"] if one["id"] == number]
        return found[0] if found else 404

    def fail(self, answer: Any) -> None:
        """Whatever is asked about triggers is answered so."""
        for path in list(self.api.documents):
            if path.startswith(("/v1/broadcasts", "/v1/campaigns")):
                self.api.documents[path] = answer

    def listed(self, _query: Any) -> dict[str, Any]:
        return {"triggers": [
            {"id": n, "created_at": 1000, "processed_at": 1001 if done else None} for n, done in self.processed.items()
        ]}


def play(body: Any) -> None:
    """`body(triggers, server, ended, ledger, loop)` on virtual time."""

    async def whole(loop: Any) -> None:
        server, ended, ledger = Server(), [], MemoryLedger()
        server.api.clock = loop.time
        reader = ApiReader(server.api, Pacer(10), ApiClock(loop.time))
        triggers = TriggerFollower(reader, ledger, ended.append, limit=5, lag=60)
        await body(triggers, server, ended, ledger, loop)

    run_virtual(whole)


async def accept(triggers: TriggerFollower, server: Server, *numbers: int, body: bytes = BODY) -> None:
    for number in numbers:
        server.processed[number] = False
        one = execution(number, body)
        await triggers.ended(one, one.outcome("sent", result=(("trigger_id", number),)))


def test_the_sixth_waits_until_one_is_processed() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        await accept(triggers, server, 1, 2, 3, 4)
        await asyncio.sleep(30)
        assert triggers.open
        assert not server.api.asked, "nothing is asked while fewer than five wait"
        changed: list[float] = []
        triggers.on_change = lambda: changed.append(loop.time())
        await accept(triggers, server, 5)
        assert not triggers.open
        await asyncio.sleep(30)
        assert 10 < len(server.api.asked) <= 31, "at most one request a second"
        assert not changed
        server.processed[2] = True
        await asyncio.sleep(5)
        assert triggers.open
        assert changed
        assert triggers.waiting == 4
        asked = len(server.api.asked)
        await asyncio.sleep(30)
        assert len(server.api.asked) == asked
        following.cancel()

    play(body)


def test_what_waits_is_kept_over_a_restart() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        await accept(triggers, server, 1, 2, 3)
        doubtful = execution(4)
        await triggers.ended(doubtful, doubtful.outcome("in_doubt"))
        again = TriggerFollower(
            ApiReader(server.api, Pacer(10), ApiClock(loop.time)), ledger, ended.append, limit=4, lag=60,
            saved=await ledger.get_note(NOTE),
        )
        assert again.waiting == 4
        assert not again.open

    play(body)


def test_late_errors_change_the_outcome_and_name_nobody() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        await accept(triggers, server, 1, 2)
        server.processed.update({1: True, 2: True})
        server.errors[2] = ["line 1: no customer with id cust-17", 'line 2: "ada" is unsubscribed, bob@example.com']
        await triggers.finish()
        assert triggers.waiting == 0
        (late,) = ended
        assert late.later
        line = json.loads(late.outcome.to_line())
        assert (line["id"], line["status"], line["trigger_id"], line["line"]) == ("b2", "sent", 2, 2)
        assert line["error"]["code"] == "broadcast_error"
        told = json.dumps(line)
        assert "line 1: no customer with id" in told
        for secret in ("cust-17", "ada", "bob@"):
            assert secret not in told
        assert json.loads(await ledger.get_note(NOTE)) == []

    play(body)


def test_errors_that_cannot_be_read_now_are_read_later() -> None:
    """One answer that was too slow, and the errors of a broadcast were never told."""

    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        await accept(triggers, server, 2)
        server.processed[2] = True
        server.api.documents["/v1/campaigns/12/triggers/2/errors"] = [*[503] * 5, {"errors": ["line 1: no"], "next": 0}]
        await triggers.finish()
        (late,) = ended
        assert late.outcome.problems[0].code == "broadcast_error"

    play(body)


def test_a_doubtful_trigger_counts_until_it_can_appear_no_more() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        one = execution(9)
        await triggers.ended(one, one.outcome("in_doubt"))
        finishing = asyncio.create_task(triggers.finish())
        await asyncio.sleep(50)
        assert triggers.waiting == 1
        await asyncio.sleep(30)
        assert triggers.waiting == 0
        await finishing

    play(body)


def test_a_doubtful_trigger_that_shows_up_waits_to_be_processed() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        one = execution(9)
        await triggers.ended(one, one.outcome("in_doubt"))
        server.processed[7] = False
        finishing = asyncio.create_task(triggers.finish())
        await asyncio.sleep(200)
        assert triggers.waiting == 1
        triggers.resolved("k9", 7)
        server.processed[7] = True
        await finishing
        assert triggers.waiting == 0

    play(body)


def test_a_full_queue_of_others_is_waited_for() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        triggers.told_full()
        assert not triggers.open
        await asyncio.sleep(11)
        assert triggers.open
        following.cancel()

    play(body)


@pytest.mark.parametrize("status", [401, 403])
def test_without_the_right_to_read_the_lane_goes_on(status: int) -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        server.fail(status)
        await accept(triggers, server, 1, 2, 3, 4, 5, 6)
        await asyncio.sleep(5)
        assert triggers.open
        assert len(server.api.asked) == 1
        await triggers.finish()
        following.cancel()

    play(body)


def test_an_api_that_is_down_keeps_the_queue_closed() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        before = dict(server.api.documents)
        server.fail(502)
        await accept(triggers, server, 1, 2, 3, 4, 5)
        await asyncio.sleep(60)
        assert not triggers.open
        assert len(server.api.asked) <= 60
        server.api.documents = before
        server.processed = dict.fromkeys(server.processed, True)
        await asyncio.sleep(10)
        assert triggers.open
        following.cancel()

    play(body)


def test_words_of_a_payload_are_masked_without_it() -> None:
    words = words_of(BODY)
    assert mask_words('line 3: person "cust-17" (Ada) not found', words) == "line 3: person *** *** not found"
    assert mask_words("line 3: nothing of it", words) == "line 3: nothing of it"


async def fill(triggers: TriggerFollower, server: Server) -> list[float]:
    """Five wait; returns the times at which the lane was told to look again."""
    await accept(triggers, server, 1, 2, 3, 4, 5)
    loop, changed = asyncio.get_running_loop(), list[float]()
    triggers.on_change = lambda: changed.append(loop.time())
    return changed


@pytest.mark.parametrize(
    "answer",
    [
        TransportFault("answer_too_large", "written", "too large"), 404, 500, {"triggers": "?"}, {"triggers": []},
        {"id": 1, "created_at": "2027-01-15T08:00:00Z"},
    ],
    ids=["too large", "404", "500", "no list", "lacks ours", "a text"],
)
def test_the_lane_never_waits_for_ever(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Five waited, their list was over 1 MiB (or 404, or lacked them), and the lane stood, silently, for ever."""

    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        server.fail(answer)
        changed = await fill(triggers, server)
        begin = loop.time()
        assert not triggers.open
        await asyncio.sleep(LONGEST + 120)
        assert triggers.open
        assert changed
        assert changed[0] <= begin + LONGEST + 60
        again = TriggerFollower(
            ApiReader(server.api, Pacer(10), ApiClock(loop.time)), ledger, ended.append, limit=5, lag=60,
            saved=await ledger.get_note(NOTE),
        )
        assert again.open, "nor after a restart"
        following.cancel()

    play(body)
    told = capsys.readouterr().out
    assert ("does not know a trigger" if answer == 404 else "broadcasts wait") in told


def test_the_others_of_a_long_list_are_not_read() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        server.api.documents["/v1/broadcasts/12/triggers"] = TransportFault("answer_too_large", "written", "too large")
        changed = await fill(triggers, server)
        await asyncio.sleep(20)
        server.processed[3] = True
        await asyncio.sleep(6)
        assert changed
        assert triggers.waiting == 4
        following.cancel()

    play(body)


@pytest.mark.parametrize("created", ["2027-01-15T08:00:00Z", None, [], True])
def test_a_doubtful_trigger_beside_entries_of_another_form(created: Any) -> None:
    """A text as `created_at` ended the follower."""

    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        one = execution(9)
        await triggers.ended(one, one.outcome("in_doubt"))
        server.api.documents["/v1/broadcasts/12/triggers"] = {"triggers": [{"id": 7, "created_at": created}, "odd"]}
        finishing = asyncio.create_task(triggers.finish())
        await asyncio.sleep(200)
        assert triggers.waiting == 1, "it may be the one"
        assert not finishing.done()
        server.api.documents["/v1/broadcasts/12/triggers"] = {"triggers": [{"id": 7, "processed_at": 5}]}
        await finishing

    play(body)


def test_errors_that_nobody_can_read_keep_no_other_back() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        following = asyncio.create_task(triggers.follow())
        for number in range(1, 6):
            server.api.documents[f"/v1/campaigns/12/triggers/{number}/errors"] = 500
        await fill(triggers, server)
        server.processed = dict.fromkeys(server.processed, True)
        await asyncio.sleep(30)
        assert triggers.open
        assert triggers.waiting == 5
        following.cancel()

    play(body)


@pytest.mark.parametrize("step", [-600.0, 600.0])
def test_a_clock_that_is_set_does_not_stop_the_lane(step: float) -> None:
    """After ten minutes back triggers stood until the clock had caught up."""

    async def whole(loop: Any) -> None:
        ours = [0.0]
        server, ledger = Server(), MemoryLedger()
        server.api.clock = loop.time
        clock = ApiClock(lambda: loop.time() + ours[0])
        triggers = TriggerFollower(ApiReader(server.api, Pacer(10), clock), ledger, lambda _: None, limit=1, lag=60)
        following = asyncio.create_task(triggers.follow())
        one = execution(9)
        await triggers.ended(one, one.outcome("in_doubt"))
        triggers.told_full()
        ours[0] = step
        assert not triggers.open
        await asyncio.sleep(50)
        assert not triggers.open
        await asyncio.sleep(20)
        assert triggers.open
        following.cancel()

    run_virtual(whole)


def test_what_is_never_processed_is_let_go_of() -> None:
    async def body(triggers: TriggerFollower, server: Server, ended: list[FinishedJob], ledger: Any, loop: Any) -> None:
        await accept(triggers, server, 1)
        loop.stall(FORGOTTEN)
        await triggers.look()
        assert triggers.waiting == 0
        assert json.loads(await ledger.get_note(NOTE)) == []

    play(body)


def test_two_that_are_noted_at_once_are_both_kept() -> None:
    """One whose note was being written while another came was lost from memory."""

    class SlowLedger(MemoryLedger):
        async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
            await asyncio.sleep(1)
            return await super().swap_note(name, expected, new)

    async def whole(loop: Any) -> None:
        server, ledger = Server(), SlowLedger()
        reader = ApiReader(server.api, Pacer(10), ApiClock(loop.time))
        triggers = TriggerFollower(reader, ledger, lambda _: None, limit=5, lag=60)
        first = asyncio.create_task(accept(triggers, server, 1))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(accept(triggers, server, 2))
        await first
        assert triggers.waiting == 2
        await second
        assert triggers.waiting == 2
        assert len(json.loads(await ledger.get_note(NOTE) or b"")) == 2

    run_virtual(whole)


def test_triggers_under_way_count_as_well() -> None:
    """A sixth was started while the answer to the fifth was out, and the API's queue was full."""
    world = World(lambda number, now: (5.0, OK))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, 10)
        lane._triggers = SimpleNamespace(has_room=lambda under_way: under_way < 2)  # type: ignore[assignment]
        give(lane, 6)
        await work_off(lane)

    run_virtual(body)
    assert world.statuses() == {"sent": 6}
    assert most_in_any(5.0, world.written) == 2
