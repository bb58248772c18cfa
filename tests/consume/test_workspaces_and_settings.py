"""Several workspaces in one consumer, kinds that are refused, keys that change, and where outcomes go."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from tests.support.processes import KEY, email, running_sandbox, start_sender
from tests.support.servers import free_port

if TYPE_CHECKING:
    from tests.support.fleet import Fleet


def test_one_workspace_halts_the_other_goes_on_and_both_wait(fleet: Fleet) -> None:
    """Nor do the messages of the one that halted, given back again and again, hide those of the other."""
    key = fleet.folder / "key"
    key.write_text(KEY)
    with running_sandbox("--rate-send", "100000") as other:
        config = fleet.folder / "sender.toml"
        config.write_text(f'[workspaces.eu]\napi_key_file = "{key}"\nbase_url = "{other.url}"\n')
        consumer = fleet.start("--config", str(config), "--prefetch", "20", "--max-deliveries", "1", shared=False)
        fleet.until(lambda: consumer.ready)
        other.post("faults", fault="status_401")
        fleet.put(*[email(n, workspace="eu") for n in range(60)])
        fleet.until(lambda: consumer.get("/readyz")[0] == 503)
        assert b"workspace eu" in consumer.get("/readyz")[1]
        fleet.put(*[email(n) for n in range(100, 160)])
        fleet.until_sent(60)
        assert consumer.process.poll() is None
        fleet.until(lambda: fleet.open == 60)
        assert not other.messages
        fleet.sandbox.post("faults", fault="status_401")
        fleet.put(email(500))
        fleet.until(lambda: sum("has halted" in line["event"] for line in consumer.log) == 2)
        fleet.until(lambda: fleet.open == 61)
        assert consumer.process.poll() is None, "it waits for another key"
        assert fleet.letters == {}
        assert {one["times_delivered"] for one in fleet.pending()} <= {0, 1}
        assert sum(one["times_delivered"] for one in fleet.pending()) <= 1, "given back uncounted"
        fleet.sandbox.heal()
        other.heal()
        consumer.signal(signal.SIGHUP)
        fleet.until(lambda: fleet.open == 0)
        assert len(other.messages) == 60
        assert consumer.end() == 0


def test_a_refused_kind_goes_back_and_holds_no_place(fleet: Fleet) -> None:
    fleet.sandbox.post("faults", fault="status_403", path="/v1/send/sms")
    sms = {"to": "+15551234567", "transactional_message_id": 4, "identifiers": {"id": "42"}}
    fleet.put(*[{"id": f"s-{n}", "kind": "sms", "payload": sms} for n in range(40)], *[email(n) for n in range(60)])
    consumer = fleet.start("--prefetch", "20", shared=False)
    fleet.until(lambda: len(fleet.sandbox.messages) == 60)
    fleet.until(lambda: fleet.open == 40)
    assert consumer.get("/readyz")[0] == 503
    assert b"does not allow sms" in consumer.get("/readyz")[1]
    assert consumer.end() == 0
    assert fleet.letters == {}


def test_a_key_is_read_again_when_it_is_refused(fleet: Fleet) -> None:
    key = fleet.folder / "key"
    key.write_text("first-key")
    port = str(free_port())
    sandbox = ("sandbox", "--port", port, "--rate-send", "100000")
    first = start_sender(*sandbox, "--key", "first-key", cwd=fleet.folder)
    assert first.stdout is not None
    first.stdout.readline()
    consumer = fleet.start(
        "--api-key-file", str(key), "--base-url", f"http://127.0.0.1:{port}", shared=False, SENDER_API_KEY=""
    )
    fleet.put(email(1))
    fleet.until(lambda: fleet.open == 0)
    first.terminate()
    first.communicate(timeout=10)
    key.write_text("second-key")
    second = start_sender(*sandbox, "--key", "second-key", cwd=fleet.folder)
    assert second.stdout is not None
    second.stdout.readline()
    fleet.put(email(2))
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0
    second.terminate()
    second.communicate(timeout=10)
    assert {line["status"] for line in consumer.outcomes} == {"sent"}


def test_outcomes_go_to_stdout_or_to_a_stream(fleet: Fleet) -> None:
    fleet.put(email(1))
    printing = fleet.start("--outcomes", "-", shared=False)
    fleet.until(lambda: fleet.open == 0)
    assert printing.end() == 0
    (line,) = (fleet.folder / f"{printing.name}.out").read_text().splitlines()
    assert json.loads(line)["id"] == "job-1"
    streaming = fleet.start("--outcomes", f"{fleet.broker.url}?stream=told", "--log-level", "outcome", shared=False)
    fleet.put(email(2))
    fleet.until(lambda: fleet.open == 0)
    assert streaming.end() == 0
    with fleet.client as client:
        told: Any = client.xrange("told")
    assert [json.loads(fields[b"outcome"])["id"] for _, fields in told] == ["job-2"]
    assert [line["status"] for line in streaming.log if line["event"] == "outcome"] == ["sent"]
