from __future__ import annotations

import time
from base64 import b64encode
from typing import Any

import pytest

from tests.sandbox.wire import EMAIL, error_a, sandbox

OTHER: dict[str, Any] = {"transactional_message_id": "welcome", "identifiers": {"email": "ada@example.com"}}
PAYLOADS: dict[str, dict[str, Any]] = {
    "email": EMAIL,
    "sms": OTHER | {"to": "+15551234567"},
    "whatsapp": OTHER | {"to": "+15551234567"},
    "push": OTHER,
    "in_app": OTHER,
    "inbox_message": OTHER,
}


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_every_kind_is_accepted(kind: str) -> None:
    async with sandbox() as (server, client):
        seen = await client.call("POST", f"/v1/send/{kind}", PAYLOADS[kind] | {"unknown_field": [1]})
        assert (seen.status, set(seen.json)) == (200, {"delivery_id", "queued_at"})
        assert seen.headers["content-type"] == "application/json; charset=utf-8"
        assert abs(seen.json["queued_at"] - time.time()) < 5
        (message,) = server.messages()
        assert message["delivery_id"] == seen.json["delivery_id"]
        assert (message["kind"], message["payload"]) == (kind, PAYLOADS[kind] | {"unknown_field": [1]})


async def test_send_at_comes_back_only_when_it_is_ahead() -> None:
    async with sandbox() as (_, client):
        later = int(time.time()) + 3600
        assert (await client.call("POST", "/v1/send/email", EMAIL | {"send_at": later})).json["send_at"] == later
        assert "send_at" not in (await client.call("POST", "/v1/send/email", EMAIL | {"send_at": 1})).json


BIG = b64encode(bytes(2 * 1024 * 1024)).decode()
FREE = {key: value for key, value in EMAIL.items() if key != "transactional_message_id"}


