from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.wire import Clock, error_c, sandbox

PATH = "/v1/campaigns/7/triggers"
PEOPLE_ERRORS = (
    "Errors were found while processing per user data (ids, emails or json data)."
    " More detail available from the errors endpoint for trigger "
)
"""The example of the API's own reference, up to the number of the trigger."""


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {"headline": "x"}, "email_ignore_missing": True},
        {"recipients": {"and": [{"segment": {"id": 7}}, {"not": {"attribute": {"field": "x", "operator": "exists"}}}]}},
        {"recipients": {"or": [{"attribute": {"field": "plan", "operator": "eq", "value": True}}]}},
        {"emails": ["a@b.c"], "email_add_duplicates": False},
        {"ids": ["1", "2"]},
        {"ids": []},
        {"per_user_data": [{"id": "1", "data": {"x": 1}}, {"email": "a@b.c"}]},
        {"data_file_url": "https://example.com/people.jsonl"},
    ],
)
async def test_the_six_shapes(body: dict[str, Any]) -> None:
    async with sandbox() as (server, client):
        seen = await client.call("POST", PATH, body)
        assert (seen.status, seen.json) == (200, {"id": 1})
        assert (await client.call("POST", PATH, body)).json == {"id": 2}
        assert (await client.call("POST", "/v1/campaigns/8/triggers", body)).json == {"id": 1}
        assert [trigger["payload"] for trigger in server.triggers()] == [body] * 3


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"ids": ["1"], "emails": ["a@b.c"]}, "ids"),
        ({"ids": [1]}, "ids"),
        ({"ids": "1"}, "ids"),
        ({"ids": ["1"] * 10_001}, "ids"),
        ({"emails": ["a@b"] * 10_001}, "emails"),
        ({"per_user_data": [{}]}, "per_user_data"),
        ({"per_user_data": [{"id": "1", "email": "a@b.c"}]}, "per_user_data"),
        ({"per_user_data": [{"id": "1", "data": []}]}, "per_user_data"),
        ({"per_user_data": [{"id": "1"}] * 10_001}, "per_user_data"),
        ({"per_user_data": [3]}, "per_user_data"),
        ({"data_file_url": "ftp://x"}, "data_file_url"),
        ({"data": []}, "data"),
        ({"data": {"x": "y" * 50_000}}, "data"),
        ({"id_ignore_missing": "yes"}, "id_ignore_missing"),
        ({"recipients": {}}, "recipients"),
        ({"recipients": {"and": []}}, "recipients"),
        ({"recipients": {"segment": {"id": 1}, "or": []}}, "recipients"),
        ({"recipients": {"attribute": {"field": "x", "operator": "gt", "value": 1}}}, "recipients"),
    ],
)
async def test_what_is_mistyped_is_422_with_a_pointer(body: dict[str, Any], part: str) -> None:
    async with sandbox() as (server, client):
        seen = await client.call("POST", PATH, body)
        assert seen.status == 422
        error = error_c(seen)
        assert error["status"] == "422"
        assert error["source"] == {"pointer": f"/data/attributes/{part}"}
        assert "(reference " in error["detail"]
        assert server.triggers() == []


async def test_missing_people_in_per_user_data_make_a_failed_trigger() -> None:
    async with sandbox() as (_, client):
        await client.call("POST", PATH, {})
        body = {"per_user_data": [{"id": "1"}, {"id": "missing-2"}, {"email": "missing@x.y"}]}
        seen = await client.call("POST", PATH, body)
        assert seen.status == 422
        assert error_c(seen)["source"] == {"pointer": "/data/attributes/per_user_data"}
        assert error_c(seen)["detail"].startswith(PEOPLE_ERRORS + "2 (reference ")
        errors = (await client.call("GET", f"{PATH}/2/errors")).json
        assert errors == {
            "errors": ["line 2: no customer with this id exists", "line 3: no customer with this email exists"],
            "next": 0,
        }
        flags = {"id_ignore_missing": True, "email_ignore_missing": True}
        assert (await client.call("POST", PATH, body | flags)).status == 200


async def test_unknown_ids_are_422_in_the_words_of_the_api() -> None:
    async with sandbox() as (server, client):
        body = {"ids": ["1", "missing-2", "3", "missing-4"]}
        seen = await client.call("POST", PATH, body)
        assert (seen.status, error_c(seen)["status"]) == (422, "422")
        assert error_c(seen)["source"] == {"pointer": "/data/attributes/ids"}
        assert error_c(seen)["detail"].startswith(PEOPLE_ERRORS + "1 (reference ")
        errors = (await client.call("GET", f"{PATH}/1/errors")).json["errors"]
        assert errors == [f"line {line}: no customer with this id exists" for line in (2, 4)]
        assert (await client.call("POST", PATH, body | {"id_ignore_missing": True})).json == {"id": 2}
        assert [trigger["payload"] for trigger in server.triggers()] == [body, body | {"id_ignore_missing": True}]


SHARED = "line 2: more than one customer with this email exists"


