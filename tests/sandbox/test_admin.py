"""What the sandbox shows of the requests that it accepted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.sandbox.wire import KEY, Client, request_bytes, sandbox

LATER = int(time.time()) + 3600
ODD = b'{"to" :"a@b.c",\r\n "transactional_message_id":3,"identifiers":{"id":"4\\u0032"}, "b":1, "b":1.50}\n'
CALLS = {
    "messages": ("POST", "/v1/send/email", ODD),
    "triggers": ("POST", "/v1/campaigns/7/triggers", '{ "data":{"é":"\\u00e9 😀"},"data" : {} }'.encode()),
    "newsletters": ("POST", "/v1/newsletters/4/send", b'{"rate_limit_spread" : true}'),
    "contents": ("PUT", "/v1/transactional/3/content/12", b'\t{"body":"<p>\\u003c","body":"<p>"}'),
}


async def shown(client: Client, what: str) -> list[dict[str, Any]]:
    seen = await client.call("GET", f"/_sandbox/{what}", key=None)
    assert seen.status == 200
    return list(seen.json)


@pytest.mark.parametrize("what", CALLS)
async def test_a_body_is_shown_decoded_and_byte_for_byte(what: str) -> None:
    method, path, body = CALLS[what]
    async with sandbox() as (_, client):
        assert (await client.call(method, path, raw=body)).status == 200
        (one,) = await shown(client, what)
        assert one["raw"].encode() == body
        assert one["payload"] == json.loads(body)


async def test_newsletters_show_what_was_sent_scheduled_and_descheduled() -> None:
    async with sandbox() as (_, client):
        zoned = {"scheduled_at": LATER, "timezone": "Europe/Berlin"}
        for path, body in (("schedule", zoned), ("schedule", {"scheduled_at": 0}), ("send", None), ("send", None)):
            await client.call("POST", f"/v1/newsletters/4/{path}", body)
        await client.call("POST", "/v1/newsletters/5/schedule", {"scheduled_at": 1})
        calls = await shown(client, "newsletters")
        assert [(one["kind"], one["newsletter_id"], one["payload"], one["raw"]) for one in calls] == [
            ("newsletter_schedule", 4, zoned, json.dumps(zoned)),
            ("newsletter_schedule", 4, {"scheduled_at": 0}, '{"scheduled_at": 0}'),
            ("newsletter_send", 4, None, ""),
        ], "the second send and the time that has passed were refused"
        assert all(abs(one["accepted_at"] - time.time()) < 9 for one in calls)


async def test_contents_show_every_write_and_where_it_went() -> None:
    async with sandbox() as (_, client):
        for path, body in (("content/12", {"body": "a"}), ("content/12", {"body": "b"}), ("language/de", {"body": "c"}),
                           ("content/12", {"body": 3})):
            await client.call("PUT", f"/v1/transactional/3/{path}", body)
        calls = await shown(client, "contents")
        assert [(one.get("content_id"), one.get("language"), one["payload"]["body"]) for one in calls] == [
            (12, None, "a"), (12, None, "b"), (None, "de", "c"),
        ]
        assert {(one["kind"], one["transactional_id"]) for one in calls} == {("content", 3)}


async def test_all_lists_come_in_pages_and_lines_and_are_emptied() -> None:
    async with sandbox() as (_, client):
        for what, (method, path, body) in CALLS.items():
            for number in (1, 2, 3):
                await client.call(method, path.replace("/4/", f"/{number}/"), raw=body)
            everything = await shown(client, what)
            assert len(everything) == 3
            assert await shown(client, f"{what}?start=1&limit=1") == everything[1:2]
            lines = (await client.call("GET", f"/_sandbox/{what}?format=jsonl")).body.splitlines()
            assert [json.loads(line) for line in lines] == everything
            assert (await client.call("GET", f"/_sandbox/{what}?limit=x")).status == 400
        await client.call("POST", "/_sandbox/reset")
        assert [await shown(client, what) for what in CALLS] == [[], [], [], []]


async def test_forget_keeps_no_bodies_of_newsletters_and_contents() -> None:
    async with sandbox(forget=True) as (_, client):
        for method, path, body in CALLS.values():
            assert (await client.call(method, path, raw=body)).status == 200
        assert await shown(client, "newsletters") == await shown(client, "contents") == []


async def test_answers_tell_the_apis_own_time() -> None:
    async with sandbox() as (server, client):
        server.app.world.now = lambda: 1_700_000_000.9  # type: ignore[method-assign]
        assert (await client.call("GET", "/v1/workspaces")).headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        server.fault("chunked", count=1)
        client.writer.write(request_bytes("POST", "/v1/send/email", b"{}", KEY))
        assert (await client.answer()).headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert "date" not in (await client.call("GET", "/_sandbox/stats")).headers


async def test_another_key_is_taken_from_now_on() -> None:
    path, body = "/v1/send/email", {"to": "a@b.c", "transactional_message_id": 3, "identifiers": {"id": "1"}}
    async with sandbox() as (_, client):
        for bad in ({}, {"key": 3}, {"key": ""}, {"key": "a\nb"}, []):
            assert (await client.call("POST", "/_sandbox/key", bad, key=None)).status == 400
        assert (await client.call("POST", "/_sandbox/key", {"key": "other"}, key=None)).status == 200
        assert (await client.call("POST", path, body, key=KEY)).status == 401
        assert (await client.call("POST", path, body, key="other")).status == 200
