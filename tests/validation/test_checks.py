from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.jobs.codes import PROBLEMS, WARNINGS
from sender.jobs.job import Invalid, Job
from sender.jobs.kinds import KINDS
from sender.validation import Options, check
from sender.validation.recipients import PLAIN, split_addresses
from tests.support.parsing import NOW, parse

EMAIL = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "42"}}
PERSON = {"transactional_message_id": 3, "identifiers": {"email": "a@b.c"}}


def found(kind: str, payload: dict[str, Any], options: Options | None = None) -> tuple[set[str], set[str]]:
    problems, warnings = check(KINDS[kind], payload, json.dumps(payload).encode(), NOW, options or Options())
    return {problem.code for problem in problems}, {warning.code for warning in warnings}


def b64(size: int) -> str:
    return base64.b64encode(b"x" * size).decode()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("email", EMAIL),
        ("email", EMAIL | {"transactional_message_id": "3"}),
        ("email", EMAIL | {"identifiers": {"id": 42}}),
        ("email", EMAIL | {"to": '"Lovelace, Ada" <ada@example.com>, b@c.d'}),
        ("email", EMAIL | {"to": "{{customer.email}}"}),
        ("email", EMAIL | {"to": '{{a}}@b.c, d@{{e}}, Ada L. <a@b.c>, "x;y"@z.de', "bcc": "a@b.c", "fake_bcc": True}),
        ("email", EMAIL | {"from": '"Lovelace, Ada" <ada@example.com>', "subject": "{% if a %}{{b}}{% endif %}"}),
        ("email", EMAIL | {"from": "{{from}}", "queue_draft": False, "auto_create": False}),
        ("email", EMAIL | {"attachments": {"a.pdf": ""}, "body": "{% raw %}{{{% endraw %}"}),
        ("email", EMAIL | {"headers": {"X-Tag": "a b"}}),
        ("email", EMAIL | {"headers": [{"name": "X-Tag", "value": "a"}]}),
        ("email", EMAIL | {"headers": '[{"name":"X-Tag","value":"a"}]'}),
        ("email", EMAIL | {"headers": {}}),
        ("email", EMAIL | {"attachments": {"a.pdf": b64(1000)}}),
        ("email", EMAIL | {"send_at": int(NOW) + 89 * 86400, "language": "pt-BR", "cc": "a@b.c"}),
        ("sms", PERSON | {"to": "+15551234567"}),
        ("sms", PERSON | {"to": "{{customer.phone}}", "from": "SHOP"}),
        ("sms", PERSON | {"to": "+15551234567", "from": "12345"}),
        ("whatsapp", PERSON | {"to": "+442071838750"}),
        ("push", PERSON | {"to": "all"}),
        ("push", PERSON | {"to": "dT8h3:APA91bHun4M-xyz_0123", "custom_payload": {"ios": {}}}),
        ("push", PERSON | {"to": "last_used", "sound": "none", "custom_data": {"a": "b"}}),
        ("push", PERSON | {"custom_device": {"token": "t", "platform": "ios", "attributes": {"a": "b"}}}),
        ("in_app", PERSON),
        ("inbox_message", PERSON | {"to": "x"}),
        ("broadcast", {"ids": ["1", "2"], "id_ignore_missing": True, "data": {"a": 1}}),
        ("broadcast", {"per_user_data": [{"id": "1", "data": {}}, {"email": "a@b"}]}),
        ("broadcast", {"data_file_url": "https://example.com/x.jsonl"}),
        ("broadcast", {"data_file_url": "HTTPS://example.com/x.jsonl"}),
        ("broadcast", {"per_user_data": [{"id": "1", "email": None, "data": None}]}),
        ("broadcast", {"recipients": {"and": [{"segment": {"id": 7}},
                                              {"not": {"attribute": {"field": "a", "operator": "exists"}}}]}}),
        ("newsletter_send", {}),
        ("newsletter_send", {"rate_limit_email_rate": 5, "rate_limit_time_period": 60, "rate_limit_spread": True}),
        ("newsletter_schedule", {"scheduled_at": 0}),
        ("newsletter_schedule", {"scheduled_at": 0, "timezone": ""}),
        ("newsletter_schedule", {"scheduled_at": int(NOW) + 60, "timezone": "Europe/Berlin"}),
        ("content", {"body": "<p>x</p>", "reply_to_id": None}),
    ],
)
def test_fine(kind: str, payload: dict[str, Any]) -> None:
    assert found(kind, payload) == (set(), set())


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("email", EMAIL | {"to": ""}, "empty_field"),
        ("email", {"transactional_message_id": 3, "identifiers": {"id": "1"}}, "missing_field"),
        ("email", EMAIL | {"to": "nobody"}, "bad_recipient"),
        ("email", EMAIL | {"to": "a@b.c,,nobody"}, "bad_recipient"),
        ("email", EMAIL | {"bcc": ",".join(["a@b.c"] * 15)}, "too_many_recipients"),
        ("email", EMAIL | {"cc": ",".join(["a@b.c"] * 15)}, "too_many_recipients"),
        ("email", EMAIL | {"identifiers": {}}, "bad_identifiers"),
        ("email", EMAIL | {"identifiers": {"id": "1", "email": "a"}}, "bad_identifiers"),
        ("email", EMAIL | {"identifiers": {"phone": "1"}}, "bad_identifiers"),
        ("email", EMAIL | {"identifiers": {"id": True}}, "bad_identifiers"),
        ("email", EMAIL | {"identifiers": "42"}, "wrong_type"),
        ("email", EMAIL | {"transactional_message_id": True}, "wrong_type"),
        ("email", EMAIL | {"transactional_message_id": 0}, "bad_template"),
        ("email", {"to": "a@b.c", "identifiers": {"id": "1"}, "subject": "s"}, "missing_field"),
        ("email", {"to": "a@b.c", "identifiers": {"id": "1"}, "transactional_message_id": None}, "missing_field"),
        ("email", EMAIL | {"tracked": "true"}, "wrong_type"),
        ("email", EMAIL | {"send_at": 1.5}, "wrong_type"),
        ("email", EMAIL | {"send_at": int(NOW) + 91 * 86400}, "send_at_too_late"),
        ("email", EMAIL | {"message_data": []}, "wrong_type"),
        ("email", EMAIL | {"headers": {"X Y": "a"}}, "bad_header"),
        ("email", EMAIL | {"headers": {"X:Y": "a"}}, "bad_header"),
        ("email", EMAIL | {"headers": [{"name": "X:", "value": "a"}]}, "bad_header"),
        ("email", EMAIL | {"headers": {"X": "a\r\nBcc: b"}}, "bad_header"),
        ("email", EMAIL | {"headers": {"X": 3}}, "bad_header"),
        ("email", EMAIL | {"headers": {"X": "ü"}}, "bad_header"),
        ("email", EMAIL | {"headers": "{"}, "bad_header"),
        ("email", EMAIL | {"headers": [1]}, "bad_header"),
        ("email", EMAIL | {"attachments": [{"a.pdf": "aGk="}]}, "wrong_type"),
        ("email", EMAIL | {"attachments": {"pdf": "aGk="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "a"}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "a!b="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.b/pdf": "aGk="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "=="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "aGk_="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "aG="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "=\naGk"}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": 3}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": b64(2 * 2**20)}}, "attachments_too_large"),
        ("email", EMAIL | {"body": "x" * (2**20 + 1)}, "payload_too_large"),
        ("sms", PERSON | {"to": "030 1234"}, "bad_phone"),
        ("sms", {"identifiers": {"id": "1"}, "to": "+15551234567"}, "missing_field"),
        ("whatsapp", PERSON | {"to": "+1\u0665551234567"}, "bad_phone"),
        ("whatsapp", PERSON, "missing_field"),
        ("broadcast", {"ids": None}, "empty_audience"),
        ("broadcast", {"email": ["a@b"]}, "misspelt_audience"),
        ("broadcast", {"recipient": {"segment": {"id": 1}}}, "misspelt_audience"),
        ("push", PERSON | {"sound": "loud"}, "bad_value"),
        ("push", PERSON | {"custom_device": {"token": "t", "platform": "palm"}}, "bad_device"),
        ("push", PERSON | {"to": ""}, "empty_field"),
        ("in_app", {"transactional_message_id": 3}, "missing_field"),
        ("broadcast", {"ids": ["1"], "emails": ["a@b"]}, "two_audiences"),
        ("broadcast", {"ids": []}, "empty_audience"),
        ("broadcast", {"recipients": {}}, "empty_audience"),
        ("broadcast", {"ids": ["1"] * 10_001}, "audience_too_large"),
        ("broadcast", {"ids": [1.5]}, "bad_entry"),
        ("broadcast", {"per_user_data": [{"id": "1", "email": "a"}]}, "bad_entry"),
        ("broadcast", {"per_user_data": [{"id": "1", "data": []}]}, "bad_entry"),
        ("broadcast", {"data": {"x": "y" * 50_000}}, "data_too_large"),
        ("broadcast", {"data_file_url": "file:///etc/passwd"}, "bad_url"),
        ("broadcast", {"recipients": {"and": []}}, "bad_filter"),
        ("broadcast", {"recipients": {"attribute": {"field": "a", "operator": "gt", "value": 1}}}, "bad_filter"),
        ("broadcast", {"recipients": {"segment": {"id": "7"}}}, "bad_filter"),
        ("broadcast", {"recipients": {"segment": {"id": 0}}}, "bad_filter"),
        ("broadcast", {"recipients": {"segment": {"id": -1}}}, "bad_filter"),
        ("broadcast", {"recipients": {"inverse": True}}, "bad_filter"),
        ("broadcast", {"recipients": {"inverse": True, "segmnt": {"id": 1}}}, "bad_filter"),
        ("broadcast", {"recipients": {"segment": {"id": 1}, "inverse": True, "x": 1}}, "bad_filter"),
        *(("broadcast", {name: ["1"], "data": {"a": 1}}, "misspelt_audience") for name in (
            "user_ids", "customer_ids", "to", "identifiers", "segment", "users", "audience", "filter", "and",
            "userIds", "Segment_ID", "people", "id", "idz", "destinataires",
        )),
        ("broadcast", {f"x{n}": n for n in range(101)}, "misspelt_audience"),
        *(("broadcast", payload, "misspelt_audience") for payload in (
            {"payload": {"ids": ["1"]}}, {"body": {"emails": ["a@b.co"]}}, {"include": {"ids": ["1"]}},
            {"audience_filter": {"segment": {"id": 1}}}, {"condition": {"and": []}}, {"x": {"y": {"recipients": {}}}},
            {"contact": "a@b.co"}, {"send_to": "a@b.co"}, {"whom": "a@b.co"}, {"profile_ids": "x"}, {"to_ids": "1"},
            {"mailing_list": "vip"}, {"newUsers": True},
        )),
        ("newsletter_send", {"scheduled_at": int(NOW) + 60, "timezone": "Europe/Berlin"}, "wrong_kind"),
        ("newsletter_send", {"scheduled_at": None}, "wrong_kind"),
        ("newsletter_send", {"schedule_at": int(NOW) + 60}, "wrong_kind"),
        ("newsletter_send", {"ids": ["1"]}, "misspelt_audience"),
        ("newsletter_schedule", {"scheduled_at": 0, "emails": ["a@b"]}, "misspelt_audience"),
        ("newsletter_schedule", {"scheduled_at": int(NOW) + 5, "timezone": ""}, "missing_field"),
        ("broadcast", {"recipients": {"adn": [{"segment": {"id": 1}}]}}, "bad_filter"),
        ("newsletter_send", {"rate_limit_email_rate": 5}, "rate_pair"),
        ("newsletter_send", {"rate_limit_email_rate": 0, "rate_limit_time_period": 60}, "bad_value"),
        ("newsletter_send", {"rate_limit_email_rate": 5, "rate_limit_time_period": 61}, "bad_value"),
        ("newsletter_schedule", {}, "missing_field"),
        ("newsletter_schedule", {"scheduled_at": int(NOW) - 5, "timezone": "Europe/Berlin"}, "bad_schedule"),
        ("newsletter_schedule", {"scheduled_at": int(NOW) + 5}, "missing_field"),
        ("newsletter_schedule", {"scheduled_at": int(NOW) + 5, "timezone": "Berlin"}, "bad_timezone"),
        ("newsletter_schedule", {"scheduled_at": 0, "tz_match_enabled": True, "rate_limit_email_rate": 1,
                                 "rate_limit_time_period": 86400}, "bad_schedule"),
        ("content", {}, "empty_field"),
        ("content", {"from_id": "3"}, "wrong_type"),
    ],
)
def test_refused(kind: str, payload: dict[str, Any], code: str) -> None:
    problems, _ = found(kind, payload)
    assert code in problems


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("email", EMAIL | {"bodi": "x"}, "unknown_field"),
        ("email", EMAIL | {"language": "german"}, "odd_language"),
        ("email", EMAIL | {"to": "a@b.c;d@e.f"}, "odd_recipient"),
        ("email", EMAIL | {"to": "a@b.c d@e.f"}, "odd_recipient"),
        ("email", EMAIL | {"cc": "Ada <a@b.c> <d@e.f>"}, "odd_recipient"),
        ("email", EMAIL | {"bcc": "a@b.c, @"}, "odd_recipient"),
        ("email", EMAIL | {"to": "ada@"}, "odd_recipient"),
        ("email", EMAIL | {"to": "Ada <@example.com>"}, "odd_recipient"),
        ("email", EMAIL | {"to": "ada l@example.com"}, "odd_recipient"),
        ("email", EMAIL | {"to": "{{customer.email"}, "unclosed_liquid"),
        ("email", EMAIL | {"body": "<p>{{a}} {% if b</p>"}, "unclosed_liquid"),
        ("email", EMAIL | {"subject": "Hi\r\nBcc: x"}, "line_break"),
        ("email", EMAIL | {"to": "a@b.c,\nd@e.f"}, "line_break"),
        ("email", EMAIL | {"from": "Shop"}, "odd_from"),
        ("email", EMAIL | {"from": "Lovelace, Ada <ada@example.com>"}, "odd_from"),
        ("email", EMAIL | {"identifiers": {"email": 42}}, "odd_identifier"),
        ("email", EMAIL | {"identifiers": {"cio_id": 42}}, "odd_identifier"),
        ("email", EMAIL | {"identifiers": {"email": "  "}}, "odd_identifier"),
        ("email", EMAIL | {"identifiers": {"cio_id": "\t"}}, "odd_identifier"),
        ("email", EMAIL | {"identifiers": {"id": " "}}, "odd_identifier"),
        ("email", EMAIL | {"identifiers": {"id": "1", "email": None}}, "null_field"),
        ("email", EMAIL | {"fake_bcc": True}, "ignored_field"),
        ("email", EMAIL | {"queue_draft": True}, "draft"),
        ("email", EMAIL | {"transactional_message_id": "3", "auto_create": True}, "auto_create_ignored"),
        ("sms", PERSON | {"transactional_message_id": "x", "to": "+15551234567", "auto_create": True},
         "auto_create_ignored"),
        ("in_app", PERSON | {"transactional_message_id": "x", "auto_create": True}, "auto_create_ignored"),
        ("inbox_message", PERSON | {"transactional_message_id": "x", "auto_create": True}, "auto_create_ignored"),
        ("sms", PERSON | {"to": "+15551234567", "from": "030 1234-56789"}, "odd_from"),
        ("sms", PERSON | {"to": "+15551234567", "from": "15551234567"}, "odd_from"),
        ("sms", PERSON | {"to": "+15551234567", "image_url": "https://example.com/a.png"}, "ignored_field"),
        ("push", PERSON | {"to": "ada@example.com"}, "odd_recipient"),
        ("push", PERSON | {"to": "ALL"}, "odd_recipient"),
        ("push", PERSON | {"custom_payload": {"ios": {}}, "title": "x"}, "ignored_field"),
        ("push", PERSON | {"custom_device": {"token": "t", "platform": "ios", "last_used": int(NOW * 1000)}},
         "milliseconds"),
        ("newsletter_schedule", {"scheduled_at": int(NOW * 1000), "timezone": "Europe/Berlin"}, "milliseconds"),
        ("newsletter_schedule", {"scheduled_at": 0, "timezone": "Berlin"}, "odd_timezone"),
        ("broadcast", {"ids": ["1"], "emails": None}, "null_field"),
        ("broadcast", {"per_user_data": [{"id": 7}]}, "integer_id"),
        ("broadcast", {"ids": ["1"], "data": {"x": [1] * 20_000}}, "data_large"),
        ("broadcast", {"per_user_data": [{"id": "1", "data": {"x": "y" * 2_000_000}}]}, "entry_large"),
        ("broadcast", {"recipients": {"segment": {"id": 1}, "inverse": True}}, "odd_filter"),
        ("email", EMAIL | {"send_at": 5}, "send_at_past"),
        ("email", EMAIL | {"auto_create": True}, "auto_create_ignored"),
        ("email", EMAIL | {"plaintext_body": "x"}, "renamed_field"),
        ("email", EMAIL | {"headers": {"Subject": "x"}}, "reserved_header"),
        ("email", EMAIL | {"headers": {"X": " x"}}, "header_space"),
        ("email", EMAIL | {"attachments": {"a.exe": "aGk="}}, "risky_extension"),
        ("email", EMAIL | {"attachments": {"a.pdf": "aGk"}}, "odd_base64"),
        ("email", EMAIL | {"attachments": {"a.pdf": "a-_k"}}, "odd_base64"),
        ("email", EMAIL | {"attachments": {"a.pdf": b64(1_500_000)}}, "attachments_large"),
        ("email", EMAIL | {"body": "x" * 1_000_001}, "payload_large"),
        ("email", EMAIL | {"bcc": None}, "null_field"),
        ("email", {"to": "a@b.c", "identifiers": {"id": "1"}, "body": "b", "subject": "s"}, "missing_from"),
        ("sms", PERSON, "missing_to"),
        ("sms", PERSON | {"to": "+15551234567", "body": "x"}, "ignored_field"),
        ("whatsapp", PERSON | {"to": "+15551234567", "auto_create": False}, "ignored_field"),
        ("push", PERSON | {"custom_data": {"a": 1}}, "non_string_data"),
        ("in_app", PERSON | {"to": "x"}, "ignored_field"),
        ("inbox_message", PERSON | {"disable_message_retention": True}, "ignored_field"),
        ("broadcast", {}, "default_audience"),
        ("broadcast", {"data": {"a": 1}, "email_ignore_missing": True}, "default_audience"),
        ("broadcast", {"ids": ["1"], "email_ignore_missing": True}, "flag_without_audience"),
        ("broadcast", {"ids": ["1", 2]}, "integer_id"),
        ("broadcast", {"recipients": {"and": [{"segment": {"id": 1}}]}}, "odd_filter"),
        ("broadcast", {"data_file_url": "http://example.com/x"}, "plain_http"),
        ("content", {"body": "x", "name": "y"}, "ignored_field"),
    ],
)
def test_warned(kind: str, payload: dict[str, Any], code: str) -> None:
    problems, warnings = found(kind, payload)
    assert problems == set()
    assert code in warnings


