from __future__ import annotations

import asyncio
import gzip
import socket
import time
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import pytest

from sender.sandbox.faults import ACCEPTED_BY_DEFAULT, FaultError, Faults, make_fault, parse_spec
from tests.sandbox.wire import EMAIL, Client, connected, request_bytes, sandbox

EMAIL_BYTES = b'{"to":"a@b.c","transactional_message_id":3,"identifiers":{"id":"1"}}'
REQUEST = request_bytes("POST", "/v1/send/email", EMAIL_BYTES)


def lane(server: Any, name: str = "send") -> dict[str, Any]:
    return dict(server.stats()["lanes"][name])


async def answer_or_nothing(client: Client) -> bytes | None:
    try:
        return await asyncio.wait_for(client.reader.read(1), 0.15)
    except TimeoutError:
        return None


@pytest.mark.parametrize(("fault", "accepted"), [("reset_before", 0), ("half_read", 0), ("reset_after", 1)])
async def test_resets(fault: str, accepted: int) -> None:
    async with sandbox() as (server, client):
        server.fault(fault, count=1)
        client.writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert len(server.messages()) == accepted
        assert (lane(server)["statuses"], lane(server)["accepted"]) == ({fault: 1}, accepted)
        async with connected(server) as again:
            assert (await again.call("POST", "/v1/send/email", EMAIL)).status == 200


async def test_reset_before_strikes_when_the_head_is_there() -> None:
    async with sandbox() as (server, client):
        server.fault("reset_before")
        client.writer.write(REQUEST[: -len(EMAIL_BYTES)])
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_close_after_is_no_reset() -> None:
    async with sandbox() as (server, client):
        server.fault("close_after")
        client.writer.write(REQUEST)
        assert await client.rest() == b""
        assert len(server.messages()) == 1


@pytest.mark.parametrize(
    ("params", "accepted"),
    [({"name": "hang"}, 1), ({"name": "hang", "accepted": False}, 0), ({"name": "hang_before"}, 0)],
)
async def test_hang(params: dict[str, Any], accepted: int) -> None:
    async with sandbox() as (server, client):
        server.fault(**params)
        client.writer.write(REQUEST + REQUEST)
        assert await answer_or_nothing(client) is None
        assert len(server.messages()) == accepted, "what is pipelined behind it hangs too"
        client.writer.write_eof()
        assert await client.rest() == b""


async def test_cut_body() -> None:
    async with sandbox() as (server, client):
        server.fault("cut_body")
        client.writer.write(REQUEST)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        assert b" 200 " in head
        assert 0 < len(body) < length
        assert len(server.messages()) == 1


async def test_garbage() -> None:
    async with sandbox() as (server, client):
        server.fault("garbage")
        client.writer.write(REQUEST)
        seen = await client.rest()
        assert seen
        assert not seen.startswith(b"HTTP")
        assert len(server.messages()) == 1


@pytest.mark.parametrize(
    ("fault", "status", "kind", "body", "accepted"),
    [
        ("html", 200, "text/html; charset=utf-8", b"<html", 1),
        ("html_404", 404, "text/html; charset=utf-8", b"<!DOCTYPE", 0),
        ("no_id", 200, "application/json; charset=utf-8", b"{}", 1),
        ("status_500", 500, "application/json; charset=utf-8", b'{"meta":{"error":', 0),
        ("status_502", 502, "text/html; charset=utf-8", b"<html", 0),
        ("status_503", 503, "text/html; charset=utf-8", b"<html", 0),
        ("status_504", 504, "text/html; charset=utf-8", b"<html", 0),
        ("status_408", 408, "application/json; charset=utf-8", b'{"meta":{"error":', 0),
        ("status_429", 429, "application/json; charset=utf-8", b'{"meta":{"error":', 0),
        ("accept_500", 500, "application/json; charset=utf-8", b'{"meta":{"error":', 1),
        ("accept_502", 502, "text/html; charset=utf-8", b"<html", 1),
        ("accept_504", 504, "text/html; charset=utf-8", b"<html", 1),
    ],
)
async def test_other_answers(fault: str, status: int, kind: str, body: bytes, accepted: int) -> None:
    async with sandbox() as (server, client):
        server.fault(fault, count=1)
        seen = await client.call("POST", "/v1/send/email", EMAIL)
        assert (seen.status, seen.headers["content-type"]) == (status, kind)
        assert seen.body.startswith(body)
        assert len(server.messages()) == accepted
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200, "the connection lives on"


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirects(status: int) -> None:
    async with sandbox() as (server, client):
        server.fault(f"status_{status}")
        seen = await client.call("POST", "/v1/send/email", EMAIL)
        assert (seen.status, seen.headers["location"]) == (status, "https://elsewhere.example/")


