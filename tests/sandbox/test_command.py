"""`sender sandbox` as a process: options, signals, the vendor's own client."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from customerio import (
    APIClient,
    CustomerIOException,
    SendEmailRequest,
    SendInAppRequest,
    SendInboxMessageRequest,
    SendPushRequest,
    SendSMSRequest,
    SendWhatsAppRequest,
)

from sender.cli import sandbox as command
from tests.support.sandbox_process import KEY, ROOT, sandbox_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_process import SandboxProcess


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxProcess]:
    with sandbox_process("--visibility-lag", "0", "--seed", "5") as running:
        yield running


def test_the_vendors_own_client_works_unchanged(shared: SandboxProcess) -> None:
    person = {"id": "42"}
    with APIClient(KEY, url=shared.url) as client:
        email = SendEmailRequest(
            to="ada@example.com", transactional_message_id=3, identifiers=person, headers={"X-A": "b"}
        )
        email.attach("note.txt", "hello")
        answers = [
            client.send_email(email),
            client.send_sms(SendSMSRequest(transactional_message_id=4, identifiers=person, to="+15551234567")),
            client.send_whatsapp(
                SendWhatsAppRequest(transactional_message_id=5, identifiers=person, to="+15551234567")
            ),
            client.send_push(SendPushRequest(transactional_message_id=6, identifiers=person)),
            client.send_in_app(SendInAppRequest(transactional_message_id=7, identifiers=person)),
            client.send_inbox_message(SendInboxMessageRequest(transactional_message_id=8, identifiers=person)),
        ]
        assert all(answer["delivery_id"] and abs(answer["queued_at"] - time.time()) < 9 for answer in answers)
        with pytest.raises(CustomerIOException, match=r"400.*E\.164"):
            client.send_sms(SendSMSRequest(transactional_message_id=3, identifiers=person, to="1"))
        email.attach("run.exe", "x")
        with pytest.raises(CustomerIOException, match=r"403.*Forbidden file type exe"):
            client.send_email(email)
    with APIClient("wrong", url=shared.url) as client, pytest.raises(CustomerIOException, match="401"):
        client.send_email(email)
    kinds = [message["kind"] for message in shared.messages()]
    assert kinds == ["email", "sms", "whatsapp", "push", "in_app", "inbox_message"]
    assert shared.messages()[0]["payload"]["attachments"] == {"note.txt": "aGVsbG8="}


def test_a_process_of_its_own_tells_what_it_saw(shared: SandboxProcess) -> None:
    shared.admin("POST", "reset")
    request = urllib.request.Request(f"{shared.url}/v1/workspaces", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert json.load(answer)["workspaces"]
    shared.fault("status_503", lane="app", count=1)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    with refused.value as error:
        assert error.code == 503
    stats = shared.stats()
    assert stats["lanes"]["app"]["statuses"] == {"200": 1, "503": 1}
    assert [arrival["status"] for arrival in stats["arrivals"]] == ["200", "503"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_at_once_with_0(number: signal.Signals) -> None:
    key = "from-the-environment"
    with sandbox_process(SENDER_SANDBOX_API_KEY=key) as running, APIClient(key, url=running.url) as client:
        assert client.send_push({"transactional_message_id": 3, "identifiers": {"id": "1"}})
        running.process.send_signal(number)
        assert running.process.wait(3) == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sender", "sandbox", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_an_address_that_is_taken_is_a_usage_error(shared: SandboxProcess) -> None:
    done = run("--port", shared.url.rpartition(":")[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose another --host or --port" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "nonsense=1"], "there is no fault nonsense"),
        (["--latency", "9-3"], "MIN-MAX"),
        (["--port", "70000"], "not a port"),
        (["--rate-send", "-1"], "0 or more"),
        (["--queue", "x"], "whole number"),
        (["--forbid", "fax"], "invalid choice"),
    ],
)
def test_wrong_options(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


EVERY_OPTION = """--host 127.0.0.2 --port 9 --key k --keep-alive 3 --limit bucket --rate-send 5 --rate-trigger 2
--rate-app 4 --queue 1 --queue-full 422 --retry-after date --processing-time 7 --pending zero --visibility-lag 8
--show-scheduled --hide-template-id --no-read-scope --forbid sms --forbid push --forget --latency 1-2 --jitter 6
--fault hang=0.5 --seed 11"""


def test_every_option_reaches_the_server() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(EVERY_OPTION.split())
    options = command._options(args)
    assert (options.host, options.port, options.api_key, options.keep_alive) == ("127.0.0.2", 9, "k", 3)
    assert (options.limit, options.rate_send, options.rate_trigger, options.rate_app) == ("bucket", 5, 2, 4)
    assert (options.queue, options.queue_full, options.retry_after, options.processing_time) == (1, 422, "date", 7)
    assert (options.pending, options.visibility_lag, options.latency_ms, options.jitter_ms) == ("zero", 8, (1, 2), 6)
    assert (options.show_scheduled, options.hide_template_id, options.no_read_scope, options.forget) == (True,) * 4
    assert (options.forbid, options.faults, options.seed) == (frozenset({"sms", "push"}), ("hang=0.5",), 11)


def test_help_stays_light() -> None:
    code = "import sys, sender.cli.sandbox; print(*{'asyncio', 'orjson', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.strip() == ""
