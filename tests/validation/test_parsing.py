from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.jobs.codes import PROBLEMS, WARNINGS
from sender.jobs.identity import _may_have_float
from sender.jobs.job import Invalid, Job, Line
from sender.jobs.kinds import KINDS, SEND_KINDS
from sender.jobs.payload import mend, person_of, read_payload
from sender.jobs.payload_span import payload_bytes, take_apart
from sender.validation.parser import Parser
from tests.support.parsing import NOW, SEND, parse


def job(data: bytes | dict[str, Any], kind: str = "email") -> Job:
    found = parse(data, kind)
    assert isinstance(found, Job), found
    return found


def codes(data: bytes | dict[str, Any], kind: str = "email") -> set[str]:
    found = parse(data, kind)
    assert isinstance(found, Invalid), found
    return {problem.code for problem in found.problems}


def test_the_two_forms_ask_for_the_same() -> None:
    bare, envelope = job(SEND), job({"payload": SEND})
    assert bare.key == envelope.key == bare.id
    assert bare.path == "/v1/send/email"
    assert job({"id": 17, "payload": SEND}).key == job({"id": "17", "payload": SEND | {"language": "de"}}).key


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\xff{}", "invalid_utf8"),
        (b"{", "invalid_json"),
        (b"[]", "not_an_object"),
        (b"3", "not_an_object"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "too_deep"),
        ({"kind": "email"}, "missing_payload"),
        ({"id": "a", **SEND}, "envelope_key"),
        ({"kind": "emial", "payload": SEND}, "unknown_kind"),
        ({"kind": 3, "payload": SEND}, "unknown_kind"),
        ({"payload": SEND, "prioritty": "high"}, "unknown_key"),
        ({"payload": [1]}, "wrong_type"),
        ({"payload": SEND, "id": ""}, "bad_id"),
        ({"payload": SEND, "id": True}, "bad_id"),
        ({"payload": SEND, "id": "x" * 257}, "bad_id"),
        ({"payload": SEND, "priority": "urgent"}, "bad_priority"),
        ({"payload": SEND, "expires_at": "soon"}, "bad_expires_at"),
        ({"payload": SEND, "expires_at": NOW - 1}, "expired"),
        ({"payload": SEND, "meta": "x" * 1100}, "meta_too_large"),
        ({"payload": SEND, "workspace": 3}, "bad_workspace"),
        ({"payload": SEND, "broadcast_id": 3}, "unused_path_id"),
        ({"kind": "broadcast", "id": "a", "payload": {}}, "missing_path_id"),
        ({"kind": "broadcast", "id": "a", "broadcast_id": "3", "payload": {}}, "bad_path_id"),
        ({"kind": "broadcast", "id": "a", "broadcast_id": 0, "payload": {}}, "bad_path_id"),
        ({"kind": "broadcast", "broadcast_id": 3, "payload": {}}, "missing_id"),
    ],
)
def test_bad_lines(line: Any, code: str) -> None:
    assert code in codes(line)


def test_every_problem_is_told_and_the_id_is_kept() -> None:
    found = parse({"id": "a", "payload": {"subject": 3, "tracked": "yes", "identifiers": {}}, "priority": 1})
    assert isinstance(found, Invalid)
    assert found.id == "a"
    assert {problem.code for problem in found.problems} >= {
        "bad_priority",
        "wrong_type",
        "missing_field",
        "bad_identifiers",
    }


def test_an_unknown_key_names_the_near_one_and_a_bare_line_names_payload() -> None:
    for line, word in (
        ({"payload": SEND, "prioritty": "low"}, "priority"),
        ({"id": "x", **SEND}, "payload"),
        ({"kind": "email"}, '"payload": {}'),
        ({"kind": "emial", "payload": {}}, "email"),
    ):
        found = parse(line)
        assert isinstance(found, Invalid)
        assert any(word in problem.message for problem in found.problems), found


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in SEND_KINDS])
def test_a_kind_that_needs_an_envelope_is_told_a_whole_line(kind: str) -> None:
    found = parse(b"{}", kind)
    assert isinstance(found, Invalid)
    assert found.problems[0].code == "bare_kind"
    example = found.problems[0].message.partition(": ")[2]
    assert job(example.encode(), "email").kind.name == kind