def messages(kind: str, payload: dict[str, Any]) -> list[tuple[str | None, str]]:
    body = json.dumps(payload).encode()
    findings = check(KINDS[kind], payload, body, NOW)
    return [(one.field, one.message) for one in (*findings.problems, *findings.warnings)]


@pytest.mark.parametrize(
    ("kind", "payload", "field", "words"),
    [
        ("email", EMAIL | {"plaintext": "x"}, "plaintext", "body_plain"),
        ("email", EMAIL | {"plaintxt_body": "x"}, "body_plain", "body_plain"),
        ("email", EMAIL | {"title": "x"}, "title", "it is a field of push"),
        ("in_app", PERSON | {"body": "x"}, "body", "it is a field of email, content"),
        ("push", PERSON | {"device": {}}, "device", "custom_device"),
        ("email", EMAIL | {"email": "x"}, "email", "identifiers.email"),
        ("email", EMAIL | {"expires_at": 1}, "expires_at", "beside payload"),
        ("email", EMAIL | {"data": {}}, "data", "message_data"),
        ("email", EMAIL | {"bodi": "x"}, "body", "field 4 of the payload"),
        ("email", EMAIL | {"zzz": "x"}, None, "field 4 of the payload"),
        ("push", PERSON | {"token": "x"}, "token", "custom_device.token"),
        ("push", PERSON | {"custom_device": {"token": "t", "platform": "ios", "zzz": 1}}, "custom_device",
         "field 3 of custom_device"),
        ("newsletter_send", {"scheduled_at": 1}, "scheduled_at", "newsletter_schedule"),
        ("sms", PERSON | {"to": "whatsapp:+15551234567"}, "to", "WhatsApp"),
        ("email", EMAIL | {"send_at": int(NOW * 1000)}, "send_at", "milliseconds"),
    ],
)
def test_sentences_name_the_place_and_what_to_do(
    kind: str, payload: dict[str, Any], field: str | None, words: str
) -> None:
    assert [True for place, message in messages(kind, payload) if place == field and words in message]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("email", {**EMAIL, "to": None}),
        ("email", EMAIL | {"headers": 3}),
        ("email", {"to": "a@b.c", "from": "a@b.c", "identifiers": {"id": "1"}, "subject": "s", "body": 0}),
        ("email", EMAIL | {"plaintext_body": "x"}),
        ("sms", PERSON | {"to": ""}),
        ("sms", PERSON | {"to": None}),
        ("whatsapp", PERSON | {"to": None}),
        ("push", PERSON | {"custom_device": {"token": 3, "platform": "ios"}}),
        ("broadcast", {"ids": None}),
        ("broadcast", {"user_ids": ["1"]}),
        ("broadcast", {"idz": ["1"]}),
        ("newsletter_send", {"scheduled_at": 3}),
        ("newsletter_send", {"ids": ["3"]}),
        ("newsletter_schedule", {"scheduled_at": None}),
        ("in_app", PERSON | {"to": None}),
    ],
)
def test_one_problem_is_told_once(kind: str, payload: dict[str, Any]) -> None:
    assert len(messages(kind, payload)) == 1


