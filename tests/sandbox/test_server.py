from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from typing import Any

import pytest

from tests.sandbox.wire import EMAIL, KEY, connected, error_a, error_c, request_bytes, sandbox

BODY = json.dumps(EMAIL).encode()
SEND = request_bytes("POST", "/v1/send/email", BODY)


async def test_the_101st_send_in_a_second_gets_429() -> None:
    async with sandbox(rate_send=100.0, retry_after="seconds") as (server, client):
        client.writer.write(SEND * 101)
        seen = [await client.answer() for _ in range(101)]
        assert [one.status for one in seen] == [200] * 100 + [429]
        assert seen[-1].headers["retry-after"] == "1"
        assert "rate limited to 100 requests per 1s" in error_a(seen[-1])
        lane = server.stats()["lanes"]["send"]
        assert (lane["arrived"], lane["accepted"], lane["rejected_429"]) == (101, 100, 1)
        assert (lane["max_in_window"], lane["max_admitted_in_window"]) == (101, 100)


async def test_strict_count_is_never_over_under_a_storm_of_connections() -> None:
    async with sandbox(rate_send=20.0, jitter_ms=20.0) as (server, _):

        async def storm() -> None:
            async with connected(server) as client:
                for _ in range(40):
                    await client.call("POST", "/v1/send/email", EMAIL)

        await asyncio.gather(*(storm() for _ in range(6)))
        lane = server.stats()["lanes"]["send"]
        assert lane["arrived"] == 240
        assert lane["max_admitted_in_window"] == 20
        assert lane["max_in_window"] > 20


@pytest.mark.parametrize(("carried", "form"), [("none", "none"), ("seconds", "digits"), ("date", "date")])
async def test_what_a_429_carries(carried: str, form: str) -> None:
    async with sandbox(rate_send=1.0, rate_trigger=0.1, rate_app=1.0, retry_after=carried) as (_, client):
        for method, path, waits in (
            ("POST", "/v1/send/email", "1"),
            ("POST", "/v1/campaigns/1/triggers", "10"),
            ("GET", "/v1/workspaces", "1"),
        ):
            document = EMAIL if method == "POST" else None
            assert (await client.call(method, path, document)).status in (200, 422)
            seen = await client.call(method, path, document)
            assert seen.status == 429
            value = seen.headers.get("retry-after", "none")
            if method == "GET" or form == "digits":
                assert value == waits
            else:
                assert value.endswith("GMT") == (form == "date")
        assert error_c(seen)["status"] == "429"


async def test_bucket_lets_a_full_one_through_and_the_lanes_are_apart() -> None:
    async with sandbox(limit="bucket", rate_send=5.0, rate_app=2.0) as (_, client):
        got = [(await client.call("POST", "/v1/send/email", EMAIL)).status for _ in range(6)]
        assert got == [200] * 5 + [429]
        reads = [
            (await client.call("GET", path)).status for path in ("/v1/messages", "/v1/broadcasts", "/v1/workspaces")
        ]
        assert reads == [200, 200, 429], "one limit for all of them"
        put = await client.call("PUT", "/v1/transactional/3/content/1", {"body": "x"})
        assert put.status == 429


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
async def test_the_kernel_stamps_arrivals_not_the_loop() -> None:
    async with sandbox() as (server, client):
        before = time.time_ns()
        client.writer.write(SEND)
        between = time.time_ns()
        time.sleep(0.1)
        assert (await client.answer()).status == 200
        stats = server.stats()
        assert stats["stamps"] == "kernel"
        (arrival,) = stats["arrivals"]
        assert before <= arrival["at_ns"] <= between + 20_000_000
        assert (arrival["lane"], arrival["status"]) == ("send", "200")


async def test_a_request_in_pieces_counts_from_its_first_byte() -> None:
    async with sandbox() as (server, client):
        client.writer.write(SEND[:3])
        await asyncio.sleep(0.02)
        then = time.time_ns()
        await asyncio.sleep(0.05)
        client.writer.write(SEND[3:])
        assert (await client.answer()).status == 200
        assert server.stats()["arrivals"][0]["at_ns"] < then