async def test_people_who_share_an_address_need_email_add_duplicates() -> None:
    async with sandbox() as (_, client):
        emails = {"emails": ["a@b.c", "shared@b.c"]}
        assert (await client.call("POST", PATH, emails)).json == {"id": 1}
        assert (await client.call("GET", f"{PATH}/1/errors")).json["errors"] == [SHARED]
        entries = {"per_user_data": [{"id": "shared"}, {"email": "Shared@b.c", "data": {}}]}
        seen = await client.call("POST", PATH, entries | {"email_add_duplicates": False})
        assert (seen.status, error_c(seen)["source"]["pointer"]) == (422, "/data/attributes/per_user_data")
        assert (await client.call("GET", f"{PATH}/2/errors")).json["errors"] == [SHARED]
        for trigger, body in ((3, emails), (4, entries)):
            seen = await client.call("POST", PATH, body | {"email_add_duplicates": True})
            assert seen.json == {"id": trigger}
            assert (await client.call("GET", f"{PATH}/{trigger}/errors")).json["errors"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"ids": ["1"], "emails": None, "users": 3},
        {"per_user_data": [{"id": "1", "email": None, "data": None, "name": []}]},
        {"recipients": {"segment": {"id": 7, "name": 3}}},
        {"recipients": {"attribute": {"field": "x", "operator": "exists", "case": 3}}},
        {"data_file_url": "https://example.com/people.jsonl", "format": 3},
    ],
)
async def test_unknown_fields_are_ignored(body: dict[str, Any]) -> None:
    async with sandbox() as (_, client):
        assert (await client.call("POST", PATH, body)).status == 200


async def test_missing_people_in_lists_come_out_after_processing() -> None:
    async with sandbox(processing_time=2.0) as (server, client):
        clock = Clock(server)
        assert (await client.call("POST", PATH, {"emails": ["missing@x.y", "a@b.c", "missing@z.y"]})).status == 200
        assert (await client.call("GET", f"{PATH}/1/errors")).json == {"errors": [], "next": 0}
        clock.now += 2
        first = (await client.call("GET", f"{PATH}/1/errors?limit=1")).json
        assert first == {"errors": ["line 1: no customer with this email exists"], "next": 1}
        second = (await client.call("GET", f"{PATH}/1/errors?limit=1&start=1")).json
        assert second == {"errors": ["line 3: no customer with this email exists"], "next": 0}
        await client.call("POST", PATH, {"data_file_url": "https://example.com/missing"})
        clock.now += 2
        assert "403 Forbidden" in (await client.call("GET", f"{PATH}/2/errors")).json["errors"][0]
        assert (await client.call("GET", f"{PATH}/2/errors?limit=x")).status == 400


@pytest.mark.parametrize(("pending", "shown"), [("null", None), ("zero", 0), ("absent", "absent")])
async def test_processed_one_after_another(pending: str, shown: object) -> None:
    async with sandbox(processing_time=2.0, pending=pending) as (server, client):
        clock = Clock(server)
        for _ in range(2):
            await client.call("POST", PATH, {})
        seen = (await client.call("GET", f"{PATH}/2")).json
        assert set(seen) | {"processed_at"} == {"id", "broadcast_id", "created_at", "processed_at"}
        assert seen.get("processed_at", "absent") == shown
        clock.now += 2
        assert (await client.call("GET", f"{PATH}/1")).json["processed_at"]
        assert not (await client.call("GET", f"{PATH}/2")).json.get("processed_at")
        clock.now += 2
        listed = (await client.call("GET", "/v1/broadcasts/7/triggers")).json["triggers"]
        assert [(one["id"], bool(one["processed_at"])) for one in listed] == [(1, True), (2, True)]


@pytest.mark.parametrize("full", [429, 422])
async def test_the_queue_is_one_for_all_broadcasts(full: int) -> None:
    async with sandbox(processing_time=60, queue_full=full) as (server, client):
        clock = Clock(server)
        for broadcast in (1, 2, 3, 4, 5):
            assert (await client.call("POST", f"/v1/campaigns/{broadcast}/triggers", {})).status == 200
        seen = await client.call("POST", "/v1/campaigns/6/triggers", {})
        assert seen.status == full
        assert "too many triggers" in error_c(seen)["detail"]
        clock.now += 60
        assert (await client.call("POST", "/v1/campaigns/6/triggers", {})).status == 200


async def test_wrong_ids_bodies_and_types() -> None:
    async with sandbox() as (_, client):
        for broadcast, status in (("x", 400), ("0", 404), ("1000", 404)):
            seen = await client.call("POST", f"/v1/campaigns/{broadcast}/triggers", {})
            assert (seen.status, error_c(seen)["status"]) == (status, str(status))
        assert (await client.call("POST", PATH, raw=b"{")).status == 400
        assert (await client.call("POST", PATH, raw=b"[]")).status == 400
        plain = await client.call("POST", PATH, {}, extra="Content-Type: text/plain\r\n")
        assert plain.status == 422
        assert (await client.call("POST", PATH, raw=b'{"x":"' + b"y" * 26_220_000 + b'"}')).status == 413
        assert (await client.call("GET", f"{PATH}/1")).status == 404
        assert (await client.call("GET", f"{PATH}/x/errors")).status == 404


async def test_lists() -> None:
    async with sandbox() as (_, client):
        await client.call("POST", PATH, {})
        listed = (await client.call("GET", "/v1/broadcasts")).json["broadcasts"]
        assert [one["id"] for one in listed] == [1, 2, 3, 7]
        assert listed[0]["type"] == "triggered_broadcast"
        assert (await client.call("GET", "/v1/broadcasts/7")).json["broadcast"]["state"] == "running"
        assert (await client.call("GET", "/v1/broadcasts/7/messages")).json == {"messages": [], "next": ""}
        for path in ("/v1/broadcasts/1000", "/v1/broadcasts/1000/triggers", "/v1/broadcasts/0/messages"):
            assert (await client.call("GET", path)).status == 404