@pytest.mark.parametrize(
    ("given", "seen"),
    [("none", None), ("7", "7"), ("zero", "0"), ("huge", "31536000"), ("garbage", "in a little while")],
)
async def test_retry_after(given: str, seen: str | None) -> None:
    async with sandbox() as (server, client):
        for status in (429, 503):
            server.fault("status", status=status, retry_after=given, count=1)
            answer = await client.call("POST", "/v1/send/email", EMAIL)
            assert (answer.status, answer.headers.get("retry-after")) == (status, seen)


@pytest.mark.parametrize(("given", "ahead"), [("date", 1), ("date:600", 600)])
async def test_retry_after_as_a_date(given: str, ahead: int) -> None:
    async with sandbox() as (server, client):
        server.fault("status_429", retry_after=given)
        answer = await client.call("POST", "/v1/send/email", EMAIL)
        assert answer.headers["retry-after"].endswith(" GMT")
        then = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
        assert ahead - 2 <= then - time.time() <= ahead + 2


@pytest.mark.parametrize(
    ("body", "seen"),
    [("html", b"<html>"), ("empty", b""), ("garbage", b'{"meta":{"error":'), ("any text", b"any text")],
)
async def test_bodies(body: str, seen: bytes) -> None:
    async with sandbox() as (server, client):
        server.fault("status_429", body=body)
        answer = await client.call("POST", "/v1/send/email", EMAIL)
        assert answer.body[: len(seen) or 1] == seen


async def test_the_shape_is_that_of_the_lane() -> None:
    async with sandbox() as (server, client):
        server.fault("status_500")
        server.fault("status_500", lane="app")
        assert "errors" in (await client.call("GET", "/v1/workspaces")).json
        assert "meta" in (await client.call("POST", "/v1/send/email", EMAIL)).json


async def test_latency_and_slow_body() -> None:
    async with sandbox() as (server, client):
        loop = asyncio.get_running_loop()
        for fault in ("latency", "slow_body"):
            server.fault(fault, seconds=0.1, count=1)
            start = loop.time()
            assert (await client.call("POST", "/v1/send/email", EMAIL)).json["delivery_id"]
            assert loop.time() - start >= 0.099
        assert len(server.messages()) == 2


async def test_huge_gzip_and_chunked_answers() -> None:
    async with sandbox() as (server, client):
        server.fault("huge_body", bytes=3_000_000, count=1)
        huge = await client.call("POST", "/v1/send/email", EMAIL)
        assert len(huge.body) > 3_000_000
        assert huge.json["delivery_id"]
        server.fault("gzip", count=1)
        packed = await client.call("POST", "/v1/send/email", EMAIL)
        assert packed.headers["content-encoding"] == "gzip"
        assert b"delivery_id" in gzip.decompress(packed.body)
        server.fault("chunked", count=1)
        chunked = await client.call("POST", "/v1/send/email", EMAIL)
        assert chunked.headers["transfer-encoding"] == "chunked"
        assert chunked.json["delivery_id"]
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200


async def test_filters_skip_and_count() -> None:
    async with sandbox() as (server, client):
        server.fault("status_500", lane="app")
        server.fault("status_502", path="/v1/send/sms")
        server.fault("status_503", path="*/send/push*")
        server.fault("status_504", path="/v1/send/email", skip=1, count=1)
        assert (await client.call("GET", "/v1/workspaces")).status == 500
        assert (await client.call("POST", "/v1/send/sms", {})).status == 502
        assert (await client.call("POST", "/v1/send/push", {})).status == 503
        got = [(await client.call("POST", "/v1/send/email", EMAIL)).status for _ in range(3)]
        assert got == [200, 504, 200]


@pytest.mark.parametrize("fault", ["status_500", "reset_before"])
async def test_jobs_are_met_by_default_and_reads_are_not(fault: str) -> None:
    async with sandbox() as (server, client):
        server.fault(fault)
        assert (await client.call("GET", "/v1/workspaces")).status == 200
        assert (await client.call("GET", "/v1/nothing")).status == 404
        client.writer.write(request_bytes("PUT", "/v1/transactional/1/content/1", b"{}"))
        if fault == "status_500":
            assert (await client.answer()).status == 500
        else:
            with pytest.raises(ConnectionResetError):
                await client.rest()


async def test_key_and_limit_come_before_faults() -> None:
    async with sandbox(rate_send=1) as (server, client):
        server.fault("status_500", count=1)
        assert (await client.call("POST", "/v1/send/email", EMAIL, key="wrong")).status == 401
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 500
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 429