@pytest.mark.parametrize(
    ("kind", "payload", "status", "text"),
    [
        ("email", {"identifiers": {"id": "1"}, "transactional_message_id": 3}, 400, "to is required"),
        ("email", {"to": "a@b.c", "transactional_message_id": 3}, 400, "identifiers is required"),
        ("email", FREE, 400, "body is required"),
        ("email", FREE | {"body": "x"}, 400, "subject is required"),
        ("email", EMAIL | {"to": "nobody"}, 400, "email addresses"),
        ("email", EMAIL | {"to": ", ,"}, 400, "email addresses"),
        ("email", EMAIL | {"cc": ",".join(["a@b.c"] * 8), "bcc": ",".join(["a@b.c"] * 7)}, 400, "exceed 15"),
        ("email", EMAIL | {"subject": 3}, 400, "subject must be a string"),
        ("email", EMAIL | {"tracked": "yes"}, 400, "tracked must be a boolean"),
        ("email", EMAIL | {"message_data": []}, 400, "message_data must be an object"),
        ("email", EMAIL | {"transactional_message_id": 3.5}, 400, "integer or a string"),
        ("email", EMAIL | {"transactional_message_id": True}, 400, "integer or a string"),
        ("email", EMAIL | {"transactional_message_id": 1000}, 400, "not found"),
        ("email", EMAIL | {"transactional_message_id": "missing-one"}, 400, "not found"),
        ("email", EMAIL | {"identifiers": {"id": "1", "email": "a@b.c"}}, 400, "one and only one"),
        ("email", EMAIL | {"identifiers": {"phone": "1"}}, 400, "one and only one"),
        ("email", EMAIL | {"identifiers": {"id": ""}}, 400, "non-empty"),
        ("email", EMAIL | {"identifiers": {"id": True}}, 400, "non-empty"),
        ("email", EMAIL | {"identifiers": "1"}, 400, "must be an object"),
        ("email", EMAIL | {"send_at": True}, 400, "unix timestamp"),
        ("email", EMAIL | {"send_at": 9_999_999_999}, 400, "90 days"),
        ("email", EMAIL | {"headers": {"X Y": "z"}}, 400, "header names"),
        ("email", EMAIL | {"headers": {"X:Y": "z"}}, 400, "header names"),
        ("email", EMAIL | {"headers": ["X"]}, 400, "array of objects"),
        ("email", EMAIL | {"headers": [{"name": "X", "value": "é"}]}, 400, "header names"),
        ("email", EMAIL | {"headers": '{"X": "a\\nb"}'}, 400, "header names"),
        ("email", EMAIL | {"headers": "{"}, 400, "valid JSON"),
        ("email", EMAIL | {"headers": 4}, 400, "array of objects"),
        ("email", EMAIL | {"attachments": [{}]}, 400, "must be an object"),
        ("email", EMAIL | {"attachments": {"plain": "aGk="}}, 400, "extension"),
        ("email", EMAIL | {"attachments": {"a.pdf": "%"}}, 400, "Attachment must be base64 encoded: a.pdf"),
        ("email", EMAIL | {"attachments": {"a.pdf": 3}}, 400, "base64"),
        ("email", EMAIL | {"attachments": {"a.b.exe": "aGk="}}, 403, "Forbidden file type exe for attachment a.b.exe."),
        ("email", EMAIL | {"attachments": {"a.pdf": BIG}}, 413, "Total attachment size exceeds the limit"),
        ("email", EMAIL | {"body": "x" * 1_100_000}, 413, "Payload size"),
        ("sms", OTHER | {"to": "0555"}, 400, "E.164"),
        ("sms", {"identifiers": {"id": "1"}}, 400, "transactional_message_id is required"),
        ("whatsapp", OTHER, 400, "to is required"),
        ("push", OTHER | {"sound": "loud"}, 400, "sound"),
        ("push", OTHER | {"custom_device": {"platform": "ios"}}, 400, "token"),
        ("push", OTHER | {"custom_device": {"token": "t", "platform": "x"}}, 400, "platform"),
    ],
)
async def test_refusals(kind: str, payload: dict[str, Any], status: int, text: str) -> None:
    async with sandbox() as (server, client):
        seen = await client.call("POST", f"/v1/send/{kind}", payload)
        assert seen.status == status
        assert text in error_a(seen)
        assert server.messages() == []


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"3", b"[" * 5000, b'"\xff"'])
async def test_bodies_that_are_no_object(raw: bytes) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("POST", "/v1/send/email", raw=raw)
        assert seen.status == 400
        assert error_a(seen)


@pytest.mark.parametrize(
    "more",
    [
        {"to": '"Lovelace, Ada" <ada@example.com>, b@c.d'},
        {"to": "{{customer.email}}"},
        {"to": ",".join(["a@b.c"] * 15)},
        {"headers": {}},
        {"headers": {"List-Unsubscribe": "<a>, <b>"}},
        {"headers": '[{"name": "X-A", "value": "b"}]'},
        {"headers": [{"name": "X-A", "value": ""}]},
        {"attachments": {"a.pdf": "aGk="}},
        {"attachments": {"a.pdf": b64encode(bytes(1_400_000)).decode()}},
        {"subject": None, "send_at": None},
        {"identifiers": {"id": 42}},
        {"identifiers": {"cio_id": "abc"}},
        {"identifiers": {"id": "42", "email": None, "phone": "+1", "name": ["Ada"]}},
        {"headers": [{"name": "X-A", "value": "b", "comment": 3}]},
        {"transactional_message_id": "3"},
        {"transactional_message_id": "missing-but-made", "auto_create": True},
        {"transactional_message_id": 3, "auto_create": True},
    ],
)
async def test_what_is_odd_but_legal(more: dict[str, Any]) -> None:
    async with sandbox() as (_, client):
        assert (await client.call("POST", "/v1/send/email", EMAIL | more)).status == 200