async def test_jitter_delays_the_arrival_that_is_counted() -> None:
    async with sandbox(jitter_ms=40.0, seed=3) as (server, client):
        start = time.time_ns()
        loop_start = asyncio.get_running_loop().time()
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200
        took = asyncio.get_running_loop().time() - loop_start
        shift = (server.stats()["arrivals"][0]["at_ns"] - start) / 1e9
        assert 0.001 < shift <= took


async def test_latency_spans() -> None:
    async with sandbox(latency_ms=(30.0, 60.0)) as (_, client):
        start = asyncio.get_running_loop().time()
        await client.call("POST", "/v1/send/email", EMAIL)
        assert asyncio.get_running_loop().time() - start >= 0.029


async def test_pipelined_requests_are_answered_in_order_and_after_the_clients_end() -> None:
    async with sandbox(latency_ms=(5.0, 10.0)) as (_, client):
        client.writer.write(SEND + request_bytes("GET", "/v1/workspaces") + SEND)
        client.writer.write_eof()
        first, second, third = [await client.answer() for _ in range(3)]
        assert first.json["delivery_id"] != third.json["delivery_id"]
        assert second.json["workspaces"]
        assert await client.rest() == b""


async def test_a_flood_of_pipelined_requests() -> None:
    async with sandbox() as (server, client):
        padded = request_bytes("POST", "/v1/send/email", json.dumps(EMAIL | {"body": "x" * 20_000}).encode())

        async def write() -> None:
            for _ in range(200):
                client.writer.write(padded)
                await client.writer.drain()

        writing = asyncio.create_task(write())
        for _ in range(200):
            assert (await client.answer()).status == 200
        await writing
        assert len(server.messages()) == 200


async def test_chunked_requests_and_expect_continue() -> None:
    async with sandbox() as (_, client):
        head = f"POST /v1/send/email HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
        client.writer.write(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (BODY[:7], BODY[7:], b""):
            client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert (await client.answer()).status == 200


async def test_head_gets_the_headers_of_get() -> None:
    async with sandbox() as (_, client):
        length = len((await client.call("GET", "/v1/workspaces")).body)
        seen = await client.call("HEAD", "/v1/workspaces")
        assert (seen.status, seen.body, seen.headers["content-length"]) == (200, b"", str(length))
        assert (await client.call("GET", "/v1/workspaces")).status == 200


@pytest.mark.parametrize("line", ["Connection: close\r\n", "Connection: keep-alive, Close\r\n"])
async def test_connection_close(line: str) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("POST", "/v1/send/email", EMAIL, extra=line)
        assert seen.headers["connection"] == "close"
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 3_000_000, 413),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, 431),
    ],
)
async def test_what_is_no_request_is_answered_and_the_connection_ends(raw: bytes, status: int) -> None:
    async with sandbox() as (server, client):
        client.writer.write(raw)
        assert (await client.answer()).status == status
        assert await client.rest() == b""
        assert server.stats()["requests"] == 0


async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    async with sandbox(keep_alive=0.2, latency_ms=(300.0, 300.0)) as (server, client), connected(server) as idle:
        client.writer.write(SEND)
        assert await idle.rest() == b""
        assert (await client.answer()).status == 200


async def test_a_client_that_leaves_in_the_middle_is_an_arrival() -> None:
    async with sandbox() as (server, client):
        client.writer.write(SEND[:-5])
        client.writer.write_eof()
        assert await client.rest() == b""
        assert server.stats()["lanes"]["send"]["statuses"] == {"broken_off": 1}
        assert server.messages() == []


