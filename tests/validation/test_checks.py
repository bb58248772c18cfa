from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sender.jobs.codes import PROBLEMS, WARNINGS
from sender.jobs.job import Invalid, Job
from sender.jobs.kinds import KINDS
from sender.validation import Options, check
from tests.validation.test_parsing import NOW, parse

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
        ("email", EMAIL | {"headers": {"X-Tag": "a b"}}),
        ("email", EMAIL | {"headers": [{"name": "X-Tag", "value": "a"}]}),
        ("email", EMAIL | {"headers": '[{"name":"X-Tag","value":"a"}]'}),
        ("email", EMAIL | {"headers": {}}),
        ("email", EMAIL | {"attachments": {"a.pdf": b64(1000)}}),
        ("email", EMAIL | {"send_at": int(NOW) + 89 * 86400, "language": "pt-BR", "cc": "a@b.c"}),
        ("sms", PERSON | {"to": "+15551234567"}),
        ("sms", PERSON | {"to": "{{customer.phone}}", "from": "SHOP"}),
        ("whatsapp", PERSON | {"to": "+442071838750"}),
        ("push", PERSON | {"to": "last_used", "sound": "none", "custom_data": {"a": "b"}}),
        ("push", PERSON | {"custom_device": {"token": "t", "platform": "ios", "attributes": {"a": "b"}}}),
        ("in_app", PERSON),
        ("inbox_message", PERSON | {"to": "x"}),
        ("broadcast", {"ids": ["1", "2"], "id_ignore_missing": True, "data": {"a": 1}}),
        ("broadcast", {"per_user_data": [{"id": "1", "data": {}}, {"email": "a@b"}]}),
        ("broadcast", {"data_file_url": "https://example.com/x.jsonl"}),
        ("broadcast", {"recipients": {"and": [{"segment": {"id": 7}},
                                              {"not": {"attribute": {"field": "a", "operator": "exists"}}}]}}),
        ("newsletter_send", {}),
        ("newsletter_send", {"rate_limit_email_rate": 5, "rate_limit_time_period": 60, "rate_limit_spread": True}),
        ("newsletter_schedule", {"scheduled_at": 0}),
        ("newsletter_schedule", {"scheduled_at": int(NOW) + 60, "timezone": "Europe/Berlin"}),
        ("content", {"body": "<p>x</p>", "reply_to_id": None}),
    ],
)  # fmt: skip
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
        ("email", EMAIL | {"headers": {"X": "a\r\nBcc: b"}}, "bad_header"),
        ("email", EMAIL | {"headers": {"X": 3}}, "bad_header"),
        ("email", EMAIL | {"headers": {"X": "ü"}}, "bad_header"),
        ("email", EMAIL | {"headers": "{"}, "bad_header"),
        ("email", EMAIL | {"headers": [1]}, "bad_header"),
        ("email", EMAIL | {"attachments": [{"a.pdf": "aGk="}]}, "wrong_type"),
        ("email", EMAIL | {"attachments": {"pdf": "aGk="}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "a"}}, "bad_attachment"),
        ("email", EMAIL | {"attachments": {"a.pdf": "a!b="}}, "bad_attachment"),
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
)  # fmt: skip
def test_refused(kind: str, payload: dict[str, Any], code: str) -> None:
    problems, _ = found(kind, payload)
    assert code in problems


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("email", EMAIL | {"bodi": "x"}, "unknown_field"),
        ("email", EMAIL | {"language": "german"}, "odd_language"),
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
)  # fmt: skip
def test_warned(kind: str, payload: dict[str, Any], code: str) -> None:
    problems, warnings = found(kind, payload)
    assert problems == set()
    assert code in warnings


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