async def test_email_without_template_is_message_1_and_names_get_their_own() -> None:
    async with sandbox() as (server, client):
        await client.call("POST", "/v1/send/email", FREE | {"body": "x", "subject": "y"})
        await client.call("POST", "/v1/send/push", OTHER)
        await client.call("POST", "/v1/send/push", OTHER | {"transactional_message_id": "WELCOME"})
        assert [message["template"] for message in server.messages()] == [1, 500, 500]


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [
        ("sms", {"subject": 3, "body": 3, "fake_bcc": "yes"}),
        ("whatsapp", {"auto_create": "yes", "body": 3}),
        ("push", {"tracked": "yes", "subject": 3, "from": 3}),
        ("in_app", {"to": 3, "tracked": "yes", "send_to_unsubscribed": "no", "disable_message_retention": 1}),
        ("inbox_message", {"tracked": "yes", "from": 3}),
    ],
)
async def test_fields_that_a_kind_does_not_know_are_ignored_whatever_they_hold(
    kind: str, ignored: dict[str, Any]
) -> None:
    async with sandbox() as (_, client):
        seen = await client.call("POST", f"/v1/send/{kind}", PAYLOADS[kind] | ignored)
        assert seen.status == 200
        listed = (await client.call("GET", f"/v1/messages/{seen.json['delivery_id']}")).json["message"]
        assert (listed["subject"], listed["recipient"]) == (None, PAYLOADS[kind].get("to", ""))


async def test_whatsapp_has_no_auto_create() -> None:
    async with sandbox() as (_, client):
        missing = PAYLOADS["whatsapp"] | {"transactional_message_id": "missing-one", "auto_create": True}
        assert (await client.call("POST", "/v1/send/whatsapp", missing)).status == 400
        assert (await client.call("POST", "/v1/send/sms", missing)).status == 200


@pytest.mark.parametrize("template", [3, "3", "welcome"])
async def test_a_template_is_bound_to_the_channel_that_used_it_first(template: int | str) -> None:
    async with sandbox() as (server, client):
        used = {"transactional_message_id": template}
        on_sms = PAYLOADS["sms"] | used
        assert (await client.call("POST", "/v1/send/email", EMAIL | used)).status == 200
        refused = await client.call("POST", "/v1/send/sms", on_sms)
        assert refused.status == 400
        assert "different channel" in error_a(refused)
        number = server.messages()[0]["template"]
        refused = await client.call("POST", "/v1/send/sms", on_sms | {"transactional_message_id": number})
        assert refused.status == 400, "by its number too"
        assert [message["kind"] for message in server.messages()] == ["email"]
        await client.call("POST", "/_sandbox/reset")
        assert (await client.call("POST", "/v1/send/sms", on_sms)).status == 200


async def test_names_never_share_a_number() -> None:
    async with sandbox() as (server, client):
        await client.call("POST", "/v1/send/push", OTHER | {"transactional_message_id": 500})
        for number in range(600):
            name = {"transactional_message_id": f"name-{number}"}
            assert (await client.call("POST", "/v1/send/email", EMAIL | name)).status == 200
        templates = [message["template"] for message in server.messages()]
        assert len(set(templates)) == 601
        shown = (await client.call("GET", f"/v1/transactional/{templates[-1]}")).json["message"]
        assert (shown["id"], shown["name"]) == (templates[-1], "name-599")


async def test_auto_create_of_a_name_on_another_channel_clashes() -> None:
    async with sandbox() as (_, client):
        made = OTHER | {"transactional_message_id": "fresh", "auto_create": True}
        assert (await client.call("POST", "/v1/send/push", made)).status == 200
        assert (await client.call("POST", "/v1/send/push", made)).status == 200
        seen = await client.call("POST", "/v1/send/in_app", made)
        assert seen.status == 400
        assert "different channel" in error_a(seen)


@pytest.mark.parametrize(
    ("kind", "text"), [("sms", "SMS messaging is not enabled"), ("email", "Account is not authorized")]
)
async def test_a_forbidden_kind(kind: str, text: str) -> None:
    async with sandbox(forbid=frozenset({kind})) as (_, client):
        seen = await client.call("POST", f"/v1/send/{kind}", PAYLOADS[kind])
        assert seen.status == 403
        assert text in error_a(seen)
        assert (await client.call("POST", "/v1/send/push", OTHER)).status == 200
