"""Reporting webhooks: who is believed, when they are acknowledged, and that nothing of them is told."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import ssl
import time
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme
from structlog.testing import capture_logs

from sender.errors import OutputError
from sender.follow.delivery_log import beside, read_deliveries
from sender.follow.until import Until
from sender.follow.webhooks import listener as listener_module
from sender.follow.webhooks.intake import Intake
from sender.follow.webhooks.listener import Listener
from sender.follow.webhooks.listening import follow_webhooks
from sender.follow.webhooks.signature import SignatureCheck
from sender.sandbox.fates import FateError, parse_chance
from tests.follow.test_follow_lists import BEGIN, open_run, outcome, write_log
from tests.sandbox.wire import EMAIL, sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sender.follow.books import FateBooks
    from sender.follow.following import Following

KEY = b"a-signing-key"


def event(number: int, metric: str = "delivered", at: int = 5, **data: Any) -> bytes:
    return json.dumps({
        "event_id": f"e{number}", "object_type": "email", "metric": metric, "timestamp": BEGIN + at,
        "data": {"delivery_id": f"d{number}", "recipient": "ada@example.com", "transactional_message_id": 3, **data},
    }).encode()


def signed(body: bytes, key: bytes = KEY, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signature = hmac.new(key, f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    return {"X-CIO-Timestamp": stamp, "X-CIO-Signature": signature}


class Receiver(NamedTuple):
    """A listener and what stands behind it."""

    listener: Listener
    work: Following

    async def call(
        self, body: bytes, headers: dict[str, str] | None = None, method: str = "POST", length: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> int:
        """The status; 0 where the connection was cut."""
        headers = {**(signed(body) if headers is None else headers), "Content-Length": str(length or len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host, port = self.listener.addresses[0]
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=tls and "localhost")
        try:
            with suppress(ConnectionError):
                writer.write(f"{method} /hook HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body)
                await writer.drain()
            line = await asyncio.wait_for(reader.readline(), 20)
            return int(line.split()[1]) if line else 0
        finally:
            writer.close()


@asynccontextmanager
async def receiver(path: Path, tls: ssl.SSLContext | None = None, window: float = 300.0) -> AsyncIterator[Receiver]:
    from sender.follow.following import Following

    work = await Following.open([open_run(path, "api.example")], waits=True)
    intake = Intake(work.take_or_keep)
    listener = await Listener.open(intake, SignatureCheck(KEY, window), "127.0.0.1", 0, tls)
    task = asyncio.create_task(intake.run())
    try:
        yield Receiver(listener, work)
    finally:
        await listener.aclose()
        task.cancel()
        await work.aclose()


def last_lines(path: Path) -> dict[str, dict[str, Any]]:
    return {line["delivery_id"]: line for line in read_deliveries(beside(path))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_log(tmp_path, [outcome(n) for n in range(10)])


async def test_an_event_is_acknowledged_when_it_is_durable(path: Path) -> None:
    async with receiver(path) as hooks:
        assert await hooks.call(event(3)) == 200
        line = last_lines(path)["d3"]
        assert (line["fate"], line["by"], line["id"]) == ("delivered", "webhook", "job-3")
        assert line["domain"] == "example.com"
        assert hooks.work.books.fates["delivered"] == 1


async def test_repeats_and_any_order(path: Path) -> None:
    async with receiver(path) as hooks:
        bodies = [event(1, "bounced", 9, failure_message="452 4.2.2 ada@example.com full"), event(1, "delivered", 20),
                  event(1, "opened", 40), event(1, "sent", 2)]
        for body in (*bodies, *bodies, bodies[2], bodies[0]):
            assert await hooks.call(body) == 200
        assert (hooks.work.books.fates["delivered"], hooks.work.books.marks["opened"]) == (1, 1)
        lines = [line for line in read_deliveries(beside(path)) if line["delivery_id"] == "d1"]
        assert [line["fate"] for line in lines] == ["bounced", "delivered", "delivered", "delivered"]
        assert lines[0]["bounce"] == "soft"
    assert "ada" not in beside(path).read_text()


@pytest.mark.parametrize(("headers_now", "status"), [
    (dict, 401),
    (lambda: {"X-CIO-Timestamp": "now"}, 401),
    (lambda: {"X-CIO-Timestamp": "9" * 400, "X-CIO-Signature": "0" * 64}, 401),
    (lambda: signed(event(1), b"another-key"), 401),
    (lambda: signed(event(2)), 401),
    (lambda: {**signed(event(1)), "X-CIO-Signature": "é" * 64}, 401),
    (lambda: {**signed(event(1)), "X-CIO-Signature": ""}, 401),
    (lambda: signed(event(1), at=time.time() - 400), 401),
    (lambda: signed(event(1), at=time.time() + 400), 401),
    (lambda: signed(event(1), at=time.time() - 200), 200),
])
async def test_only_who_has_the_key_is_believed_and_not_for_ever(
    path: Path, headers_now: Callable[[], dict[str, str]], status: int
) -> None:
    headers = headers_now()
    async with receiver(path) as hooks:
        with capture_logs() as logs:
            assert await hooks.call(event(1), headers) == status
            assert await hooks.call(event(1), headers) == status
        assert hooks.work.books.fates["delivered"] == (status == 200)
        assert len(logs) == (status != 200), "told once"
        assert "ada" not in str(logs)
        assert "d1" not in str(logs)


@pytest.mark.parametrize("body", [
    b"", b"{", b"[" * 100_000, b"[]", b'{"data":{}}', event(1, campaign_id=4), event(1, metric="<script>"),
    b'{"object_type": "customer", "metric": "subscribed", "timestamp": 5, "data": {"customer_id": 7}}',
])
async def test_what_is_none_of_ours_is_acknowledged_and_not_kept(path: Path, body: bytes) -> None:
    async with receiver(path) as hooks:
        assert await hooks.call(body) == 200
        assert not last_lines(path)
        assert hooks.listener.counts == {"ignored": 1}


async def test_a_job_that_ends_after_its_webhook_is_known_then(path: Path) -> None:
    async with receiver(path) as hooks:
        assert await hooks.call(event(50)) == 200
        assert await hooks.call(event(51, "bounced")) == 200
        assert hooks.work.books.sent == 10
    with path.open("a") as file:
        file.write(json.dumps(outcome(50)) + "\n")
    async with receiver(path) as hooks:  # it was kept over a restart
        assert (hooks.work.books.sent, hooks.work.books.fates["delivered"]) == (11, 1)
        with path.open("a") as file:
            file.write(json.dumps(outcome(51)) + "\n")
        await hooks.work.read_on()
        assert hooks.work.books.fates["bounced"] == 1
    assert last_lines(path).keys() == {"d50", "d51"}


async def test_a_webhook_that_overtakes_the_log_while_it_is_read(path: Path) -> None:
    """The delivery became known between the look and the keeping."""
    async with receiver(path) as hooks:
        keep = hooks.work.take_or_keep
        with path.open("a") as file:
            file.write(json.dumps(outcome(60)) + "\n")
        await keep([one for one in [_news(60)] if one])
        await hooks.work.read_on()
        assert hooks.work.books.fates["delivered"] == 1


def _news(number: int, metric: str = "delivered") -> Any:
    from sender.follow.news import read_event

    return read_event(json.loads(event(number, metric)))


async def test_a_full_disk_is_not_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async with receiver(path) as hooks:
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr("sender.outcomes.outcome_log.os.write", full)
            assert await hooks.call(event(1)) == 503
            assert await hooks.call(event(1)) == 503
        assert [one["event"] for one in logs] == [
            "webhooks are not acknowledged: they cannot be kept, and come again"]
        assert hooks.work.books.fates["open"] == 10
        assert not last_lines(path)
        assert await hooks.call(event(1)) == 200
        assert last_lines(path).keys() == {"d1"}


async def test_a_full_disk_under_what_is_not_known_yet_is_not_acknowledged(path: Path) -> None:
    async with receiver(path) as hooks:
        waiting = hooks.work._waiting
        assert waiting is not None
        waiting._db.execute("PRAGMA max_page_count = 4")
        statuses = {await hooks.call(event(100 + n, reason="x" * 190)) for n in range(80)}
        assert statuses == {200, 503}
        waiting._db.execute("PRAGMA max_page_count = 100000")
        assert await hooks.call(event(900)) == 200


async def test_a_large_body_is_refused_before_it_is_held(path: Path) -> None:
    async with receiver(path) as hooks:
        assert await hooks.call(b"x" * 1000, length=30_000_000) == 413
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        reader, writer = await asyncio.open_connection(*hooks.listener.addresses[0])
        stamp = signed(b"")["X-CIO-Timestamp"]
        writer.write(
            f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-CIO-Timestamp: {stamp}\r\n\r\n".encode())
        with suppress(ConnectionError):
            for _ in range(30):
                writer.write(chunk)
                await writer.drain()
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        assert await hooks.call(event(1)) == 200


async def test_a_compressed_body_is_not_unpacked_for_a_stranger(path: Path) -> None:
    """200 kB became 200 MB before the signature was looked at."""
    import tracemalloc
    import zlib

    bomb = zlib.compress(bytes(50_000_000), 9)
    async with receiver(path) as hooks:
        tracemalloc.start()
        try:
            assert await hooks.call(bomb, {**signed(event(1)), "Content-Encoding": "deflate"}) == 401
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


async def test_it_ends_when_the_rule_cannot_hold_any_more(path: Path) -> None:
    async with receiver(path) as hooks, asyncio.timeout(30):
        await hooks.work.take([_news(n, "bounced") for n in range(5)], "webhook")
        assert await follow_webhooks(hooks.work, Until.parse("delivered>=60%"), math.inf) is False


async def test_a_slow_body_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "READ_WITHIN", 0.1)
    async with receiver(path) as hooks:
        assert await hooks.call(event(1), signed(event(1)), length=5_000) == 408
        assert hooks.listener._reading == 0


async def test_other_requests_are_answered_in_few_words(path: Path) -> None:
    async with receiver(path) as hooks:
        assert await hooks.call(b"", {}, method="GET") == 405
        assert await hooks.call(b"", {"X-Long": "x" * 10_000}) == 400


async def test_over_https(path: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    async with receiver(path, server) as hooks:
        assert await hooks.call(event(1), tls=client) == 200
        assert await hooks.call(event(2), tls=client, headers={}) == 401


async def test_events_that_come_together_are_written_together() -> None:
    written: list[int] = []

    async def keep(news: Any) -> None:
        await asyncio.sleep(0.01)
        written.append(len(news))
        if len(written) == 2:
            raise OutputError("full")

    intake = Intake(keep)
    task = asyncio.create_task(intake.run())
    first = asyncio.create_task(intake.put(_news(0)))
    await asyncio.sleep(0.005)
    others = await asyncio.gather(*(intake.put(_news(n)) for n in range(200)))
    assert await first
    assert written == [1, 200]
    assert others == [False] * 200
    task.cancel()


async def test_the_sandboxes_webhooks_end_in_its_own_books(tmp_path: Path) -> None:
    log = tmp_path / "jobs.outcomes.jsonl"
    log.write_text("")
    async with receiver(log) as hooks:
        address = hooks.listener.addresses[0]
        chances = ("bounced=10%", "dropped=5%", "undeliverable=3%", "failed=3%", "opened=40%", "deferred=20%")
        async with sandbox(
            webhook=f"http://127.0.0.1:{address[1]}/", webhook_key=KEY.decode(), webhook_repeats=0.3, fates=chances,
            deliver_after=(0.0, 0.1), seed=3,
        ) as (server, client):
            for number in range(150):
                seen = await client.call("POST", "/v1/send/email", EMAIL)
                with log.open("a") as file:
                    file.write(json.dumps(outcome(number, delivery_id=seen.json["delivery_id"])) + "\n")
            for _ in range(600):
                await hooks.work.read_on()
                if not server.webhooks()["waiting"]:
                    break
                await asyncio.sleep(0.05)
            await hooks.work.read_on()
            accepted, now = server.app.world.deliveries.all, server.app.world.now() + 10
            own = [one.fate(now) for one in accepted]
            opened = sum(any(event.metric == "opened" for event in one.events) for one in accepted)
        books: FateBooks = hooks.work.books
        assert {fate: books.fates[fate] for fate in set(own)} == {fate: own.count(fate) for fate in set(own)}
        assert books.marks["opened"] == opened
        assert server.webhooks()["acknowledged"] > 150 * 2
        assert books.check()


@pytest.mark.parametrize("text", ["", "bounced", "bounced=2", "bounced=200%", "lost=x", "gone=1%", "opened=1%:domain="])
def test_what_is_no_chance_is_told(text: str) -> None:
    with pytest.raises(FateError):
        parse_chance(text)


def test_a_chance_of_a_domain_comes_first() -> None:
    assert parse_chance("bounced=2%:domain=Example.org") == ("bounced", 0.02, "example.org")