def test_a_size_is_told_without_attachments() -> None:
    payload = EMAIL | {"body": "x" * 2**20, "attachments": {"a.pdf": b64(1000)}}
    size = len(json.dumps(payload)) - len(json.dumps(payload["attachments"]))
    message = f"the payload without attachments is {size:,} bytes; the API takes 1 MB (1,048,576 bytes)"
    assert messages("email", payload) == [(None, message)]


def test_attachments_are_counted_as_they_are_written() -> None:
    """`+` may be written as an escape of six bytes: a body of just under 1 MB was refused for it."""
    files = {"a.pdf": "+" * 200_000}
    body = json.dumps(EMAIL | {"body": "x" * 900_000, "attachments": files}).replace("+", "\\u002B").encode()
    assert check(KINDS["email"], json.loads(body), body, NOW) == ((), ())


def test_warnings_are_capped_and_counted() -> None:
    problems, warnings = check(KINDS["email"], EMAIL | {f"f{n}": n for n in range(5000)}, b"{}", NOW)
    assert not problems
    assert [one.code for one in warnings] == ["unknown_field"] * 20 + ["more_warnings"]
    assert "4,980" in warnings[-1].message


def test_problems_are_capped_and_counted() -> None:
    problems, _ = check(KINDS["email"], EMAIL | {"headers": {f"x {n}": "" for n in range(5000)}}, b"{}", NOW)
    assert [one.code for one in problems] == ["bad_header"] * 100 + ["more_problems"]
    assert "4,900" in problems[-1].message


