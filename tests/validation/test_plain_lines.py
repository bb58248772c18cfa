"""The short way from a line to its job says what the long way says."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.jobs.job import Invalid, Job, Line
from sender.validation import Options
from sender.validation.check import CHECKS
from sender.validation.fields import EMAIL
from sender.validation.findings import Report
from sender.validation.line import Document, read_line
from sender.validation.parser import Parser
from sender.validation.plain_email import is_plain_email
from sender.validation.plain_line import plain_job
from tests.support.parsing import NOW

PLAIN: dict[str, Any] = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "42"}}
TEXTS = [
    "Your receipt", "ada@example.com", '"Ada" <a@b.c>', '"{{a}}" <a@b.c>', '"{{a" <a@b.c>', "a@b.c, d@e.f", "a@b.c\n",
    "", " ", "{", "{{x", "{% if %}", "two\nlines", "two\rlines", "en", "pt-BR", "english please", "é",
]
PEOPLE = [
    {"id": "1"}, {"id": ""}, {"id": " "}, {"id": "\xa0"}, {"id": 1}, {"id": None}, {"email": "a@b.c"}, {"email": "a"},
    {}, {"id": "1", "email": None}, {"id": "1", "email": "a@b.c"}, {"name": "1"},
]
OTHERS = [None, True, False, 0, 1, -1, 3, 1.5, 10**18, "3", [], {}, {"a": [{"b": 1.5}]}, {"a.exe": "!"}]
VALUES = [*TEXTS, *PEOPLE, *OTHERS]
NAMES = (*EMAIL.fields, "unknown")
CHANGES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3)
PAYLOADS = CHANGES.flatmap(lambda changed: st.sampled_from([PLAIN | changed, changed | PLAIN, changed]))
ENVELOPES = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["r-1", "r-1", "", "x" * 256, "x" * 257, 7, None, "é"]),
        "kind": st.sampled_from([*["email"] * 3, "sms", None]),
    },
    optional={"priority": st.just("low"), "meta": st.just({"a": 1}), "workspace": st.just("w")},
)
LONG_WAY = patch("sender.validation.parser.plain_job", lambda line, document: None)


def line_of(data: bytes) -> Line:
    return Line("jobs.jsonl", 1, data)


def document_of(data: bytes) -> Document:
    found = read_line(data)
    assert isinstance(found, Document)
    return found


def both_ways(data: bytes) -> tuple[Job | Invalid, Job | Invalid]:
    parser = Parser()
    short = parser.parse(line_of(data), NOW)
    with LONG_WAY:
        return short, parser.parse(line_of(data), NOW)


def is_silent(payload: dict[str, Any], *, required: bool = True) -> bool:
    report = Report()
    CHECKS["email"](payload, b"{}", report, NOW, Options(require_identifiers=required))
    return not report.has_problems and not report.has_warnings


def test_a_plain_email_is_one_of_which_the_checks_have_nothing_to_say_whatever_one_field_holds() -> None:
    changed = [PLAIN | {name: value} for name in NAMES for value in VALUES]
    without = [{key: value for key, value in PLAIN.items() if key != name} for name in PLAIN]
    assert [one for one in (*changed, *without) if is_plain_email(one) and not is_silent(one)] == []
    assert any(map(is_plain_email, changed))


@given(PAYLOADS, st.booleans())
def test_a_plain_email_is_one_of_which_the_checks_have_nothing_to_say(payload: dict[str, Any], required: bool) -> None:
    assert not is_plain_email(payload) or is_silent(payload, required=required)


@given(ENVELOPES, PAYLOADS, st.booleans(), st.booleans())
@settings(max_examples=200)
def test_both_ways_make_the_same_of_every_line(
    members: dict[str, Any], payload: dict[str, Any], spaced: bool, first: bool
) -> None:
    whole = {"payload": payload, **members} if first else {**members, "payload": payload}
    data = orjson.dumps(whole, option=orjson.OPT_INDENT_2 if spaced else None).replace(b"\n", b"")
    short, long = both_ways(data)
    assert short == long


@pytest.mark.parametrize("change", [
    {}, {"subject": "Your receipt", "language": "en", "tracked": True},
    {"message_data": {"total": 1.5, "a": [{"b": None}]}},
    {"from": '"Shop, Ltd" <shop@example.com>', "to": '"Ada" <ada@example.com>'},
])
@pytest.mark.parametrize("form", [
    b'{"id":"r-1","kind":"email","payload":%b}', b'{"kind": "email", "id": "1", "payload": %b} ',
])
def test_usual_lines_take_the_short_way(change: dict[str, Any], form: bytes) -> None:
    data = form % orjson.dumps(PLAIN | change)
    short, long = both_ways(data)
    assert plain_job(line_of(data), document_of(data)) == short == long


@pytest.mark.parametrize(("envelope", "more"), [
    (b'{"id":"r-1","kind":"email","payload":%b}', b'"to":"ada@example.com"'),
    (b'{"id":"r-0","id":"r-1","kind":"email","payload":%b}', b'"tracked":true'),
    (b'{"id":"r-1","kind":"email","payload":%b}', b'"message_data":{"a":"%b"}' % (b"x" * 9000)),
    (b'{"id":"r-1","kind":"email","payload":%b}', b'"message_data":{"a":"\\ud83d"}'),
])
def test_repeated_keys_half_characters_and_large_payloads_take_the_long_way(envelope: bytes, more: bytes) -> None:
    data = envelope % (orjson.dumps(PLAIN)[:-1] + b"," + more + b"}")
    short, long = both_ways(data)
    assert plain_job(line_of(data), document_of(data)) is None
    assert short == long
