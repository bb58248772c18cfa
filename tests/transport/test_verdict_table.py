"""Whole verdicts: status, body and fault in, everything that the lane and the outcome need out."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from sender.jobs.kinds import KINDS
from sender.transport import Reply, TransportFault
from sender.transport.error_body import ApiError
from sender.transport.verdict import MOST_RETRY_AFTER, Rules, Verdict, judge, parse_retry_after

WALL = 1_000_000.0
NOPE = b'{"meta":{"error":"nope"}}'
SAID = ApiError("nope", structured=True)
WHY = "the API answered {}: nope"
REFUSED_KEY = (
    r"^the API refuses the key \(401\): check that it is an App API key of this workspace, and that --region names "
    r"the workspace's region$"
)
UNKNOWN = "the API accepted the job with {}; its id is not known, and it is never sent again"


def judged(kind: str, status: int, body: bytes, retry_after: str | None = None, content_type: str = "") -> Verdict:
    return judge(KINDS[kind], Reply(status, content_type, body, retry_after), Rules(), wall=WALL)


ACCEPTED: list[tuple[str, int, bytes, Verdict]] = [
    ("email", 200, b'{"delivery_id":"d","queued_at":5,"send_at":6,"other":7}',
     Verdict("sent", http_status=200, result=(("delivery_id", "d"), ("queued_at", 5), ("send_at", 6)))),
    ("email", 299, b'{"delivery_id":7}', Verdict("sent", http_status=299, result=(("delivery_id", 7),))),
    ("broadcast", 202, b'{"id":7}', Verdict("sent", http_status=202, result=(("trigger_id", 7),))),
    ("newsletter_send", 201, b'{"newsletter":{"id":3,"name":"n"}}',
     Verdict("sent", http_status=201, result=(("newsletter_id", 3),))),
    ("newsletter_send", 200, b'{"newsletter":{"id":"3"}}', Verdict("sent", http_status=200)),
    ("newsletter_send", 200, b'{"newsletter":3}', Verdict("sent", http_status=200)),
    ("newsletter_send", 200, b'["newsletter"]', Verdict("sent", http_status=200)),
    ("email", 200, b"<html>", Verdict("accepted_id_unknown", "accepted_id_unknown",
                                      UNKNOWN.format("an answer that is not JSON"), http_status=200)),
    ("email", 201, b'["delivery_id"]', Verdict("accepted_id_unknown", "accepted_id_unknown",
                                               UNKNOWN.format("an answer without delivery_id"), http_status=201)),
    ("broadcast", 200, b'{"id":1.5}', Verdict("accepted_id_unknown", "accepted_id_unknown",
                                              UNKNOWN.format("an answer without id"), http_status=200)),
    ("content", 202, b"", Verdict("retry", "answer_unreadable", "the API gave an answer that is not JSON",
                                  http_status=202, doubtful=True)),
]


@pytest.mark.parametrize(("kind", "status", "body", "expected"), ACCEPTED)
def test_an_accepted_request(kind: str, status: int, body: bytes, expected: Verdict) -> None:
    assert judged(kind, status, body) == expected


def refusal(what: Any, code: str, status: int, **more: Any) -> Verdict:
    return Verdict(what, code, WHY.format(status), http_status=status, error=SAID, **more)


REFUSED: list[tuple[str, int, str | None, Verdict]] = [
    ("email", 429, "7", refusal("retry", "rate_limited", 429, retry_after=7.0, throttled=True)),
    ("email", 429, formatdate(WALL + 60, usegmt=True),
     refusal("retry", "rate_limited", 429, retry_after=60.0, throttled=True)),
    ("email", 503, "7", refusal("retry", "server_error", 503, retry_after=7.0)),
    ("email", 503, None, refusal("retry", "server_error", 503)),
    ("email", 500, "7", refusal("ambiguous", "server_error", 500, retry_after=7.0, doubtful=True)),
    ("content", 500, "7", refusal("retry", "server_error", 500, retry_after=7.0, doubtful=True)),
    ("email", 501, None, refusal("ambiguous", "server_error", 501, doubtful=True)),
    ("email", 599, None, refusal("ambiguous", "server_error", 599, doubtful=True)),
    ("email", 400, None, refusal("rejected", "api_error", 400)),
    ("email", 422, None, refusal("rejected", "api_error", 422)),
    ("email", 499, None, refusal("rejected", "api_error", 499)),
    ("email", 404, None, refusal("rejected", "api_error", 404)),
    ("email", 405, None, refusal("rejected", "api_error", 405)),
    ("email", 199, None, refusal("rejected", "api_error", 199)),
    ("broadcast", 422, None, refusal("rejected", "api_error", 422, queue_full=True)),
    ("broadcast", 400, None, refusal("rejected", "api_error", 400)),
]


@pytest.mark.parametrize(("kind", "status", "retry_after", "expected"), REFUSED)
def test_a_refused_request(kind: str, status: int, retry_after: str | None, expected: Verdict) -> None:
    assert judged(kind, status, NOPE, retry_after) == expected


@pytest.mark.parametrize(
    ("error", "full"),
    [
        ({"detail": "too many"}, True),
        ({"detail": "see trigger 12"}, False),
        ({"detail": "bad", "source": {"pointer": "/data/attributes/ids"}}, False),
    ],
)
def test_a_full_queue_of_triggers_names_neither_field_nor_trigger(error: Any, full: bool) -> None:
    body = orjson.dumps({"errors": [error]})
    assert judged("broadcast", 422, body).queue_full is full
    assert judged("email", 422, body).queue_full is False


@pytest.mark.parametrize(
    ("pointer", "field"),
    [("/data/attributes/recipients/and/0", "recipients.and.0"), ("/elsewhere", ".elsewhere")],
)
def test_the_field_that_the_api_names(pointer: str, field: str) -> None:
    body = b'{"errors":[{"detail":"bad","source":{"pointer":"%s"}}]}' % pointer.encode()
    assert judged("broadcast", 400, body).field == field


def test_no_rule_makes_a_5xx_a_refusal() -> None:
    rules = Rules(safe=frozenset(), ambiguous=frozenset())
    assert judge(KINDS["email"], Reply(500, "", b""), rules).what == "ambiguous"
    assert judge(KINDS["email"], Reply(499, "", b""), rules).what == "rejected"


def test_a_refusal_that_says_nothing_names_its_status() -> None:
    assert judged("email", 400, b"{}").message == "the API answered 400"


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (401, NOPE, "", REFUSED_KEY),
        (300, b"", "", r"^the API answered with a redirect \(300\), which is never followed: check --base-url$"),
        (399, b"", "", r"^the API answered with a redirect \(399\)"),
        (404, b"\n <html>", "", r"^there is no such endpoint \(404, not in JSON\): check --base-url and --region$"),
        (405, b"none", "text/html", r"^there is no such endpoint \(405"),
    ],
)
def test_what_halts_a_run(status: int, body: bytes, content_type: str, says: str) -> None:
    halted = judged("email", status, body, content_type=content_type)
    assert (halted.what, halted.code, halted.http_status) == ("halt_run", "api_error", status)
    assert halted.error.message == ("nope" if body == NOPE else "" if content_type else body.decode().strip())
    assert re.search(says, halted.message)


def test_a_page_is_an_answer_of_the_api_where_it_refuses_the_job() -> None:
    assert judged("email", 400, b"<html>").what == "rejected"
    assert judged("email", 404, b"text<", content_type="text/plain").what == "rejected"


def test_a_refused_kind() -> None:
    assert judged("push", 403, NOPE) == refusal("kind_refused", "api_error", 403)
    content = judged("email", 403, b'{"meta":{"error":"FORBIDDEN FILE TYPE exe"}}')
    assert (content.what, content.code) == ("rejected", "api_error")
    assert judged("email", 400, b'{"meta":{"error":"forbidden file type"}}').what == "rejected"


@pytest.mark.parametrize(
    ("kind", "reach", "what"),
    [("email", "unwritten", "retry"), ("email", "written", "ambiguous"), ("content", "written", "retry")],
)
def test_no_answer(kind: str, reach: Any, what: Any) -> None:
    fault = TransportFault("timeout", reach, "no answer")
    assert judge(KINDS[kind], fault, Rules()) == Verdict(what, "timeout", "no answer", doubtful=reach == "written")


def test_the_longest_retry_after_is_bounded() -> None:
    assert parse_retry_after(str(MOST_RETRY_AFTER + 1), WALL) == MOST_RETRY_AFTER
    assert parse_retry_after("Thu, 32 Foo 2020 00:00:00 GMT", WALL) is None