HUGE = 12345678901234567890123


def test_integers_over_64_bits_keep_their_digits() -> None:
    """The decoder reads them as decimals: ids were refused that the API takes."""
    assert job(b'{"id":%d,"payload":%s}' % (HUGE, orjson.dumps(SEND))).id == str(HUGE)
    assert job({"id": 2**64, "payload": SEND}).key == job({"id": str(2**64), "payload": SEND}).key
    found = job(SEND | {"identifiers": {"id": HUGE}})
    assert found.key != job(SEND | {"identifiers": {"id": HUGE + 1}}).key
    assert person_of(read_payload(found.body), found.body) == {"id": str(HUGE)}
    broadcast = {"id": HUGE, "kind": "broadcast", "broadcast_id": HUGE, "payload": {"ids": [HUGE], "data": {"n": HUGE}}}
    assert job(broadcast).path == f"/v1/campaigns/{HUGE}/triggers"
    assert codes(b'{"id":1e30,"payload":%s}' % orjson.dumps(SEND)) == {"bad_id"}
    assert codes({"id": int("1" * 300), "payload": SEND}) == {"bad_id"}


@pytest.mark.parametrize("line", [
    {"id": "a", "payload": SEND}, {"payload": SEND, "id": 7}, {"id": HUGE, "workspace": "w", "payload": SEND},
    {"id": "b", "payload": SEND | {"subject": "\ud83d"}},
])
def test_the_key_of_a_line_is_that_of_its_job(line: dict[str, Any]) -> None:
    raw = json.dumps(line).encode()
    assert Parser().key_of(raw) == job(raw).key
    assert Parser().key_of(json.dumps(line["payload"]).encode()) is None


def test_a_person_is_looked_for_without_what_is_null() -> None:
    found = job(SEND | {"identifiers": {"id": "42", "email": None}})
    assert person_of(read_payload(found.body), found.body) == {"id": "42"}


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00", "\\ud83dx", "\\ude00\\ud83d"])
def test_half_an_emoji_is_sent_as_it_is_and_warned_of_with_its_place(half: str) -> None:
    text = json.dumps(SEND)[:-1] + f', "subject": "\\\\ {half}"}}'
    for line in (text, f'{{"payload": {text}}}', f'{{"payload": {text}, "kind": "email"}}'):
        found = job(line.encode())
        assert found.body == text.encode()
        assert [warning.code for warning in found.warnings] == ["half_character"]
        assert f"byte {line.index(half)} of the line" in found.warnings[0].message
        assert read_payload(found.body)["subject"].startswith("\\ \ufffd")
    number = text[:-1] + ', "message_data": {"n": 12345678901234567.5}}'
    assert job(number.encode()).body == number.encode()


@pytest.mark.parametrize("name", ["id", "meta", "workspace"])
def test_half_an_emoji_outside_of_the_payload_is_refused(name: str) -> None:
    found = parse(f'{{"{name}": "\\ud83d", "payload": {json.dumps(SEND)}}}'.encode())
    assert isinstance(found, Invalid)
    assert "half an emoji" in found.problems[0].message


@given(st.text(st.sampled_from('\\u dD83e0cfFx"'), max_size=30))
def test_mending_changes_nothing_but_halves(text: str) -> None:
    data = b'"%b"' % text.encode()
    try:
        strict = json.loads(data)
    except ValueError:
        return
    mended, halves = mend(data)
    assert len(mended) == len(data)
    assert bool(halves) == any(0xD800 <= ord(char) < 0xE000 for char in strict)
    assert orjson.loads(mended) == re.sub("[\ud800-\udfff]", "\ufffd", strict)


PAIRS = st.lists(
    st.tuples(st.sampled_from(["a", ":x", 'q"', "b\\"]), st.sampled_from(["v", ":", '":', " :"])), max_size=6
)