async def test_admin_calls() -> None:
    async with sandbox(faults=("status_500=0.5",), seed=1) as (server, client):
        shown = (await client.call("GET", "/_sandbox/faults", key=None)).json["faults"]
        assert (shown[0]["status"], shown[0]["probability"]) == (500, 0.5)
        assert (await client.call("DELETE", "/_sandbox/faults")).json == {"faults": []}
        made = await client.call("POST", "/_sandbox/faults", {"fault": "reset_after", "probability": 0.1, "count": 3})
        assert (made.status, made.json["faults"][0]["count"]) == (200, 3)
        for raw in (b"{", b"[]", b'{"fault":"nonsense"}', b'{"fault":"hang","zeal":1}', b'{"fault":"down","mode":"x"}'):
            refused = await client.call("POST", "/_sandbox/faults", raw=raw)
            assert refused.status == 400
            assert refused.json["error"]
        await client.call("POST", "/_sandbox/reset")
        assert len(server.app.faults.shown()) == 1
        assert (await client.call("GET", "/_sandbox/nothing")).status == 404
        assert server.stats()["requests"] == 0, "admin calls are counted nowhere"


@pytest.mark.parametrize(("mode", "status"), [("502", 502), ("hang", None)])
async def test_down_but_listening(mode: str, status: int | None) -> None:
    async with sandbox() as (server, client):
        await client.call("POST", "/_sandbox/faults", {"fault": "down", "mode": mode, "seconds": 30})
        client.writer.write(REQUEST)
        if status is None:
            assert await answer_or_nothing(client) is None
        else:
            assert (await client.answer()).status == status
        async with connected(server) as other:
            assert (await other.call("DELETE", "/_sandbox/faults")).status == 200
            assert (await other.call("POST", "/v1/send/email", EMAIL)).status == 200
        assert len(server.messages()) == 1


async def test_down_refusing_connections() -> None:
    async with sandbox() as (server, client):
        seen = await client.call("POST", "/_sandbox/faults", {"fault": "down", "mode": "refuse", "seconds": 30})
        assert seen.json == {"down": "refuse", "seconds": 30}
        assert await client.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        server.up()
        async with connected(server) as other:
            assert (await other.call("POST", "/v1/send/email", EMAIL)).status == 200


@pytest.mark.parametrize("mode", ["502", "hang", "refuse"])
async def test_down_ends_by_itself(mode: str) -> None:
    async with sandbox() as (server, _):
        server.fault("down", mode=mode, seconds=0.01)
        await asyncio.sleep(0.03)
        async with connected(server) as client:
            assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200


async def test_it_comes_up_as_soon_as_its_port_is_free_again() -> None:
    async with sandbox() as (server, _):
        server.fault("down", mode="refuse", seconds=30)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port))
            other.listen()
            server.up()
        await asyncio.sleep(0.15)
        async with connected(server) as client:
            assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200


@pytest.mark.parametrize("name", ACCEPTED_BY_DEFAULT)
async def test_every_fault_leaves_the_server_well(name: str) -> None:
    for accepted in (True, False):
        async with sandbox() as (server, client):
            server.fault(name, accepted=accepted, count=1, seconds=0.01, bytes=1000)
            client.writer.write(REQUEST)
            await asyncio.sleep(0.05)
            if name not in ("reset_before", "half_read"):
                assert len(server.messages()) == accepted
            async with connected(server) as other:
                assert (await other.call("POST", "/v1/send/email", EMAIL)).status == 200
                assert (await other.call("HEAD", "/v1/workspaces")).status == 200


def test_specs() -> None:
    first, second, third = parse_spec("reset_after=0.05, status_429=0.1:retry_after=date:count=3,hang:accepted=false")
    assert (first.fault, first.probability, first.takes_effect) == ("reset_after", 0.05, True)
    assert (second.status, second.retry_after, second.count) == (429, "date", 3)
    assert (third.probability, third.takes_effect) == (1.0, False)


@pytest.mark.parametrize(
    "spec",
    ["nonsense=1", "hang=x", "hang=2", "hang=1:count=0", "hang=1:skip=-1", "hang=1:lane=fast", "latency=1:seconds=nan",
     "hang=1:accepted=maybe", "status_999=1", "hang=1:what=ever", "status=1:status=99", "hang=1:retry_after=é"],
)
def test_bad_specs_say_what_is_wrong(spec: str) -> None:
    with pytest.raises(FaultError):
        parse_spec(spec)


@pytest.mark.parametrize(
    "given", [{"fault": []}, {"fault": "hang", "path": 3}, {"fault": "hang", "bytes": 1 << 40}, {}]
)
def test_bad_json(given: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        make_fault(given)


def test_chance_is_repeatable_and_about_right() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(("hang=0.3",), Random(seed))
        return [faults.draw("answer", "send", "/", job=True) is not None for _ in range(2000)]

    assert struck(1) == struck(1)
    assert 450 < sum(struck(1)) < 750