PLAIN_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\{\{.*?\}\}|\{%.*?%\}|\([^)]*\)|[^,])+', re.DOTALL)


@given(st.text(st.sampled_from('ab@,;" <>(){}%\\\n'), max_size=24))
def test_addresses_are_split_as_one_pattern_says(text: str) -> None:
    """The pattern says it in one line, and takes an hour for 1 MB of `{{`."""
    plain = [piece for match in PLAIN_PIECE.finditer(text) if (piece := match.group().strip())]
    assert [piece.text for piece in split_addresses(text)] == plain


@given(st.text(st.sampled_from('ab@.,<>" {}()'), max_size=16))
def test_what_passes_at_a_glance_is_one_address(text: str) -> None:
    if PLAIN.fullmatch(text):
        assert len(split_addresses(text)) == 1
        assert check(KINDS["email"], EMAIL | {"to": text, "cc": "a@b.c"}, b"{}", NOW) == ((), ())


@given(st.text(st.sampled_from("aZ9+/-_=\r\n!"), max_size=14))
def test_base64_is_taken_as_a_decoder_takes_it(text: str) -> None:
    problems, _ = check(KINDS["email"], EMAIL | {"attachments": {"a.pdf": text}}, b"{}", NOW)
    bare = text.replace("\r", "").replace("\n", "").replace("-", "+").replace("_", "/")
    padded = bare if "=" in bare else bare + "=" * (-len(bare) % 4)
    try:
        binascii.a2b_base64(padded, strict_mode=True)
        fine = len(padded) % 4 == 0
    except binascii.Error:
        fine = not padded
    assert (not problems) == fine