@given(PAIRS, PAIRS, st.sampled_from([": ", ":", " :"]), st.booleans())
def test_keys_that_stand_twice_are_seen(
    outer: list[tuple[str, str]], inner: list[tuple[str, str]], colon: str, envelope: bool
) -> None:
    def write(pairs: list[tuple[str, str]], *more: str) -> str:
        members = (f"{json.dumps(key)}{colon}{json.dumps(value)}" for key, value in pairs)
        return "{" + ", ".join([*members, *more]) + "}"

    data = f'"message_data"{colon}{write(inner)}'
    rest = [f"{json.dumps(key)}{colon}{json.dumps(value)}" for key, value in SEND.items() if key != "to"]
    payload = write([("to", "a@b.c"), *outer], *rest, data, '"z":0')
    line = f'{{"id"{colon}"1", "meta"{colon}{{"m"{colon}":"}}, "payload"{colon}{payload}}}' if envelope else payload
    found = job(line.encode())
    twice = any(len({key for key, _ in pairs}) < len(pairs) for pairs in (inner, outer))
    assert ("duplicate_key" in {warning.code for warning in found.warnings}) == twice


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"id":"1","id":"2","payload":%s}', "id"),
        (b'{"payload":{},"payload":%s}', "payload"),
        (b'{"payload":%s,"payload":{"to":"a@b.c","transactional_message_id":1,"identifiers":{"id":"1"}}}', "payload"),
        (b'{"to":"x@b.c",%s', "to"),
    ],
)
def test_a_key_of_ours_that_stands_twice_is_named(line: bytes, field: str) -> None:
    payload = orjson.dumps(SEND)
    found = job(line % (payload if line.endswith(b"}") else payload[1:]))
    assert [(warning.code, warning.field) for warning in found.warnings] == [("duplicate_key", field)]


@pytest.mark.parametrize(
    "members", [b'"n":1,"n":1e8', b'"n":1,"n":1e8,"m":0.5', b'"n":1,  "n":2', b'"\\u006e":1,"n":2']
)
def test_a_key_that_stands_twice_is_seen_though_nothing_became_shorter(members: bytes) -> None:
    """Decimals may be written longer than they stood, and make up for what was dropped."""
    payload = orjson.dumps(SEND)[:-1] + b',"message_data":{%b}}' % members
    for line in (payload, b'{"id":"a:b","payload":%b}' % payload, b'{"payload":%b,"id":"a"}' % payload):
        assert [warning.code for warning in job(line).warnings] == ["duplicate_key"]


@given(st.dictionaries(st.sampled_from(["subject", "language", "message_data"]), st.none() | st.just("x\ud83d")),
       st.sampled_from([{"id": "1"}, {"id": HUGE}, {"id": "1", "email": None}, {"cio_id": "a", "id": None}]),
       st.integers(0, 9000))
def test_what_a_job_is_recognised_by_is_what_its_body_says(more: dict[str, Any], person: Any, size: int) -> None:
    found = parse({"payload": SEND | more | {"identifiers": person, "message_data": {"a": "b" * size}}})
    if isinstance(found, Job):
        assert found.recognised_by() == found._replace(traits=None).recognised_by()
        assert (found.traits is None) == (len(found.body) > 8192), "a large payload's texts are not held on to"


def test_an_expiry_in_milliseconds_is_warned_of() -> None:
    assert [one.code for one in job({"payload": SEND, "expires_at": NOW * 1000}).warnings] == ["milliseconds"]


@pytest.mark.parametrize("number", ["1e400", "-1e999", "9" * 5000])
def test_a_number_that_nobody_can_hold_is_named_as_such(number: str) -> None:
    """It was said that the line is not JSON."""
    found = parse(b'{"to":"a@b.co","message_data":{"x":' + number.encode() + b"}}")
    assert isinstance(found, Invalid)
    assert "too great" in found.problems[0].message


def test_a_misspelt_payload_is_told_once() -> None:
    found = parse({"kind": "email", "paylaod": SEND})
    assert isinstance(found, Invalid)
    assert [(one.code, "payload" in one.message) for one in found.problems] == [("unknown_key", True)]


