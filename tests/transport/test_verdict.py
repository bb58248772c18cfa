from __future__ import annotations

import json
import random
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.engine.backoff import Backoff
from sender.jobs.kinds import KINDS
from sender.jobs.masking import MASK, mask
from sender.transport import Reply, TransportFault
from sender.transport.error_body import parse_error
from sender.transport.verdict import Rules, Verdict, judge, parse_retry_after

A = b'{"meta":{"error":"nope"}}'
C = b'{"errors":[{"detail":"bad thing (reference 01ABCDEFGH)","source":{"pointer":"/data/attributes/ids"}}]}'


def verdict(
    kind: str, status: int, body: bytes = b"", retry_after: str | None = None, kind_of: str = "application/json"
) -> Verdict:
    return judge(KINDS[kind], Reply(status, kind_of, body, retry_after), Rules(), wall=1_000_000.0)


@pytest.mark.parametrize(
    ("kind", "status", "body", "what"),
    [
        ("email", 200, b'{"delivery_id":"d","queued_at":1}', "sent"),
        ("email", 200, b"{}", "accepted_id_unknown"),
        ("email", 200, b'{"delivery_id":""}', "accepted_id_unknown"),
        ("email", 200, b'{"delivery_id":true}', "accepted_id_unknown"),
        ("email", 200, b"<html>", "accepted_id_unknown"),
        ("email", 204, b"", "accepted_id_unknown"),
        ("broadcast", 200, b'{"id":7}', "sent"),
        ("newsletter_send", 200, b'{"newsletter":{"id":3}}', "sent"),
        ("content", 200, b"[]", "sent"),
        ("content", 200, b"", "retry"),
        ("email", 400, A, "rejected"),
        ("email", 404, A, "rejected"),
        ("email", 413, A, "rejected"),
        ("email", 422, C, "rejected"),
        ("email", 403, b'{"meta":{"error":"Forbidden file type exe for attachment a.exe."}}', "rejected"),
        ("push", 403, A, "kind_refused"),
        ("email", 401, A, "halt_run"),
        ("email", 302, b"", "halt_run"),
        ("email", 404, b"<!DOCTYPE html>", "halt_run"),
        ("email", 405, b"<html>", "halt_run"),
        ("email", 429, b"", "retry"),
        ("email", 503, b"", "ambiguous"),
        ("email", 503, A, "retry"),
        ("email", 503, b"upstream connect error", "ambiguous"),
        ("email", 500, A, "ambiguous"),
        ("email", 502, b"", "ambiguous"),
        ("email", 504, b"", "ambiguous"),
        ("email", 408, b"", "ambiguous"),
        ("email", 522, b"", "ambiguous"),
        ("content", 502, b"", "retry"),
        ("newsletter_schedule", 500, b"", "retry"),
        ("newsletter_send", 500, b"", "ambiguous"),
    ],
)
def test_statuses(kind: str, status: int, body: bytes, what: str) -> None:
    assert verdict(kind, status, body).what == what


def test_details() -> None:
    assert verdict("email", 503, b"", "5").what == "retry"
    found = verdict("email", 429, b"", "7")
    assert (found.throttled, found.retry_after) == (True, 7.0)
    assert verdict("broadcast", 200, b'{"id":7}').result == (("trigger_id", 7),)
    refused = verdict("broadcast", 422, C)
    assert (refused.field, refused.queue_full, refused.error.reference) == ("ids", False, "01ABCDEFGH")
    assert verdict("broadcast", 422, b'{"errors":[{"detail":"too many"}]}').queue_full
    assert judge(KINDS["email"], Reply(500, "", b""), Rules(safe=frozenset({500}))).what == "retry"


def test_faults() -> None:
    lost = TransportFault("timeout", "written", "m")
    never = TransportFault("connect_failed", "unwritten", "m")
    assert judge(KINDS["email"], lost, Rules()).what == "ambiguous"
    assert judge(KINDS["email"], never, Rules()).what == "retry"
    assert judge(KINDS["content"], lost, Rules()).what == "retry"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("5", 5.0), ("1.5", 1.5), (formatdate(1_000_060, usegmt=True), 60.0),
        (formatdate(5, usegmt=True), 0.0), ("-1", None), ("nan", None), ("inf", None), ("soon", None), (None, None),
        ("", None), ("9" * 400, None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, 1_000_000.0) == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (A, "nope"),
        (b'{"meta":{"errors":["a","b"]}}', "a; b"),
        (C, "bad thing"),
        (b'{"errors":["line 3: text"],"next":0}', "line 3: text"),
        (b'{"meta":null,"errors":null}', ""),
        (b'{"meta":{"error":5},"errors":[{"detail":5}, 3]}', ""),
        (b"[]", ""),
        (b"upstream down", "upstream down"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_error_bodies(body: bytes, message: str) -> None:
    assert parse_error("application/json", body).message == message


@given(st.binary(max_size=100), st.sampled_from(["", "text/html", "application/json"]))
def test_error_bodies_never_raise(body: bytes, kind: str) -> None:
    assert isinstance(parse_error(kind, body).message, str)


def test_trigger_id_is_found() -> None:
    body = json.dumps(
        {"errors": [{"detail": "see the errors endpoint for trigger 12 (reference 01ABCDEFGH)"}]}
    ).encode()
    assert parse_error("application/json", body).trigger_id == 12


@given(st.integers(1, 60), st.floats(0, 100), st.integers())
def test_backoff(attempt: int, floor: float, seed: int) -> None:
    delay = Backoff(0.5, 30, random.Random(seed)).delay(attempt, floor)
    assert floor <= delay <= floor + min(30, 0.5 * 2 ** (attempt - 1))


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="*"), min_size=3, max_size=12)


@given(st.lists(WORDS.filter(lambda word: len(word.strip()) >= 3), min_size=1, max_size=5), st.text(max_size=10))
def test_no_string_of_the_payload_survives(words: list[str], noise: str) -> None:
    body = json.dumps({"message_data": {"list": words}}).encode()
    text = noise + " ".join(words)
    masked = mask(text, body)
    for word in words:
        assert word.lower() not in masked.lower().replace(MASK, "\0")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("bad address ada@example.com.", "bad address ***"),
        ("call +49 30 1234567 now", "call *** now"),
        ("number 15551234567", "number ***"),
        ("see trigger 12, line 3, status 422", "see trigger 12, line 3, status 422"),
        ("at https://user:secret@host/x", "at https:***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
    ],
)
def test_what_looks_personal_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_other_writings_of_a_payload_string() -> None:
    body = json.dumps({"to": "Ada <ada>", "attachments": {"my file.pdf": "x"}, "data": {"Ünal": 1}}).encode()
    for text in ("Ada &lt;ada&gt;", "Ada%20%3Cada%3E", "ADA <ADA>", "my file.pdf", "ünal"):
        assert MASK in mask(f"no: {text}", body), text


def test_rules_are_data() -> None:
    rules: Any = Rules(ambiguous=frozenset({418}))
    assert judge(KINDS["email"], Reply(418, "", b""), rules).what == "ambiguous"
