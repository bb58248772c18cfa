from __future__ import annotations

import time

import pytest

from tests.sandbox.wire import EMAIL, Client, Clock, error_c, sandbox

FIELDS = {
    "id", "deduplicate_id", "type", "recipient", "subject", "customer_id", "customer_identifiers", "created", "metrics",
    "failure_message", "forgotten", "msg_template_id", "campaign_id", "newsletter_id", "broadcast_id", "action_id",
    "content_id", "transactional_message_id",
}


async def send(client: Client, path: str = "email", **more: object) -> str:
    seen = await client.call("POST", f"/v1/send/{path}", EMAIL | more)
    assert seen.status == 200
    return str(seen.json["delivery_id"])


async def ids(client: Client, path: str) -> list[str]:
    seen = await client.call("GET", path)
    assert seen.status == 200
    return [message["id"] for message in seen.json["messages"] or []]


async def test_a_delivery_as_it_is_shown() -> None:
    async with sandbox() as (_, client):
        delivery = await send(client, subject="Hello", message_data={"secret": "never-shown"})
        seen = await client.call("GET", f"/v1/messages/{delivery.replace('=', '%3D')}")
        message = seen.json["message"]
        assert set(message) == FIELDS, "and nothing of the client's to know it by"
        assert b"never-shown" not in seen.body
        assert (message["id"], message["type"], message["recipient"]) == (delivery, "email", "ada@example.com")
        assert (message["subject"], message["transactional_message_id"]) == ("Hello", 3)
        assert message["customer_identifiers"]["id"] == "42"
        assert abs(message["created"] - time.time()) < 5
        assert {"created", "attempted", "sent"} <= set(message["metrics"])


async def test_visible_only_after_the_lag() -> None:
    async with sandbox(visibility_lag=2.0) as (server, client):
        clock = Clock(server)
        delivery = await send(client)
        assert (await client.call("GET", "/v1/messages")).json == {"messages": None, "next": ""}
        assert (await client.call("GET", "/v1/customers/42/messages")).json == {"messages": [], "next": ""}
        missing = await client.call("GET", f"/v1/messages/{delivery}")
        assert missing.status == 404
        assert error_c(missing)["status"] == "404"
        clock.now += 2
        assert await ids(client, "/v1/messages") == [delivery]
        assert (await client.call("GET", f"/v1/messages/{delivery}")).status == 200


async def test_pages_newest_first() -> None:
    async with sandbox() as (_, client):
        sent = [await send(client) for _ in range(5)]
        cursor, pages = "", []
        while True:
            seen = (await client.call("GET", f"/v1/messages?limit=2&start={cursor}")).json
            pages.append([message["id"] for message in seen["messages"]])
            cursor = seen["next"]
            if len(pages) == 1:
                await send(client)  # what comes in between moves no page
            if not cursor:
                break
        assert [one for page in pages for one in page] == sent[::-1]
        assert [len(page) for page in pages] == [2, 2, 1]


async def test_filters() -> None:
    async with sandbox() as (_, client):
        mail = await send(client)
        text = await send(client, "sms", to="+15551234567", transactional_message_id=5)
        draft = await send(client, queue_draft=True, transactional_message_id=4)
        now = int(time.time())
        assert await ids(client, "/v1/messages?type=twilio") == [text]
        assert await ids(client, "/v1/messages?drafts=true") == [draft]
        assert await ids(client, "/v1/messages?metric=sent") == [text, mail]
        assert await ids(client, "/v1/messages?metric=bounced") == []
        assert await ids(client, "/v1/messages?campaign_id=3") == []
        assert await ids(client, f"/v1/messages?start_ts={now - 9}&end_ts={now + 9}") == [text, mail]
        assert await ids(client, f"/v1/messages?start_ts={now - 90}&end_ts={now - 80}") == []
        assert await ids(client, "/v1/transactional/3/messages") == [mail]
        assert await ids(client, "/v1/transactional/5/messages") == [text]
        assert await ids(client, "/v1/transactional/4/messages?state=drafted") == [draft]
        assert await ids(client, "/v1/transactional/4/messages?state=sent") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "start=x", "type=fax", "metric=loved", "state=odd", "start_ts=-1",
     "start_ts=0&end_ts=99999999"],
)
async def test_bad_queries(query: str) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("GET", f"/v1/messages?{query}")
        assert seen.status == 400
        assert error_c(seen)["detail"]


async def test_a_persons_deliveries_by_every_id_type() -> None:
    async with sandbox() as (_, client):
        by_id = await send(client, identifiers={"id": 42})
        by_mail = await send(client, identifiers={"email": "a+b@c.d"})
        by_cio = await send(client, identifiers={"cio_id": "x1"})
        text = await send(client, "sms", to="+15551234567", identifiers={"id": "7"}, transactional_message_id=5)
        assert await ids(client, "/v1/customers/42/messages?id_type=id") == [by_id]
        assert await ids(client, "/v1/customers/a%2Bb%40c.d/messages?id_type=email") == [by_mail]
        assert await ids(client, "/v1/customers/cio_x1/messages?id_type=cio_id") == [by_cio]
        assert await ids(client, "/v1/customers/x1/messages?id_type=cio_id") == []
        assert await ids(client, "/v1/customers/%2B15551234567/messages?id_type=phone") == [text]
        shown = (await client.call("GET", "/v1/customers/42/messages")).json["messages"][0]["customer_identifiers"]
        assert await ids(client, f"/v1/customers/cio_{shown['cio_id']}/messages?id_type=cio_id") == [by_id]
        assert (await client.call("GET", "/v1/customers/42/messages?id_type=name")).status == 400


@pytest.mark.parametrize("path", ["a+b%40c.d", "a%2Bb@c.d", "a+b@c.d"])
async def test_an_unencoded_path_value_finds_nothing_and_is_no_error(path: str) -> None:
    async with sandbox() as (_, client):
        await send(client, identifiers={"email": "a+b@c.d"})
        seen = await client.call("GET", f"/v1/customers/{path}/messages?id_type=email")
        assert (seen.status, seen.json) == (200, {"messages": [], "next": ""})


async def test_scheduled_sends_are_listed_when_due_or_on_demand() -> None:
    later = int(time.time()) + 600
    async with sandbox() as (server, client):
        clock = Clock(server)
        due = await send(client, send_at=later)
        assert await ids(client, "/v1/messages") == []
        clock.now = later
        assert await ids(client, "/v1/messages") == [due]
    async with sandbox(show_scheduled=True) as (_, client):
        delivery = await send(client, send_at=later)
        assert await ids(client, "/v1/messages") == [delivery]


async def test_the_template_may_be_hidden() -> None:
    async with sandbox(hide_template_id=True) as (_, client):
        delivery = await send(client)
        message = (await client.call("GET", f"/v1/messages/{delivery}")).json["message"]
        assert set(message) == FIELDS - {"transactional_message_id"}
        assert await ids(client, "/v1/transactional/3/messages") == [delivery]


async def test_unknown_templates_and_other_reads() -> None:
    async with sandbox() as (_, client):
        assert (await client.call("GET", "/v1/transactional/1000/messages")).status == 404
        assert (await client.call("GET", "/v1/transactional/name/messages")).status == 404
        assert set((await client.call("GET", "/v1/workspaces")).json["workspaces"][0]) == {
            "id", "name", "messages_sent", "billable_messages_sent", "people", "objects", "object_types",
        }
        assert (await client.call("GET", "/v1/info/ip_addresses", key=None)).json["ip_addresses"]
