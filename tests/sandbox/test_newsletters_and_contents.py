from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sandbox.wire import Clock, error_a, sandbox

SEND, SCHEDULE, GET = "/v1/newsletters/4/send", "/v1/newsletters/4/schedule", "/v1/newsletters/4"
LATER = int(time.time()) + 3600
ZONED = {"scheduled_at": LATER, "timezone": "America/New_York"}


async def test_a_newsletter_is_sent_once_and_shows_it_after_the_lag() -> None:
    async with sandbox(visibility_lag=2.0) as (server, client):
        clock = Clock(server)
        before = (await client.call("GET", GET)).json["newsletter"]
        assert (before["id"], before["sent_at"]) == (4, None)
        sent = await client.call("POST", SEND)
        assert sent.status == 200
        assert set(sent.json["newsletter"]) == {
            "id", "deduplicate_id", "type", "content_ids", "name", "sent_at", "created", "updated",
            "recipient_segment_ids", "tags", "subscription_topic_id",
        }
        assert abs(sent.json["newsletter"]["sent_at"] - time.time()) < 5
        again = await client.call("POST", SEND, {})
        assert (again.status, again.json) == (400, {"errors": [{"detail": "newsletter has already been sent"}]})
        assert (await client.call("GET", GET)).json["newsletter"]["sent_at"] is None
        clock.now += 2
        assert (await client.call("GET", GET)).json["newsletter"]["sent_at"]
        assert (await client.call("POST", SCHEDULE, ZONED)).status == 400


async def test_schedule_move_and_deschedule() -> None:
    async with sandbox() as (_, client):
        assert (await client.call("POST", SCHEDULE, {"scheduled_at": 0})).status == 400
        assert (await client.call("POST", SCHEDULE, ZONED)).json["newsletter"]["sent_at"] is None
        assert (await client.call("POST", SCHEDULE, ZONED | {"scheduled_at": LATER + 1})).status == 200
        assert (await client.call("POST", SCHEDULE, {"scheduled_at": 0})).status == 200
        assert (await client.call("POST", SCHEDULE, {"scheduled_at": 0})).status == 400


async def test_a_scheduled_newsletter_cannot_be_sent_until_it_is_a_draft_again() -> None:
    async with sandbox() as (_, client):
        assert (await client.call("POST", SCHEDULE, ZONED)).status == 200
        refused = await client.call("POST", SEND)
        assert (refused.status, refused.json) == (400, {"errors": [{"detail": "newsletter is not in a draft state"}]})
        assert (await client.call("GET", GET)).json["newsletter"]["sent_at"] is None
        assert (await client.call("POST", SCHEDULE, {"scheduled_at": 0})).status == 200
        assert (await client.call("POST", SEND)).status == 200


async def test_unknown_fields_are_ignored() -> None:
    async with sandbox() as (_, client):
        assert (await client.call("POST", SCHEDULE, ZONED | {"note": 3})).status == 200
        assert (await client.call("POST", SCHEDULE, {"scheduled_at": 0, "timezone": ""})).status == 200
        assert (await client.call("POST", SEND, {"scheduled": True})).status == 200


async def test_a_schedule_that_has_come_is_a_send() -> None:
    async with sandbox() as (server, client):
        clock = Clock(server)
        await client.call("POST", SCHEDULE, ZONED)
        clock.now = LATER
        assert (await client.call("GET", GET)).json["newsletter"]["sent_at"]
        assert (await client.call("POST", SEND)).status == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SEND, {"rate_limit_email_rate": 5}),
        (SEND, {"rate_limit_time_period": 60}),
        (SEND, {"rate_limit_email_rate": 0, "rate_limit_time_period": 60}),
        (SEND, {"rate_limit_email_rate": 5, "rate_limit_time_period": 61}),
        (SEND, {"rate_limit_spread": 1}),
        (SCHEDULE, {}),
        (SCHEDULE, {"scheduled_at": "1"}),
        (SCHEDULE, ZONED | {"scheduled_at": 1}),
        (SCHEDULE, {"scheduled_at": LATER}),
        (SCHEDULE, ZONED | {"timezone": "Mars/Olympus"}),
        (SCHEDULE, ZONED | {"tz_match_enabled": 1}),
        (SCHEDULE, ZONED | {"rate_limit_email_rate": 5}),
        (
            SCHEDULE,
            ZONED | {"tz_match_enabled": True, "rate_limit_email_rate": 5, "rate_limit_time_period": 86400},
        ),
    ],
)
async def test_422_with_detail_only(path: str, body: dict[str, Any]) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("POST", path, body)
        assert seen.status == 422
        assert [set(error) for error in seen.json["errors"]] == [{"detail"}]