def test_options() -> None:
    payload = {"to": "a@b.c", "transactional_message_id": 3}
    assert found("email", payload)[0] == {"missing_field"}
    assert found("email", payload, Options(require_identifiers=False)) == (set(), {"missing_identifiers"})


def test_the_count_of_recipients_is_told() -> None:
    result = parse({"id": "a", "payload": EMAIL | {"bcc": ",".join(["a@b.c"] * 15)}})
    assert isinstance(result, Invalid)
    assert result.problems[0].message == "16 recipients in to, cc and bcc; the API takes 15"


def test_deep_filters_are_checked_without_recursion() -> None:
    node: dict[str, Any] = {"segment": {"id": 1}}
    for _ in range(900):
        node = {"not": node}
    assert found("broadcast", {"recipients": node}) == (set(), set())


SEED_EXAMPLES = json.loads(Path(__file__).with_name("seed_examples.json").read_text())


@pytest.mark.parametrize("example", SEED_EXAMPLES, ids=lambda one: f"{one['seed']}-{one['kind']}")
def test_the_vendors_own_examples_are_accepted(example: dict[str, Any]) -> None:
    envelope = {"id": "x", "kind": example["kind"], "payload": example["payload"], **example.get("path", {})}
    if example.get("placeholders"):
        # The page shows words where base64 belongs, and a time that has passed by now.
        envelope["payload"] = envelope["payload"] | example["placeholders"]
    result = parse(envelope)
    assert isinstance(result, Job), result


def test_every_code_in_the_source_is_documented() -> None:
    source = Path(__file__).parents[2] / "sender"
    used: set[str] = set()
    for file in source.rglob("*.py"):
        text = file.read_text()
        used |= set(re.findall(r'Problem\(\s*"([a-z_0-9]+)"', text))
        used |= set(re.findall(r'\.(?:problem|warn)\(\s*"([a-z_0-9]+)"', text))
        used |= set(re.findall(r'_fault\("([a-z_0-9]+)"', text))
    assert used <= set(PROBLEMS) | set(WARNINGS)
