"""The sandbox plays the API as its documents describe it, and the vendor's own client works against it."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from customerio import APIClient, CustomerIOException, SendEmailRequest, SendPushRequest, SendSMSRequest

from sender.sandbox.limits import SlidingWindow, TokenBucket
from tests.processes import KEY, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Sandbox

EMAIL = {"to": "a@b.c", "transactional_message_id": 3, "identifiers": {"id": "1"}}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox("--rate-app", "1000", "--rate-trigger", "1000", "--rate-send", "1000",
                         "--visibility-lag", "0.3", "--processing-time", "0.2") as sandbox:  # fmt: skip
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


def call(sandbox: Sandbox, method: str, path: str, document: Any = None, key: str = KEY) -> tuple[int, Any, Any]:
    request = urllib.request.Request(f"{sandbox.url}{path}", method=method)
    request.add_header("Authorization", f"Bearer {key}")
    if document is not None:
        request.data = json.dumps(document).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
        try:
            return error.code, json.loads(body), error.headers
        except ValueError:
            return error.code, body, error.headers


def test_the_vendors_own_client(sandbox: Sandbox) -> None:
    client = APIClient(KEY, url=sandbox.url)
    email = SendEmailRequest(
        to="a@b.c", transactional_message_id=3, identifiers={"id": "1"}, message_data={"n": 1}, headers={"X-A": "b"}
    )
    email.attach("a.txt", "hello")
    answer = client.send_email(email)
    assert answer["delivery_id"]
    assert answer["queued_at"] > 1_700_000_000
    assert client.send_sms(SendSMSRequest(transactional_message_id=3, identifiers={"id": "1"}, to="+15551234567"))
    assert client.send_push(SendPushRequest(transactional_message_id=3, identifiers={"id": "1"}))
    with pytest.raises(CustomerIOException, match="401"):
        APIClient("wrong", url=sandbox.url).send_email(email)
    with pytest.raises(CustomerIOException, match=r"E\.164"):
        client.send_sms(SendSMSRequest(transactional_message_id=3, identifiers={"id": "1"}, to="123"))
    assert [message["channel"] for message in sandbox.messages] == ["email", "sms", "push"]


@pytest.mark.parametrize(
    ("payload", "status", "words"),
    [
        ({}, 400, "identifiers"),
        (EMAIL | {"to": ""}, 400, "to is required"),
        (EMAIL | {"bcc": ",".join(["x@y.z"] * 15)}, 400, "too many"),
        (EMAIL | {"attachments": {"a.exe": "aGk="}}, 403, "Forbidden file type exe"),
        (EMAIL | {"attachments": {"a.txt": "?"}}, 400, "base64"),
        (EMAIL | {"attachments": {"a.txt": "aGVs" * 700_000}}, 413, "exceeds"),
        (EMAIL | {"tracked": "yes"}, 400, "boolean"),
        (EMAIL | {"transactional_message_id": 1000}, 400, "not found"),
        (EMAIL | {"send_at": int(time.time()) + 100 * 86400}, 400, "90 days"),
    ],
)
def test_sends_are_checked(sandbox: Sandbox, payload: dict[str, Any], status: int, words: str) -> None:
    found, body, _ = call(sandbox, "POST", "/v1/send/email", payload)
    assert found == status
    assert words in body["meta"]["error"]


def test_unknown_fields_are_ignored_and_send_at_comes_back(sandbox: Sandbox) -> None:
    later = int(time.time()) + 3600
    status, body, _ = call(sandbox, "POST", "/v1/send/email", EMAIL | {"nonsense": 1, "send_at": later})
    assert (status, body["send_at"]) == (200, later)


def test_key_path_and_method(sandbox: Sandbox) -> None:
    assert call(sandbox, "POST", "/v1/send/email", EMAIL, key="x")[:2] == (
        401, {"meta": {"error": "Unauthorized request"}},
    )  # fmt: skip
    status, body, _ = call(sandbox, "GET", "/v1/workspaces", key="x")
    assert (status, body["errors"][0]["status"]) == (401, "401")
    status, body, headers = call(sandbox, "GET", "/v1/nothing")
    assert status == 404
    assert headers["Content-Type"].startswith("text/html")
    assert len(body) > 3000
    assert call(sandbox, "GET", "/v1/send/email")[0] == 404
    assert call(sandbox, "GET", "/v1/info/ip_addresses", key="none")[0] == 200


def test_messages_become_visible_later_and_hold_no_key_of_ours(sandbox: Sandbox) -> None:
    _, body, _ = call(sandbox, "POST", "/v1/send/email", EMAIL | {"identifiers": {"email": "a+b@c.d"}})
    delivery = body["delivery_id"]
    assert call(sandbox, "GET", f"/v1/messages/{delivery}")[0] == 404
    assert call(sandbox, "GET", "/v1/messages")[1] == {"messages": None, "next": ""}
    time.sleep(0.4)
    message = call(sandbox, "GET", f"/v1/messages/{delivery}")[1]["message"]
    assert (message["recipient"], message["transactional_message_id"]) == ("a@b.c", 3)
    assert [
        m["id"] for m in call(sandbox, "GET", "/v1/customers/a%2Bb%40c.d/messages?id_type=email")[1]["messages"]
    ] == [delivery]
    assert call(sandbox, "GET", "/v1/customers/a+b@c.d/messages?id_type=email")[1]["messages"] == []
    assert call(sandbox, "GET", "/v1/transactional/3/messages")[1]["messages"][0]["id"] == delivery
    assert call(sandbox, "GET", "/v1/transactional/4/messages")[1]["messages"] == []
    call(sandbox, "POST", "/v1/send/email", EMAIL)
    time.sleep(0.4)
    first = call(sandbox, "GET", "/v1/messages?limit=1")[1]
    second = call(sandbox, "GET", f"/v1/messages?limit=1&start={first['next']}")[1]
    assert (len(first["messages"]), len(second["messages"]), second["next"]) == (1, 1, "")


def test_broadcasts_queue_and_errors(sandbox: Sandbox) -> None:
    path = "/v1/campaigns/3/triggers"
    answers = [call(sandbox, "POST", path, {"ids": ["1"]})[:2] for _ in range(6)]
    assert [status for status, _ in answers] == [200] * 5 + [429]
    assert [body["id"] for _, body in answers[:5]] == [1, 2, 3, 4, 5]
    assert call(sandbox, "GET", f"{path}/5")[1]["processed_at"] is None
    time.sleep(1.1)
    assert call(sandbox, "GET", f"{path}/5")[1]["processed_at"]
    assert len(call(sandbox, "GET", "/v1/broadcasts/3/triggers")[1]["triggers"]) == 5
    status, body, _ = call(sandbox, "POST", path, {"per_user_data": [{"id": "missing-1"}]})
    assert status == 422
    assert body["errors"][0]["source"]["pointer"] == "/data/attributes/per_user_data"
    assert "trigger 6" in body["errors"][0]["detail"]
    assert call(sandbox, "GET", f"{path}/6/errors")[1]["errors"] == ["line 1: person not found"]
    late = call(sandbox, "POST", path, {"emails": ["missing@x.y"] * 3})[1]["id"]
    assert call(sandbox, "GET", f"{path}/{late}/errors")[1]["errors"] == []
    time.sleep(0.3)
    page = call(sandbox, "GET", f"{path}/{late}/errors?limit=2")[1]
    assert (len(page["errors"]), page["next"]) == (2, 2)
    assert call(sandbox, "POST", path, {"ids": ["1"], "emails": ["a@b"]})[0] == 422
    assert call(sandbox, "POST", "/v1/campaigns/1000/triggers", {})[0] == 404


def test_newsletters_and_content(sandbox: Sandbox) -> None:
    later = int(time.time()) + 600
    assert call(sandbox, "POST", "/v1/newsletters/4/schedule", {"scheduled_at": 0})[0] == 400
    assert call(sandbox, "POST", "/v1/newsletters/4/schedule", {"scheduled_at": later})[0] == 422
    zone = {"scheduled_at": later, "timezone": "Europe/Berlin"}
    assert call(sandbox, "POST", "/v1/newsletters/4/schedule", zone)[1]["newsletter"]["sent_at"] is None
    assert call(sandbox, "POST", "/v1/newsletters/4/send", {})[1]["newsletter"]["sent_at"]
    assert call(sandbox, "POST", "/v1/newsletters/4/send", {})[0] == 400
    assert call(sandbox, "POST", "/v1/newsletters/5/send", {"rate_limit_email_rate": 1})[0] == 422
    assert call(sandbox, "PUT", "/v1/transactional/3/content/9", {"body": "x"})[1]["content"][0]["body"] == "x"
    assert call(sandbox, "GET", "/v1/transactional/3/content/9")[1]["content"]["body"] == "x"


def raw(sandbox: Sandbox, body: bytes) -> bytes:
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=3) as client:
        head = f"POST /v1/send/email HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        client.settimeout(0.5)
        try:
            return client.recv(65536)
        except TimeoutError:
            return b"(nothing)"
        except ConnectionResetError:
            return b"(reset)"


@pytest.mark.parametrize(
    ("fault", "more", "seen", "accepted"),
    [
        ("reset_before", {}, b"(reset)", 0),
        ("reset_after", {}, b"(reset)", 1),
        ("hang", {}, b"(nothing)", 1),
        ("hang_before", {}, b"(nothing)", 0),
        ("garbage", {}, b"\x00\x01 this", 1),
        ("html", {}, b"HTTP/1.1 200", 1),
        ("html_404", {}, b"HTTP/1.1 404", 0),
        ("accept_status", {"status": 502}, b"HTTP/1.1 502", 1),
        ("status", {"status": 503, "retry_after": "7"}, b"HTTP/1.1 503", 0),
        ("latency", {"seconds": 0.1}, b"HTTP/1.1 200", 1),
    ],
)
def test_faults(sandbox: Sandbox, fault: str, more: dict[str, Any], seen: bytes, accepted: int) -> None:
    sandbox.post("faults", fault=fault, count=1, **more)
    answer = raw(sandbox, json.dumps(EMAIL).encode())
    assert answer.startswith(seen)
    assert len(sandbox.messages) == accepted
    assert raw(sandbox, json.dumps(EMAIL).encode()).startswith(b"HTTP/1.1 200")


def test_retry_after_forms(sandbox: Sandbox) -> None:
    sandbox.post("faults", fault="status", status=429, retry_after="3", count=1)
    assert call(sandbox, "POST", "/v1/send/email", EMAIL)[2]["Retry-After"] == "3"
    sandbox.post("faults", fault="status", status=429, retry_after="date:60", count=1)
    assert "GMT" in call(sandbox, "POST", "/v1/send/email", EMAIL)[2]["Retry-After"]
    sandbox.post("faults", fault="status", status=429, count=1)
    assert call(sandbox, "POST", "/v1/send/email", EMAIL)[2]["Retry-After"] is None


def test_strict_limit_and_stamps() -> None:
    with running_sandbox("--rate-send", "10") as sandbox:
        statuses = [call(sandbox, "POST", "/v1/send/email", EMAIL)[0] for _ in range(12)]
        stats = sandbox.get("stats")
    assert statuses == [200] * 10 + [429] * 2
    assert stats["lanes"]["send"]["max_in_window"] == 12
    assert stats["lanes"]["send"]["accepted"] == 10
    assert stats["stamps"] == "kernel"


def test_sliding_window_is_exact_also_out_of_order() -> None:
    limit = SlidingWindow(2, 1.0)
    assert [limit.take(at) is None for at in (0.0, 0.5, 0.999, 1.0, 1.4, 1.5)] == [True, True, False, True, False, True]
    late = SlidingWindow(2, 1.0)
    assert late.take(5.0) is None
    assert late.take(5.8) is None
    assert late.take(5.4) is not None, "it would be the third between 5.0 and 5.8"
    assert late.take(4.9) is not None
    assert late.take(4.0) is None


def test_token_bucket() -> None:
    bucket = TokenBucket(2, 1.0)
    assert [bucket.take(at) is None for at in (1.0, 1.0, 1.0, 1.5, 1.6)] == [True, True, False, True, False]
