"""What follows from a verdict: one row for each, and the counters beside it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.engine.backoff import Backoff
from sender.engine.decision import MOST_SHOWN, Attempt, Decision, decide
from sender.engine.job_execution import JobExecution
from sender.engine.lane_context import Policy
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.jobs.problem import Problem
from sender.transport.verdict import Verdict

NOW = 1_000.0
PATHS = {"newsletter_send": "/v1/newsletters/7/send", "newsletter_schedule": "/v1/newsletters/7/schedule"}


class Highest(Random):
    """Chance that is never kind: every delay is the longest one."""

    def uniform(self, a: float, b: float) -> float:
        return b


POLICY = Policy(max_attempts=3, backoff=Backoff(initial=1.0, cap=60.0, random=Highest()))


def policy(**more: Any) -> Policy:
    return Policy(**{"max_attempts": 3, "backoff": POLICY.backoff} | more)


def execution(kind: str = "email", **more: Any) -> JobExecution:
    body = b'{"to":"ada@example.com","subject":"Your receipt"}'
    job = Job("a", "k", "c", KINDS[kind], PATHS.get(kind, "/v1/send/email"), body, "f", 4)
    return JobExecution(job, attempts=2, **more)


def attempt(one: JobExecution, verdict: Verdict, **more: Any) -> Attempt:
    return Attempt(**{"execution": one, "verdict": verdict, "latency": None, "body": None, "outage": False} | more)


def status_of(decision: Decision) -> str | None:
    if decision.outcome is None:
        return None
    assert decision.outcome.finished_at == NOW
    return decision.outcome.status


RETRY = Verdict("retry", "server_error", "down", http_status=503)
UNCLEAR = Verdict("ambiguous", "timeout", "no answer")


def test_what_was_sent_is_told_with_its_answer() -> None:
    verdict = Verdict("sent", http_status=200, result=(("delivery_id", "d"),))
    decision = decide(attempt(execution(tries=1, refusals=2), verdict, latency=0.25, body=b"ok"), POLICY, NOW)
    assert (decision.tries, decision.refusals, decision.resendable) == (1, 2, True)
    outcome = decision.outcome
    assert outcome is not None
    assert (outcome.status, outcome.http_status, outcome.problems) == ("sent", 200, ())
    assert outcome.result == (("delivery_id", "d"),), "an answer is kept only where a job was not sent"
    assert (outcome.finished_at, outcome.latency_ms) == (NOW, 250.0)
    assert (outcome.id, outcome.line, outcome.attempts) == ("a", 4, 2)


@pytest.mark.parametrize("what", ["rejected", "kind_refused"])
def test_a_refusal_is_told_with_what_the_api_says_masked(what: Any) -> None:
    verdict = Verdict(what, "api_error", "bad Your receipt", "to", http_status=400)
    more = Problem("api_error", "recipients", "one more")
    decision = decide(attempt(execution(), verdict, details=(more,)), POLICY, NOW)
    assert status_of(decision) == "rejected"
    assert decision.outcome is not None
    assert decision.outcome.http_status == 400
    assert decision.outcome.problems == (Problem("api_error", "to", "bad ***"), more)
    assert decision.outcome.latency_ms is None


@pytest.mark.parametrize(
    ("log_bodies", "body", "kept"),
    [
        (True, b"x" * 3000, (("n", 1), ("answer", "x" * MOST_SHOWN))),
        (True, b"\xff", (("n", 1), ("answer", "�"))),
        (True, None, (("n", 1),)),
        (False, b"x", (("n", 1),)),
    ],
)
def test_answers_to_what_was_not_sent_are_kept_when_asked_for(log_bodies: bool, body: bytes | None, kept: Any) -> None:
    verdict = Verdict("rejected", "api_error", "bad", result=(("n", 1),))
    decision = decide(attempt(execution(), verdict, body=body), policy(log_bodies=log_bodies), NOW)
    assert decision.outcome is not None
    assert decision.outcome.result == kept
    assert status_of(decision) == "rejected"


def test_a_known_acceptance_without_an_id_is_never_sent_again() -> None:
    decision = decide(attempt(execution(), Verdict("accepted_id_unknown", "accepted_id_unknown", "m")), POLICY, NOW)
    assert (status_of(decision), decision.resendable) == ("in_doubt", False)
    assert decide(attempt(execution(), UNCLEAR), POLICY, NOW).resendable


@pytest.mark.parametrize(
    ("kind", "in_doubt", "ends"),
    [
        ("email", "hold", "in_doubt"), ("email", "resend-if-absent", "in_doubt"), ("email", "resend", None),
        ("newsletter_send", "resend", "in_doubt"), ("broadcast", "resend", "in_doubt"),
    ],
)
def test_only_sends_go_again_after_a_doubt_and_only_when_told(kind: str, in_doubt: Any, ends: str | None) -> None:
    decision = decide(attempt(execution(kind), UNCLEAR), policy(in_doubt=in_doubt), NOW)
    assert status_of(decision) == ends
    assert decision.tries == (1 if ends is None else 0)


@pytest.mark.parametrize(
    ("verdict", "before", "outage", "expected"),
    [
        (RETRY, 0, False, Decision(delay=1.0, tries=1)),
        (RETRY, 1, False, Decision(delay=2.0, tries=2)),
        (RETRY, 0, True, Decision(delay=1.0)),
        (RETRY, 2, True, Decision(delay=2.0, tries=2)),
        (RETRY._replace(retry_after=9.0), 0, False, Decision(delay=10.0, tries=1)),
        (Verdict("halt_run", "api_error", "key"), 2, False, Decision(delay=1.0, tries=2)),
    ],
)
def test_what_goes_again_and_when(verdict: Verdict, before: int, outage: bool, expected: Decision) -> None:
    one = execution(tries=before, refusals=6)
    assert decide(attempt(one, verdict, outage=outage), POLICY, NOW) == expected._replace(refusals=6)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({}, Verdict("retry", "rate_limited", "slow down", http_status=429, retry_after=5.0, throttled=True)),
        ({"queue_full": True}, Verdict("rejected", "api_error", "full", http_status=422, retry_after=5.0)),
    ],
)
def test_429s_and_a_full_queue_of_triggers_do_not_count_against_the_job(more: Any, verdict: Verdict) -> None:
    decision = decide(attempt(execution(tries=2, refusals=2), verdict, **more), POLICY, NOW)
    assert decision == Decision(delay=5.0 + 4.0, tries=2, refusals=3)


@pytest.mark.parametrize(
    ("verdict", "doubted", "status"),
    [(RETRY, False, "failed"), (RETRY, True, "in_doubt"), (UNCLEAR, False, "in_doubt"), (UNCLEAR, True, "in_doubt")],
)
def test_the_last_attempt(verdict: Verdict, doubted: bool, status: str) -> None:
    """A job that may have been accepted before is no failed one, whatever its last attempt came to."""
    for tries in (2, 5):
        one = execution(tries=tries, doubted_since=NOW - 9 if doubted else None)
        decision = decide(attempt(one, verdict), policy(in_doubt="resend"), NOW)
        assert status_of(decision) == status
        assert decision.outcome is not None
        assert decision.outcome.problems == (Problem(verdict.code, None, verdict.message),)


def test_what_may_be_repeated_is_never_in_doubt() -> None:
    decision = decide(attempt(execution("newsletter_schedule", tries=2, doubted_since=NOW - 9), RETRY), POLICY, NOW)
    assert status_of(decision) == "failed"


SENT_BEFORE = Verdict("rejected", "api_error", "was already sent", http_status=400)
UNSCHEDULED_BEFORE = Verdict("rejected", "api_error", "it is not scheduled", http_status=400)


@pytest.mark.parametrize(
    ("kind", "doubted", "verdict", "status"),
    [
        ("newsletter_send", True, SENT_BEFORE, "sent"),
        ("newsletter_send", False, SENT_BEFORE, "rejected"),
        ("newsletter_send", True, SENT_BEFORE._replace(http_status=422), "rejected"),
        ("newsletter_send", True, SENT_BEFORE._replace(message="cannot be sent"), "rejected"),
        ("newsletter_send", True, SENT_BEFORE._replace(message="already archived"), "rejected"),
        ("email", True, SENT_BEFORE, "rejected"),
    ],
)
def test_a_newsletter_that_went_out_with_the_doubtful_try(
    kind: str, doubted: bool, verdict: Verdict, status: str
) -> None:
    decision = decide(attempt(execution(kind, doubted=doubted), verdict), POLICY, NOW)
    assert status_of(decision) == status
    assert decision.outcome is not None
    assert decision.outcome.result == ((("newsletter_id", 7),) if status == "sent" else ())


@pytest.mark.parametrize(
    ("body", "doubted", "verdict", "status"),
    [
        (b'{"scheduled_at":0}', True, UNSCHEDULED_BEFORE, "sent"),
        (b'{"scheduled_at":0}', False, UNSCHEDULED_BEFORE, "rejected"),
        (b'{"scheduled_at":1900000000}', True, UNSCHEDULED_BEFORE, "rejected"),
        (b'{"scheduled_at":0}', True, SENT_BEFORE, "rejected"),
        (b'{"scheduled_at":0}', True, UNSCHEDULED_BEFORE._replace(http_status=404), "rejected"),
    ],
)
def test_a_newsletter_that_was_taken_off_the_schedule_by_the_doubtful_try(
    body: bytes, doubted: bool, verdict: Verdict, status: str
) -> None:
    one = execution("newsletter_schedule", doubted=doubted)
    one.job = one.job._replace(body=body)
    decision = decide(attempt(one, verdict), POLICY, NOW)
    assert status_of(decision) == status
    assert decision.outcome is not None
    assert decision.outcome.result == ((("newsletter_id", 7),) if status == "sent" else ())


def test_a_newsletters_own_number_is_kept() -> None:
    verdict = Verdict("sent", http_status=200, result=(("newsletter_id", 8),))
    decision = decide(attempt(execution("newsletter_send"), verdict), POLICY, NOW)
    assert decision.outcome is not None
    assert decision.outcome.result == (("newsletter_id", 8),)
    nameless = decide(attempt(execution(), Verdict("sent", http_status=200)), POLICY, NOW)
    assert nameless.outcome is not None
    assert nameless.outcome.result == ()


@given(
    what=st.sampled_from(["sent", "rejected", "retry", "ambiguous", "accepted_id_unknown", "halt_run"]),
    in_doubt=st.sampled_from(["hold", "resend-if-absent", "resend"]),
    kind=st.sampled_from(["email", "broadcast", "newsletter_send", "content"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    tries=st.integers(0, 5),
    retry_after=st.none() | st.floats(0, 1000),
)
def test_an_unclear_end_is_never_called_an_end(
    what: Any, in_doubt: Any, kind: str, flags: tuple[bool, bool, bool], tries: int, retry_after: float | None
) -> None:
    """What may have been accepted ends as in doubt or goes again; a wait is never below the API's own."""
    outage, queue_full, doubted = flags
    verdict = Verdict(what, "c", "m", retry_after=retry_after)
    one = execution(kind, tries=tries, doubted=doubted)
    decision = decide(attempt(one, verdict, outage=outage, queue_full=queue_full), policy(in_doubt=in_doubt), NOW)
    if decision.outcome is None:
        assert decision.delay >= (retry_after or 0.0) or what == "halt_run"
        assert decision.tries - tries in (0, 1)
        assert decision.tries == tries or decision.tries < 3
    elif what in ("ambiguous", "accepted_id_unknown"):
        assert decision.outcome.status == "in_doubt"
    else:
        ends = {"sent": ("sent",), "rejected": ("rejected",)}
        assert decision.outcome.status in ends.get(what, ("failed", "in_doubt"))