@pytest.mark.parametrize(
    ("method", "path", "shape", "text"),
    [
        ("POST", "/v1/send/email", "A", "Unauthorized request"),
        ("POST", "/v1/campaigns/1/triggers", "C", "unauthorized"),
        ("POST", "/v1/newsletters/1/send", "C", "Unauthorized request"),
        ("GET", "/v1/workspaces", "C", "Unauthorized request"),
    ],
)
@pytest.mark.parametrize("key", ["wrong", None, "sandbox-key "])
async def test_wrong_keys(method: str, path: str, shape: str, text: str, key: str | None) -> None:
    async with sandbox(rate_send=1.0, rate_app=1.0, rate_trigger=1.0) as (_, client):
        for _ in range(3):  # they are not counted towards the limit
            seen = await client.call(method, path, {} if method == "POST" else None, key=key)
            assert (seen.status == 401) == (key != "sandbox-key "), "blanks around a header's value are none of it"
            if seen.status == 401:
                assert (error_a(seen) if shape == "A" else error_c(seen)["detail"]) == text
                assert "www-authenticate" not in seen.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/send/email"), ("POST", "/v1/send/fax"), ("POST", "/v1/workspaces"), ("PUT", "/v1/newsletters/1/send"),
     ("GET", "/"), ("POST", "/v2/send/email"), ("DELETE", "/v1/messages"), ("GET", "/v1/transactional/1/2/3/4")],
)
async def test_a_wrong_path_or_method_is_an_html_page(method: str, path: str) -> None:
    async with sandbox() as (server, client):
        seen = await client.call(method, path)
        assert (seen.status, seen.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert 3000 < len(seen.body) < 4500
        assert server.stats()["lanes"]["other"]["arrived"] == 1


async def test_no_read_scope() -> None:
    async with sandbox(no_read_scope=True) as (_, client):
        seen = await client.call("GET", "/v1/workspaces")
        assert (seen.status, error_c(seen)["status"]) == (403, "403")
        assert (await client.call("POST", "/v1/send/email", EMAIL)).status == 200
        assert (await client.call("GET", "/v1/info/ip_addresses", key=None)).status == 200


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [("broadcast", "POST", "/v1/campaigns/1/triggers"), ("content", "PUT", "/v1/transactional/1/content/1"),
     ("newsletter_send", "POST", "/v1/newsletters/1/send")],
)
async def test_forbidden_kinds_outside_of_sends(kind: str, method: str, path: str) -> None:
    async with sandbox(forbid=frozenset({kind})) as (_, client):
        seen = await client.call(method, path, {"body": "x"})
        assert (seen.status, error_c(seen)["detail"]) == (403, "forbidden")


async def test_messages_of_the_sandbox_in_all_forms() -> None:
    async with sandbox() as (server, client):
        for number in range(5):
            await client.call("POST", "/v1/send/email", EMAIL | {"message_data": {"n": number}})
        everything = (await client.call("GET", "/_sandbox/messages", key=None)).json
        assert [one["payload"]["message_data"]["n"] for one in everything] == [0, 1, 2, 3, 4]
        assert (await client.call("GET", "/_sandbox/messages?start=3&limit=1")).json == everything[3:4]
        lines = (await client.call("GET", "/_sandbox/messages?format=jsonl")).body.splitlines()
        assert [json.loads(line) for line in lines] == everything == server.messages()
        assert (await client.call("GET", "/_sandbox/messages?start=x")).status == 400
        await client.call("POST", "/_sandbox/reset")
        assert (await client.call("GET", "/_sandbox/messages")).json == []


async def test_forget_keeps_counts_only() -> None:
    async with sandbox(forget=True) as (server, client):
        for _ in range(3):
            await client.call("POST", "/v1/send/email", EMAIL)
        assert server.messages() == []
        assert server.stats()["lanes"]["send"]["accepted"] == 3


async def test_nothing_is_left_behind() -> None:
    async with sandbox(latency_ms=(100.0, 100.0)) as (server, client):
        client.writer.write(SEND)
        async with connected(server) as other:
            await other.call("GET", "/_sandbox/stats")
            assert server.stats()["connections"] == 2
    assert server.connections == set()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", server.port))


async def test_seeds_repeat_the_ids() -> None:
    async def first(seed: int | None) -> Any:
        async with sandbox(seed=seed) as (_, client):
            return (await client.call("POST", "/v1/send/email", EMAIL)).json["delivery_id"]

    assert await first(7) == await first(7)
    assert await first(None) != await first(None)