async def test_rate_limits_that_are_right() -> None:
    async with sandbox() as (_, client):
        body = {"rate_limit_email_rate": 5, "rate_limit_time_period": 3600, "tz_match_enabled": True}
        assert (await client.call("POST", SCHEDULE, ZONED | body)).status == 200
        assert (await client.call("POST", "/v1/newsletters/5/send", {"rate_limit_spread": True})).status == 200


async def test_unsendable_unknown_and_malformed() -> None:
    async with sandbox() as (_, client):
        for number, text in ((997, "channel"), (998, "recipients"), (999, "still being computed")):
            seen = await client.call("POST", f"/v1/newsletters/{number}/send")
            assert seen.status == 400
            assert text in seen.json["errors"][0]["detail"]
        for number in ("0", "1000", "x"):
            assert (await client.call("POST", f"/v1/newsletters/{number}/send")).status == 404
            assert (await client.call("GET", f"/v1/newsletters/{number}")).status == 404
        assert (await client.call("POST", SEND, raw=b"[]")).status == 400
        assert (await client.call("POST", SCHEDULE, raw=b"")).status == 400


async def test_newsletters_in_pages() -> None:
    async with sandbox() as (_, client):
        await client.call("POST", SEND)
        first = (await client.call("GET", "/v1/newsletters?limit=3")).json
        assert [one["id"] for one in first["newsletters"]] == [1, 2, 3]
        second = (await client.call("GET", f"/v1/newsletters?limit=3&start={first['next']}")).json
        assert ([one["id"] for one in second["newsletters"]], second["next"]) == ([4], "")
        down = (await client.call("GET", "/v1/newsletters?sort=desc&limit=1")).json
        assert ([one["id"] for one in down["newsletters"]], down["next"]) == ([4], "4")
        assert (await client.call("GET", "/v1/newsletters?limit=0")).status == 400


@pytest.mark.parametrize("where", ["content/12", "language/de"])
async def test_contents_are_overwritten(where: str) -> None:
    path = f"/v1/transactional/3/{where}"
    async with sandbox() as (_, client):
        written = await client.call("PUT", path, {"body": "<p>new</p>", "name": "read-only", "reply_to_id": None})
        assert written.status == 200
        assert written.json["content"]["body"] == "<p>new</p>"
        assert written.json["content"]["name"] != "read-only"
        assert (await client.call("PUT", path, {"subject": "S"})).json["content"]["body"] == "<p>new</p>"
        read = (await client.call("GET", path)).json["content"]
        assert (read["body"], read["subject"]) == ("<p>new</p>", "S")
        listed = (await client.call("GET", "/v1/transactional/3/contents")).json["contents"]
        assert [one["body"] for one in listed].count("<p>new</p>") == 1


@pytest.mark.parametrize(
    "body",
    [{}, [], {"body": 3}, {"from_id": "3"}, {"reply_to_id": True}, {"headers": {}}, {"headers": [{"name": "x"}]},
     {"headers": [{"name": "X Y", "value": "z"}]}, {"headers": [{"name": "X:Y", "value": "z"}]},
     {"headers": [{"name": "", "value": "z"}]}, {"headers": [{"name": "X", "value": "é"}]},
     {"headers": [{"name": "X", "value": "a\nb"}]}],
)
async def test_contents_refused_in_shape_a(body: Any) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("PUT", "/v1/transactional/3/content/12", body)
        assert seen.status == 400
        assert error_a(seen)


async def test_templates() -> None:
    async with sandbox() as (_, client):
        await client.call("PUT", "/v1/transactional/77/content/1", {"body": "x"})
        listed = (await client.call("GET", "/v1/transactional")).json["messages"]
        assert [one["id"] for one in listed] == [1, 2, 3, 77]
        assert set(listed[0]) == {
            "id", "name", "description", "send_to_unsubscribed", "link_tracking", "open_tracking", "hide_message_body",
            "queue_drafts", "created_at", "updated_at",
        }
        assert (await client.call("GET", "/v1/transactional/999")).json["message"]["id"] == 999
        for path in ("1000", "1000/contents", "3/content/1000", "3/content/x", "1000/language/de"):
            assert (await client.call("GET", f"/v1/transactional/{path}")).status == 404
        assert (await client.call("PUT", "/v1/transactional/1000/content/1", {"body": "x"})).status == 404
        assert (await client.call("PUT", "/v1/transactional/3/content/1", raw=b"{")).status == 400
