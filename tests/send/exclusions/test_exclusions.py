"""Who is kept out: lists in every form, one message for each recipient, and what is told of a wrong list."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.config.settings import Settings
from sender.errors import UsageError
from sender.jobs.job import Job, Line
from sender.send.exclusions.exclusion_list import read_exclusions
from sender.send.exclusions.exclusions import Exclusions
from sender.send.exclusions.people import digest_of
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from pathlib import Path


def job(kind: str = "email", job_id: str = "1", **payload: Any) -> Job:
    whole = {"transactional_message_id": 3, "identifiers": {"id": "42"}, **payload}
    line = json.dumps({"id": job_id, "kind": kind, "payload": whole}).encode()
    found = Parser().parse(Line("jobs", 1, line), 0.0)
    assert isinstance(found, Job), found
    return found


def judged(one: Job, *entries: str, folder: Path) -> str | None:
    path = folder / "list.txt"
    path.write_text("\n".join(entries))
    exclusions = Exclusions.of(Settings(exclude=(str(path),)))
    assert exclusions is not None
    problem = exclusions.judge(one)
    return None if problem is None else problem.code


@pytest.mark.parametrize("entry", [
    "ada@example.com", " ADA@Example.com ", "42", sha256(b"ada@example.com").hexdigest(),
    sha256(b"42").hexdigest().upper(),
])
def test_by_address_identifier_or_digest(entry: str, tmp_path: Path) -> None:
    assert judged(job(to='"Lovelace, Ada" <Ada@example.COM>'), "", entry, folder=tmp_path) == "excluded"


@pytest.mark.parametrize("field", ["cc", "bcc"])
def test_a_copy_is_a_message_too(field: str, tmp_path: Path) -> None:
    one = job(to="a@example.com", **{field: "b@example.com, C <c@example.com>"})
    assert judged(one, "c@example.com", folder=tmp_path) == "excluded"
    assert judged(one, "d@example.com", folder=tmp_path) is None


def test_by_phone_and_by_number(tmp_path: Path) -> None:
    assert judged(job("sms", to="+15551234567"), "+15551234567", folder=tmp_path) == "excluded"
    assert judged(job("push", identifiers={"id": 17}), "17", folder=tmp_path) == "excluded"
    assert judged(job("push", identifiers={"id": "Ab"}), "ab", folder=tmp_path) is None


def test_a_name_is_no_recipient_and_liquid_is_not_known(tmp_path: Path) -> None:
    assert judged(job(to='"x@example.com" <a@example.com>'), "x@example.com", folder=tmp_path) is None
    assert judged(job(to="{{customer.email}}"), "{{customer.email}}", folder=tmp_path) is None


@pytest.mark.parametrize("text", [
    "ok@example.com;kim@example.com", "ok@example.com; Kim@example.com", "ok@example.com kim@example.com",
    "ok@example.com\nkim@example.com", "Team: ok@example.com, kim@example.com;", "ok@example.com|kim@example.com",
    "ok@example.com\uff1bkim@example.com", "'kim@example.com'", '"kim@example.com"', 'K <"kim"@example.com>',
    "kim @ example.com", "kim@example.com.", "{{name}} <kim@example.com>", "ok@example.com/kim@example.com",
    "K <ok@example.com> <kim@example.com>", "{% if a %}kim@example.com{% endif %}",
])
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_an_address_in_a_text_that_is_no_proper_list(text: str, field: str, tmp_path: Path) -> None:
    one = job(**{"to": "a@example.com", field: text})
    assert judged(one, "kim@example.com", folder=tmp_path) == "excluded"
    assert judged(one, "im@example.com", "example.com", folder=tmp_path) is None


@pytest.mark.parametrize("headers", [
    {"Bcc": "kim@example.com"}, {"X-A": "1", "cc": "K <Kim@example.com>; b@example.com"},
    [{"name": "Resent-To", "value": "kim@example.com"}], '[{"name": "CC", "value": "kim@example.com"}]',
])
def test_an_address_in_a_header_that_names_recipients(headers: Any, tmp_path: Path) -> None:
    assert judged(job(to="a@example.com", headers=headers), "kim@example.com", folder=tmp_path) == "excluded"


def test_a_header_that_names_no_recipient_keeps_nobody_out(tmp_path: Path) -> None:
    one = job(to="a@example.com", headers={"X-Sold-By": "kim@example.com"})
    assert judged(one, "kim@example.com", folder=tmp_path) is None


@pytest.mark.parametrize("entry", ["Kim <kim@example.com>", "mailto:kim@example.com", "b@example.com; KIM@example.com"])
def test_an_entry_with_more_than_an_address(entry: str, tmp_path: Path) -> None:
    assert judged(job(to="kim@example.com"), entry, folder=tmp_path) == "excluded"


def test_the_digest_of_an_address_as_it_is_written(tmp_path: Path) -> None:
    as_written = sha256(b"Gus@Example.com").hexdigest()
    assert judged(job(to="Gus <Gus@Example.com>"), as_written, folder=tmp_path) == "excluded"
    assert judged(job(to="gus@example.com"), as_written, folder=tmp_path) is None


@pytest.mark.parametrize("entry", [
    "+1 555 000 1111", "+1 (555) 000-1111", "+1.555.000.1111", "tel:+15550001111", "15550001111",
    sha256(b"+15550001111").hexdigest(),
])
def test_a_phone_number_in_another_form(entry: str, tmp_path: Path) -> None:
    assert judged(job("sms", to="+15550001111"), entry, folder=tmp_path) == "excluded"
    assert judged(job("sms", to="+15550001112"), entry, folder=tmp_path) is None
    assert judged(job("push", identifiers={"id": "+1 555 0001111"}), "+15550001111", folder=tmp_path) == "excluded"


@pytest.mark.parametrize("rest", ["a" * 200_000 + "@" * 1000, "a@{{" * 30_000, " @ " * 50_000])
def test_a_long_text_is_searched_once(rest: str, tmp_path: Path) -> None:
    one = job(to=f"ok@example.com {rest}")
    assert judged(one, "kim@example.com", folder=tmp_path) is None


def test_a_broadcast_has_no_recipients_here(tmp_path: Path) -> None:
    line = b'{"id":"b","kind":"broadcast","broadcast_id":1,"payload":{"recipients":{"segment":{"id":1}}}}'
    broadcast = Parser().parse(Line("jobs", 1, line), 0.0)
    assert isinstance(broadcast, Job)
    assert judged(broadcast, "1", folder=tmp_path) is None


def test_columns(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_bytes(b'\xef\xbb\xbfname,email\r\n"Lovelace, Ada",ada@example.com\r\nshort\r\n')
    found = read_exclusions([f"{tmp_path}/out.csv:email"])
    assert (len(found), digest_of("ada@example.com") in found) == (1, True)
    (tmp_path / "one.tsv.gz").write_bytes(gzip.compress(b"email\nada@example.com\n", mtime=0))
    assert digest_of("ada@example.com") in read_exclusions([f"{tmp_path}/one.tsv.gz", f"{tmp_path}/out.csv:name"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_as_for_inputs(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("\n".join(delimiter.join(row) for row in (["id", "email"], ["1", "ada@example.com"])))
    assert digest_of("ada@example.com") in read_exclusions([f"{path}:email"])


def test_a_list_without_a_header_loses_nobody(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("ada@example.com\nb@example.com\n")
    found = read_exclusions([f"{tmp_path}/out.csv"])
    assert (len(found), digest_of("ada@example.com") in found) == (2, True)


def test_a_run_says_how_many_entries_each_list_gave(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ada@example.com\n\nb@example.com\n")
    (tmp_path / "b.csv").write_text("id\n7\n")
    with capture_logs() as logs:
        read_exclusions([f"{tmp_path}/a.txt", f"{tmp_path}/b.csv"])
    assert [(entry["list"], entry["entries"]) for entry in logs] == [
        (f"{tmp_path}/a.txt", 2), (f"{tmp_path}/b.csv", 1)
    ]


@pytest.mark.parametrize(("name", "data", "told"), [
    ("none.txt", None, "cannot be read: No such file"),
    ("two.csv", b"name,email\n", "has 2 columns; name one of them"),
    ("two.csv:emial", b"name,email\n", "has no column emial; is email meant?"),
    ("torn.csv:email", b'name,email\n"a,b\n', "is not CSV"),
    ("latin.txt", b"m\xfcller@example.com\n", "is not UTF-8"),
    ("long.txt", b"a" * 70_000, "long.txt:1 is longer than"),
    ("empty.txt", b"", "holds no entry"),
    ("blank.txt", b" \n\n", "holds no entry"),
    ("header.csv", b"email\n", "holds no entry"),
    ("short.csv:email", b"id;email\n1\n", "holds no entry"),
    ("semi.csv", b"id;email\n1;a@example.com\n", "has 2 columns; name one of them"),
    ("list.json", b'["a@example.com"]', "is no list"),
    ("cut.gz", gzip.compress(b"a@example.com\n" * 9, mtime=0)[:-9], "cannot be read: it is damaged"),
])
def test_a_wrong_list_is_told_before_anything_is_sent(name: str, data: bytes | None, told: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / name.partition(":")[0]).write_bytes(data)
    with pytest.raises(UsageError, match="--exclude") as caught:
        read_exclusions([f"{tmp_path}/{name}"])
    assert told in str(caught.value)


def unique(*words: str) -> Exclusions:
    found = Exclusions.of(Settings(unique=words))
    assert found is not None
    return found


def test_one_message_for_each_recipient() -> None:
    rules = unique("recipient")
    first, again = job(to="A <a@example.com>", job_id="1"), job(to="a@EXAMPLE.com", job_id="2")
    assert rules.judge(first) is None
    assert rules.judge(job(to="b@example.com", job_id="3")) is None
    problem = rules.judge(again)
    assert problem is not None
    assert problem.code == "not_unique"
    assert rules.judge(first) is None, "asked again, it is still the first"
    assert rules.judge(job("push", job_id="4")) is None
    assert rules.judge(job("in_app", job_id="5")) is not None, "the same person"


def test_one_message_for_each_recipient_and_template() -> None:
    rules = unique("recipient", "template")
    assert rules.judge(job(to="a@example.com", job_id="1")) is None
    assert rules.judge(job(to="a@example.com", job_id="2", transactional_message_id=4)) is None
    assert rules.judge(job(to="a@example.com", job_id="3")) is not None


def test_an_excluded_job_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("77")
    rules = Exclusions.of(Settings(unique=("recipient",), exclude=(str(tmp_path / "l"),)))
    assert rules is not None
    problem = rules.judge(job(to="a@example.com", identifiers={"id": "77"}))
    assert problem is not None
    assert problem.code == "excluded"
    assert rules.judge(job(to="a@example.com", job_id="2")) is None


def test_template_alone_is_no_rule() -> None:
    with pytest.raises(UsageError, match="--unique takes recipient"):
        unique("template")