def test_path_ids_stand_in_the_path() -> None:
    content = {"kind": "content", "id": 1, "transactional_id": 3, "content_id": 9, "payload": {"body": "x"}}
    assert job(content).path == "/v1/transactional/3/content/9"


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "broadcast", "payload": {}},
        {"payload": SEND},
        SEND,
        {"kind": "newsletter_send", "payload": {}},
        {"kind": "content", "payload": {}},
        {"kind": "nonsense", "payload": {}},
        {"payload": {"message_data": {"kind": "broadcast"}}},
        *({"kind": name, "id": "a", **dict.fromkeys(kind.path_ids, 3), "payload": payload}
          for name, kind in KINDS.items() for payload in (SEND, {"body": "x"}, {"scheduled_at": 1, "timezone": "UTC"})),
    ],
)
def test_lane_of_agrees_with_parse(line: dict[str, Any]) -> None:
    parser = Parser()
    raw = json.dumps(line).encode()
    escaped = raw.replace(b"broadcast", b"\\u0062roadcast")
    spaced = raw.replace(b'"kind":', b'"kind"\t \r:')
    twice = raw.replace(b'"kind": "broadcast"', b'"kind": "email", "kind": "broadcast"')
    for data in (raw, escaped, spaced, twice, raw.replace(b'"kind"', b'"\\u006bind"')):
        found = parser.parse(Line("f", 1, data), NOW)
        kind = found.kind if isinstance(found, Job) else None
        if kind is not None:
            assert parser.lane_of(data) == kind.lane
    assert parser.lane_of(b"nonsense") == "send"
    assert Parser("broadcast").lane_of(b"nonsense") == "trigger"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=4)


@given(st.binary(max_size=200))
def test_parse_never_raises(data: bytes) -> None:
    assert isinstance(parse(data), Invalid | Job)


@given(st.lists(st.tuples(st.sampled_from(["payload", "id", "kind", "x"]), OBJECTS | st.text(max_size=5)), max_size=5),
       OBJECTS, st.booleans(), st.sampled_from(["", " ", "\t", " \r\n"]), st.booleans())
def test_payload_bytes_are_exactly_the_last_payloads(
    members: list[tuple[str, Any]], payload: dict[str, Any], last: bool, space: str, escape: bool
) -> None:
    """Duplicate keys, nested payloads, strings with braces and quotes, odd white space, escaped names."""
    text = json.dumps(payload, ensure_ascii=False)
    name = '"\\u0070ayload"' if escape else '"payload"'
    mine = f"{name}{space}:{space}{text}"
    others = [f"{json.dumps(key)}:{space}{json.dumps(value)}" for key, value in members]
    before = others
    after = [] if last else [one for (key, _), one in zip(members, others, strict=True) if key != "payload"]
    line = ("{" + f"{space},{space}".join([*before, mine, *after]) + space + "}").encode()
    document = orjson.loads(line)
    assert payload_bytes(line) == text.encode()
    apart = take_apart(line)
    assert apart is None or apart == (document, text.encode())
    assert apart is not None or not last or escape or any(key == "payload" for key, _ in members)


@pytest.mark.parametrize(
    "line",
    [
        b'{"payload":0,"meta":{"payload":{}}}', b'{"payload":0,"a\\"payload":{}}', b'{"payload":{}}}', b'{"payload":{}',
        b'{"payload":{},"id":"1"}', b'{"id":"}","x":"\\"payload\\":{}"}', b'[{"payload":{}}]',
        b'{"payload":{},"payload":{}}',
        b'{"a":{"payload":{}}}', b'{"payload":1} {"payload":{}}', b"}", b"", b'{"payload":{"a":}}',
    ],
)
def test_what_is_not_plainly_a_last_payload_is_not_taken_apart(line: bytes) -> None:
    assert take_apart(line) is None


@given(st.recursive(st.none() | st.booleans() | st.integers(-2**63, 2**63) | st.text(':,[]{}.eE0123456789- "\\\\'),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(".eE:0"), inner)))
def test_a_decimal_is_seen_wherever_it_stands(value: Any) -> None:
    """Decimals decide how a payload is written for its hash; the quick look must not pass over one."""
    for number in (0.5, -2.0, 1e300, 5e-324, -1e16, float(2**64)):
        for payload in ({"a": number, "b": value}, {"a": value, "b": [value, number]}, {"a": {"": [[number]]}}):
            assert _may_have_float(orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)), payload


