"""A rehearsal: everybody's message to one recipient, and no memory that production could take for its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.config.settings import Settings
from sender.errors import UsageError
from sender.jobs.job import Invalid, Job, Line
from sender.jobs.payload_span import with_members
from sender.send.redirect import Redirect
from sender.validation.parser import Parser
from tests.support.processes import email, outcomes, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

EMAIL = {"to": "a@b.co", "transactional_message_id": 3, "identifiers": {"id": "5"}}
BOTH = Settings(redirect_to="me@example.com,+15550001111")


def redirected(line: bytes | dict[str, Any], settings: Settings = BOTH) -> Job | Invalid:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    found = Parser().parse(Line("jobs", 1, data), 0.0)
    assert isinstance(found, Job), found
    redirect = Redirect.of(settings)
    assert redirect is not None
    return redirect.apply(found)


def payload_of(found: Job | Invalid) -> dict[str, Any]:
    assert isinstance(found, Job), found
    return json.loads(found.body)  # type: ignore[no-any-return]


def test_every_recipient_of_an_email_is_replaced_and_all_else_keeps_its_bytes() -> None:
    line = (
        b'{"id":"1","meta":{"batch":7},"payload":{"to":"a@b.c, d@e.f", "cc" :"x@y.z","bcc":"u@v.w","identifiers":'
        b'{"id":"42"},"transactional_message_id":3,"message_data":{"total" : 12.50,"n":12345678901234567890123}}}'
    )
    found = redirected(line)
    assert isinstance(found, Job)
    assert b'"message_data":{"total" : 12.50,"n":12345678901234567890123}' in found.body
    payload = payload_of(found)
    assert payload["to"] == payload["cc"] == payload["bcc"] == "me@example.com"
    assert payload["identifiers"] == {"email": "me@example.com"}
    assert {name: found.recognised_by()[name] for name in ("to", "identifiers")}.items() <= payload.items()
    assert json.loads(found.meta or b"") == {"sender_rehearsal": True, "batch": 7}
    for text in (b"a@b.c", b"d@e.f", b"x@y.z", b"u@v.w", b'"42"'):
        assert text not in found.body
    assert found.id == "1"


@pytest.mark.parametrize("headers", [
    {"Cc": "victim@real.com"}, {"X-A": "b", "BCC": "victim@real.com"}, '[{"name":"To","value":"victim@real.com"}]',
    [{"name": "Resent-To", "value": "victim@real.com"}],
])
def test_recipients_in_headers_are_refused(headers: Any) -> None:
    """They went out as they stood."""
    found = redirected({"id": "1", "payload": EMAIL | {"headers": headers}})
    assert isinstance(found, Invalid)
    assert found.problems[0].code == "cannot_redirect"
    kept = redirected({"id": "1", "payload": EMAIL | {"headers": {"Reply-To": "shop@real.com", "X-A": "b"}}})
    assert payload_of(kept)["headers"] == {"Reply-To": "shop@real.com", "X-A": "b"}


@pytest.mark.parametrize("kind", ["sms", "whatsapp"])
def test_a_number_is_replaced(kind: str) -> None:
    payload = {"to": "+15559998888", "transactional_message_id": 3, "identifiers": {"id": "42"}}
    found = payload_of(redirected({"id": "1", "kind": kind, "payload": payload}))
    assert found["to"] == "+15550001111"
    assert found["identifiers"] == {"email": "me@example.com"}


def test_a_device_is_nobody_elses() -> None:
    payload = {"to": "token" * 8, "transactional_message_id": 3, "identifiers": {"id": "42"},
               "custom_device": {"token": "t" * 20, "platform": "ios"}}
    settings = Settings(redirect_to="me@example.com", redirect_identifiers="id=tester-1")
    found = payload_of(redirected({"id": "1", "kind": "push", "payload": payload}, settings))
    assert found == {"transactional_message_id": 3, "identifiers": {"id": "tester-1"}}


@pytest.mark.parametrize(("kind", "to", "words"), [
    ("email", "+15550001111", "needs an address"), ("sms", "me@example.com", "needs a phone number"),
    ("in_app", "+15550001111", "needs a person"),
])
def test_who_cannot_be_reached_is_told(kind: str, to: str, words: str) -> None:
    payload = {"to": "a@b.c" if kind == "email" else "+15559998888", "transactional_message_id": 3,
               "identifiers": {"id": "42"}}
    found = redirected({"id": "1", "kind": kind, "payload": payload}, Settings(redirect_to=to))
    assert isinstance(found, Invalid)
    assert found.problems[0].code == "cannot_redirect"
    assert words in found.problems[0].message


@pytest.mark.parametrize("job", [
    {"id": "1", "kind": "broadcast", "broadcast_id": 1, "payload": {"recipients": {"segment": {"id": 1}}}},
    {"id": "1", "kind": "newsletter_send", "newsletter_id": 1, "payload": {}},
    {"id": "1", "kind": "content", "transactional_id": 1, "content_id": 1, "payload": {"subject": "s"}},
])
def test_what_goes_to_an_audience_is_refused(job: dict[str, Any]) -> None:
    found = redirected(job)
    assert isinstance(found, Invalid)
    assert found.problems[0].code == "cannot_redirect"


@pytest.mark.parametrize("text", ["me", "a@b.c,d@e.f", "+1,+2", "a@b.c,", "+15550001111,x"])
def test_another_recipient_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--redirect-to takes"):
        Redirect.of(Settings(redirect_to=text))


@pytest.mark.parametrize("text", ["42", "name=x", "id="])
def test_another_person_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--redirect-identifiers takes"):
        Redirect.of(Settings(redirect_to="a@b.c", redirect_identifiers=text))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json_values), st.dictionaries(st.text(max_size=4), st.none() | st.text()),
       st.booleans())
def test_members_are_replaced_and_the_others_kept(
    document: dict[str, Any], changes: dict[str, str | None], spaced: bool
) -> None:
    data = json.dumps(document, indent=1 if spaced else None, ensure_ascii=not spaced).encode(errors="replace")
    document = json.loads(data)
    members = {name: None if text is None else json.dumps(text).encode() for name, text in changes.items()}
    expected = {name: value for name, value in document.items() if name not in changes}
    expected |= {name: text for name, text in changes.items() if text is not None}
    assert json.loads(with_members(data, members)) == expected


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    return shared


REHEARSE = ("--redirect-to", "me@example.com")


def send(sandbox: Sandbox, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = run_sender(
        "send", "jobs.jsonl", "--base-url", sandbox.url, "--json", "--rate", "5000", "--no-reconcile", *arguments,
        cwd=folder, XDG_STATE_HOME=str(folder / "state"),
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


def test_a_rehearsal_never_marks_productions_jobs_as_done(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(20)])
    status, summary, _ = send(sandbox, tmp_path, *REHEARSE)
    assert (status, summary["sent"]) == (0, 20)
    assert summary["outcomes"] == "jobs.jsonl.rehearsal.jsonl"
    assert {message["payload"]["to"] for message in sandbox.messages} == {"me@example.com"}
    assert "person" not in json.dumps([message["payload"]["identifiers"] for message in sandbox.messages])
    assert all(line["meta"] == {"sender_rehearsal": True} for line in outcomes(tmp_path / "jobs.jsonl.rehearsal.jsonl"))
    assert send(sandbox, tmp_path, *REHEARSE)[1]["duplicate"] == 20, "a rehearsal has a memory too"
    sandbox.post("reset")
    status, summary, told = send(sandbox, tmp_path)
    assert (status, summary["sent"]) == (0, 20), told
    assert len({message["payload"]["to"] for message in sandbox.messages}) == 20
    status, summary, _ = send(sandbox, tmp_path, *REHEARSE, "--ledger", "another.ledger")
    assert (status, summary["sent"]) == (0, 20), "and what production has sent can still be rehearsed"


def test_neither_ledger_is_the_others(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    assert send(sandbox, tmp_path)[0] == 0
    ledger = "jobs.jsonl.outcomes.jsonl.ledger"
    status, _, told = send(sandbox, tmp_path, *REHEARSE, "--ledger", ledger)
    assert status == 2
    assert "(rehearsal)" in told
    assert send(sandbox, tmp_path, *REHEARSE)[0] == 0
    rehearsal = "jobs.jsonl.rehearsal.jsonl.ledger"
    assert send(sandbox, tmp_path, "--ledger", rehearsal)[0] == 2
    status, _, told = send(sandbox, tmp_path, "--ledger", "new.ledger", "--adopt", rehearsal)
    assert status == 2
    assert "cannot be taken over" in told
    assert len(sandbox.messages) == 6


def test_a_rehearsals_log_is_no_memory_either(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    assert send(sandbox, tmp_path, *REHEARSE)[0] == 0
    (tmp_path / "jobs.jsonl.rehearsal.jsonl.ledger").unlink()
    (tmp_path / "jobs.jsonl.rehearsal.jsonl").rename(tmp_path / "old.outcomes.jsonl")
    status, summary, told = send(sandbox, tmp_path, "--adopt", "old.outcomes.jsonl")
    assert (status, summary["sent"]) == (0, 3), told


def test_a_rehearsal_has_no_shared_memory_and_no_usual_name(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    assert "ledger of its own" in send(sandbox, tmp_path, *REHEARSE, "--state", "redis://127.0.0.1:1/0")[2]
    assert "is not called" in send(sandbox, tmp_path, *REHEARSE, "--outcomes", "x.outcomes.jsonl")[2]
    assert list(tmp_path.iterdir()) == [tmp_path / "jobs.jsonl"]


def test_a_list_keeps_out_the_jobs_own_recipient(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    (tmp_path / "out").write_text("person1@example.com\nme@example.com\n")
    status, summary, _ = send(sandbox, tmp_path, *REHEARSE, "--exclude", "out")
    assert (status, summary["sent"], summary["skipped"]) == (0, 2, 1)
