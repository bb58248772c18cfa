"""What a consumer outlives: pauses, a state or dead letter that is away, keys that are refused, a pipe nobody reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import until
from tests.support.fork_server import popen
from tests.support.processes import KEY, SENDER, email, environment, running_sandbox, start_sender, write_jobs
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fleet import Consumer, Fleet

QUICK = ("--rate-send", "100000")
RATE = ("--rate", "80", "--reconcile-lag", "3600")


def reasons(consumer: Consumer) -> dict[str, str]:
    """Why it is not ready, by condition."""
    status, body = consumer.get("/readyz")
    told = json.loads(body or b"{}").get("conditions", {})
    found = {name: one["reason"] for name, one in told.items() if not one["met"]}
    assert (status == 200) == (not found) or status == 0
    return found


def events(consumer: Consumer) -> list[str]:
    return [line["event"] for line in consumer.log]


@contextmanager
def alive(consumer: Consumer) -> Iterator[None]:
    """It answers /livez all the time."""
    ended, missed = threading.Event(), 0

    def probe() -> None:
        nonlocal missed
        while not ended.wait(0.2):
            missed += consumer.get("/livez")[0] != 200

    probing = threading.Thread(target=probe)
    probing.start()
    try:
        yield
    finally:
        ended.set()
        probing.join()
    assert missed == 0


def test_a_pause_outlives_a_restart_and_is_told_by_every_replica(new_fleet: Callable[..., Fleet]) -> None:
    """The restarted fleet stood for ever in its preflight: nothing was logged, and no signal was heard."""
    fleet = new_fleet(*QUICK)
    fleet.put(*[email(n) for n in range(200)])
    fleet.warm(80.0)
    one, other = fleet.start(*RATE), fleet.start(*RATE)
    fleet.until_sent(40)
    one.signal(signal.SIGUSR1)
    for told in (one, other):
        fleet.until(lambda told=told: "pause of default" in reasons(told))  # type: ignore[misc]
        assert any(event.startswith("paused") for event in events(told))
    fleet.end_all()
    before = fleet.arrived
    again = fleet.start(*RATE)
    fleet.until(lambda: "pause of default" in reasons(again))
    fleet.until(lambda: any(event.startswith("paused") for event in events(again)))
    assert again.get("/livez")[0] == 200
    assert "paused" in reasons(again)["pause of default"]
    assert fleet.arrived == before
    again.signal(signal.SIGUSR2)
    fleet.until(lambda: fleet.open == 0)
    fleet.until(lambda: again.ready)
    assert "resumed" in events(again)
    fleet.end_all()
    assert fleet.books(200) == set()


def test_what_the_settings_paused_goes_on_after_a_restart_without_them(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(*QUICK)
    config = fleet.folder / "sender.toml"
    config.write_text("[limits]\npaused = true\n")
    fleet.put(email(1))
    paused = fleet.start("--config", str(config))
    fleet.until(lambda: "pause of default" in reasons(paused))
    assert paused.end() == 0
    assert fleet.arrived == 0
    config.write_text("[limits]\npaused = false\n")
    again = fleet.start("--config", str(config))
    fleet.until(lambda: fleet.open == 0)
    fleet.until(lambda: again.ready)
    assert again.end() == 0
    assert fleet.arrived == 1


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_send_beside_a_paused_fleet_waits_and_says_so(new_fleet: Callable[..., Fleet], goes_on: bool) -> None:
    fleet = new_fleet(*QUICK)
    consumer = fleet.start()
    fleet.until(lambda: consumer.ready)
    consumer.signal(signal.SIGUSR1)
    fleet.until(lambda: "pause of default" in reasons(consumer))
    write_jobs(fleet.folder / "jobs.jsonl", [email(1)])
    arguments = ("jobs.jsonl", "--state", fleet.state_url, "--base-url", fleet.sandbox.url, "--log-format", "json")
    with (fleet.folder / "send.err").open("wb") as err:
        sending = popen(
            [*SENDER, "send", *arguments], cwd=fleet.folder, env=environment(), stderr=err, stdout=subprocess.DEVNULL
        )
        try:
            until(lambda: "the lanes are paused" in (fleet.folder / "send.err").read_text())
            assert fleet.arrived == 0
            if goes_on:
                consumer.signal(signal.SIGUSR2)
                assert sending.wait(30) == 0
                assert fleet.arrived == 1
            else:
                sending.terminate()
                assert sending.wait(30) == 3
                assert fleet.arrived == 0
        finally:
            sending.kill()
            sending.wait()


def test_a_state_that_is_away_at_the_start_is_waited_for(new_fleet: Callable[..., Fleet]) -> None:
    """It was exit 2, and a crash loop."""
    fleet = new_fleet(*QUICK, state_aof=True)
    fleet.put(email(1))
    fleet.state.stop()
    consumer, impatient = fleet.start(), fleet.start()
    fleet.until(lambda: "state" in reasons(consumer) and "state" in reasons(impatient))
    assert consumer.get("/livez")[0] == 200
    fleet.until(lambda: any("state is away" in event for event in events(consumer)))
    assert impatient.end() == 0, "a signal ends it"
    fleet.state.start()
    fleet.until(lambda: consumer.ready)
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0


def test_a_dead_letter_that_is_away_at_the_start_is_waited_for(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(*QUICK)
    folder = fleet.folder / "letters"
    folder.mkdir()
    letters = RedisServer(folder)
    fleet.put(b"no job")
    consumer = fleet.start("--dead-letter", f"{letters.url}?stream=dead")
    impatient = fleet.start("--dead-letter", f"{letters.url}?stream=dead")
    fleet.until(lambda: "--dead-letter" in reasons(consumer) and "--dead-letter" in reasons(impatient))
    assert consumer.get("/livez")[0] == 200
    assert impatient.end() == 0
    letters.start()
    try:
        fleet.until(lambda: consumer.ready)
        fleet.until(lambda: fleet.open == 0)
        assert letters.do("XLEN", "dead") == 1
        assert consumer.end() == 0
    finally:
        letters.stop()


def test_what_no_waiting_mends_ends_the_start(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(*QUICK)
    wrong = (("--state", "http://127.0.0.1/1"), ("--dead-letter", "redis://127.0.0.1"), ("--outcomes", "/no/where/o"))
    for option in wrong:
        assert fleet.start(*option).wait() == 2, option


def test_it_ends_by_a_signal_though_its_state_never_answered(new_fleet: Callable[..., Fleet]) -> None:
    """SIGTERM was ignored for 70 s."""
    fleet = new_fleet(*QUICK, state_aof=True)
    fleet.state.pause()
    try:
        consumer = fleet.start("--grace", "2")
        fleet.until(lambda: "state" in reasons(consumer))
        begun = time.monotonic()
        assert consumer.end() == 0
        assert time.monotonic() - begun < 15
    finally:
        fleet.state.resume()


def test_it_stays_alive_while_the_state_is_joined_anew(new_fleet: Callable[..., Fleet]) -> None:
    """The health server was closed for 41 s: the probe restarted the pod, and what was not recorded was gone."""
    fleet = new_fleet(*QUICK, "--latency", "300", state_aof=False)
    fleet.put(*[email(n) for n in range(150)])
    fleet.warm(80.0)
    consumer = fleet.start(*RATE)
    fleet.until_sent(40)
    with alive(consumer):
        fleet.state.kill()
        fleet.until(lambda: "state" in reasons(consumer))
        fleet.state.start()
        fleet.until(lambda: fleet.open == 0, 60)
        fleet.until(lambda: consumer.ready)
    assert any("joined anew" in event for event in events(consumer))
    fleet.end_all()
    assert len(fleet.books(150)) <= 60, "what was under way, and nothing else"


def test_a_key_that_cannot_be_used_ends_its_workspace_alone_and_a_repaired_one_is_noticed(fleet: Fleet) -> None:
    """It ended all of them with exit 2, and nobody looked at the file again."""
    key, empty = fleet.folder / "key", fleet.folder / "empty"
    key.write_text("not-the-key")
    empty.write_text("")
    config = fleet.folder / "sender.toml"
    names = (("eu", key), ("us", empty))
    with running_sandbox(*QUICK) as other:
        config.write_text("".join(
            f'[workspaces.{name}]\napi_key_file = "{path}"\nbase_url = "{other.url}"\n' for name, path in names
        ))
        fleet.put(email(1), email(2, workspace="eu"), email(3, workspace="us"))
        consumer = fleet.start("--config", str(config))
        fleet.until_sent(1)
        fleet.until(lambda: {"workspace eu", "workspace us"} <= set(reasons(consumer)))
        fleet.until(lambda: "401" in reasons(consumer)["workspace eu"])
        assert "is empty" in reasons(consumer)["workspace us"]
        assert "workspace default" not in reasons(consumer)
        assert sum("has halted" in event for event in events(consumer)) == 2
        key.write_text(KEY)
        empty.write_text(KEY)
        fleet.until(lambda: len(other.messages) == 2)
        fleet.until(lambda: consumer.ready)
        assert sum("key was rotated" in event for event in events(consumer)) == 2
        assert KEY not in consumer.told
        assert consumer.end() == 0


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end(fleet: Fleet) -> None:
    """The thread that wrote to it held the process for ever, whatever the signals."""
    fleet.put(*[email(n, meta={"filler": "x" * 900}) for n in range(200)])
    reading, writing = os.pipe()
    consumer = popen(
        [*SENDER, "consume", fleet.url(), "--ledger", "alone.ledger", "--outcomes", "-", "--grace", "2", "--base-url",
         fleet.sandbox.url, "--rate", "1000"],
        cwd=fleet.folder, env=environment(), stdout=writing, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        fleet.until_sent(60)
        time.sleep(1)
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(30) in (0, 3)
    finally:
        consumer.kill()
        consumer.wait()
        os.close(reading)


def test_a_kind_that_was_refused_is_tried_again(fleet: Fleet) -> None:
    """It stayed closed until a restart."""
    fleet.sandbox.post("faults", fault="status_403", path="/v1/send/sms")
    sms = {"to": "+15551234567", "transactional_message_id": 4, "identifiers": {"id": "42"}}
    fleet.put(*[{"id": f"s-{n}", "kind": "sms", "payload": sms} for n in range(20)])
    consumer = fleet.start(shared=False)
    fleet.until(lambda: "kinds of default" in reasons(consumer))
    time.sleep(1)  # those that were under way come back
    before = fleet.arrived
    consumer.signal(signal.SIGHUP)
    fleet.until(lambda: fleet.arrived == before + 1)
    assert "kinds of default" in reasons(consumer), "one job was tried, and refused"
    fleet.sandbox.heal()
    consumer.signal(signal.SIGHUP)
    fleet.until(lambda: fleet.open == 0)
    fleet.until(lambda: consumer.ready)
    assert "the API takes jobs of this kind again" in events(consumer)
    assert fleet.letters == {}
    assert consumer.end() == 0


def test_the_limit_holds_over_a_kill_without_a_state(fleet: Fleet) -> None:
    """A consumer that was killed and started again had its whole limit at once."""
    fleet.put(*[email(n) for n in range(1500)])
    command = ("consume", fleet.url(), "--ledger", "alone.ledger", "--outcomes", "-", "--base-url", fleet.sandbox.url)
    for sent in (60, 160):
        consumer = start_sender(*command, cwd=fleet.folder)
        try:
            fleet.until_sent(sent)
        finally:
            consumer.kill()
            consumer.communicate()
    assert fleet.sandbox.lanes["send"]["max_in_window"] <= 100