@given(OBJECTS)
def test_writing_it_otherwise_does_not_change_who_it_is(payload: dict[str, Any]) -> None:
    plain = parse({"kind": "push", "payload": SEND | {"message_data": payload}})
    turned = dict(reversed((SEND | {"message_data": dict(reversed(payload.items()))}).items()))
    spaced = json.dumps({"payload": turned, "kind": "push"}, indent=1, ensure_ascii=False).encode()
    other = parse(spaced)
    assert isinstance(plain, Job)
    assert isinstance(other, Job)
    assert (plain.key, plain.content) == (other.key, other.content)


def test_equal_numbers_are_equal_and_others_are_not() -> None:
    def key(number: str) -> str:
        return job(b'{"transactional_message_id":3,"identifiers":{"id":"1"},"to":"a@b","message_data":{"n":%s}}'
                   % number.encode()).key

    assert key("1") == key("1.0") == key("1e0") == key("10e-1") == key("1.000000000000000000000")
    assert key("0") == key("-0.0")
    assert key("12.5") == key("1250e-2")
    big = "12345678901234567890123"
    different = ["1", "true", '"1"', "12.5", big, big[:-1] + "4", "0.1", "0.10000000000000000001", "1e30", "1e31"]
    assert len({key(number) for number in different}) == len(different)


@pytest.mark.parametrize("depth", [100, 200, 253, 254, 255, 300, 500, 900, 1020, 1030, 5000])
@pytest.mark.parametrize("place", ["payload", "meta", "message_data"])
@pytest.mark.parametrize("number", ["1", "1.5", "12345678901234567890.5", "1e-" + "9" * 5000, "1" * 5000, "-1e999"])
def test_no_nesting_and_no_number_breaks_the_parser(depth: int, place: str, number: str) -> None:
    nested = '{"a":' * depth + number + "}" * depth
    payload = json.dumps(SEND)[:-1] + (f', "message_data": {nested}}}' if place == "message_data" else "}")
    more = f', "meta": {nested}' if place == "meta" else ""
    line = f'{{"payload": {nested if place == "payload" else payload}{more}}}'.encode()
    found = parse(line)
    assert isinstance(found, Invalid | Job)
    if depth > 1024:
        assert isinstance(found, Invalid)
    Parser().lane_of(line)


def test_great_and_tiny_numbers() -> None:
    def key(number: str) -> str:
        line = b'{"transactional_message_id":3,"identifiers":{"id":"1"},"to":"a@b","message_data":{"n":%s}}'
        return job(line % number.encode()).key

    assert key("1e40") == key("1" + "0" * 40) == key("10e39")
    assert len({key(number) for number in ("0", "1e-400", "1e-401", "1e-300", "1e40", "1e41")}) == 6


def test_a_bom_does_not_change_the_lane() -> None:
    line = json.dumps({"kind": "broadcast", "id": "a", "broadcast_id": 3, "payload": {}}).encode()
    assert Parser().lane_of(b"\xef\xbb\xbf" + line) == "trigger"


def test_golden_identities() -> None:
    """These never change between versions: a ledger would forget its jobs."""
    golden = json.loads(Path(__file__).with_name("golden_identities.json").read_text())
    assert len(golden) == 5
    for entry in golden:
        found = job(entry["line"].encode())
        assert (found.key, found.content) == (entry["key"], entry["content"]), entry["line"]


@given(st.dictionaries(st.text(min_size=4, max_size=10), JSON, max_size=5))
def test_no_message_repeats_the_payload(payload: dict[str, Any]) -> None:
    marked = {f"zq{key}": value for key, value in payload.items()}
    marked |= {"to": "zqsecret", "identifiers": {"zqsecret": "zqsecret"}, "attachments": {"zqsecret": "zq secret"},
               "headers": {"zq secret": "zqsecretß"}}
    found = parse({"id": "a", "payload": marked})
    assert isinstance(found, Invalid)
    for problem in (*found.problems, *found.warnings):
        assert "zq" not in problem.message
        assert "zq" not in (problem.field or "")
        assert problem.code in PROBLEMS or problem.code in WARNINGS
