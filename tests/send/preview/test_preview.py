"""Jobs as they would be sent: in a terminal, as JSON, as a page in a real browser; and nothing is sent."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import browser, chromium, missing, opened
from tests.support.processes import email, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

HOSTILE = '</pre><script>document.title="taken"</script><img src=http://192.0.2.1/x.png onerror=alert(1)>'


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000") as running:
        yield running


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """600 jobs: two refused, one excluded, one repeated."""
    lines = [email(n) for n in range(598)]
    lines[5]["payload"]["to"] = "nobody"
    lines[6]["payload"]["message_data"] = {"name": HOSTILE, "esc": "\x1b[2J"}
    lines[7]["payload"]["subjct"] = "misspelt"
    (tmp_path / "out.txt").write_text("person-9\n")
    path = write_jobs(tmp_path / "jobs.jsonl", [*lines, lines[0]])
    with path.open("a") as file:
        file.write('{"torn\n')
    return tmp_path


def preview(folder: Path, *arguments: str, status: int = 1, key: str = "", **more: str) -> tuple[str, str]:
    done = run_sender("preview", "jobs.jsonl", *arguments, cwd=folder, SENDER_API_KEY=key, **more)
    assert done.returncode == status, done.stderr
    return done.stdout.decode(), done.stderr.decode()


def test_the_first_jobs_and_the_counts(jobs: Path) -> None:
    before = set(jobs.iterdir())
    text, _ = preview(jobs, "-n", "2", "--exclude", "out.txt")
    assert "jobs.jsonl:1  email · job-0 · would be sent\nPOST /v1/send/email  template 3\n{" in text
    assert '"to": "person1@example.com"' in text
    assert "person2@example.com" not in text
    assert "jobs.jsonl:6  email · job-5 · invalid\nrefused: to holds" in text
    rows = [line.strip().rsplit("  ", 1) for line in text.splitlines()]
    counts = dict(row for row in rows if len(row) == 2 and row[1].isdigit())
    assert counts == {"read": "600", "would be sent": "596", "refused by a check": "2", "kept out by your rules": "1",
                      "duplicate or sent before": "1"}
    assert "would take  0:00:06 at the limits (100 sends a second)" in text
    assert set(jobs.iterdir()) == before


def test_one_row_with_its_warnings(jobs: Path) -> None:
    text, _ = preview(jobs, "--row", "8", status=0)
    assert text.startswith("jobs.jsonl:8  email · job-7")
    assert "[unknown_field]" in text
    assert '"subjct": "misspelt"' in text
    assert "would take" not in text
    assert "invalid" in preview(jobs, "--row", "6")[0]
    assert "has no row 601" in preview(jobs, "--row", "601", status=2)[1]


def test_signs_that_steer_a_terminal_are_shown_and_not_obeyed(jobs: Path) -> None:
    line = json.dumps(email(1) | {"id": "a\x1b]0;x\x07"}).encode()
    (jobs / "jobs.jsonl").write_bytes(line.replace(b"\\u001b", b"\x7f"))
    text, _ = preview(jobs, status=0)
    assert "\x1b" not in text
    assert "\x7f" not in text


def test_what_was_sent_is_not_sent_again(jobs: Path, sandbox: Sandbox) -> None:
    sent = run_sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--limit", "10", "--no-reconcile", cwd=jobs)
    assert sent.returncode == 1
    found = json.loads(preview(jobs, "--json")[0])
    assert found["counts"]["duplicate or sent before"] == 11
    assert found["counts"]["would be sent"] == 587
    assert found["jobs"][0]["id"] == "job-11"


def test_a_rehearsal_is_shown_as_it_would_go(jobs: Path) -> None:
    text, _ = preview(jobs, "--redirect-to", "me@example.com", "-n", "1")
    assert '"to": "me@example.com"' in text
    assert "person0" not in text


def test_templates_have_names_where_the_key_may_read(jobs: Path, sandbox: Sandbox) -> None:
    text, _ = preview(jobs, "--base-url", sandbox.url, key="sandbox-key")
    assert "template 3, Transactional message 3" in text
    text, told = preview(jobs, "--base-url", sandbox.url, key="wrong")
    assert "template 3\n" in text
    assert "may not read the templates" in told


def test_rows_of_a_table_with_their_files(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "pdf").mkdir()
    (tmp_path / "pdf" / "1.pdf").write_bytes(b"%PDF-1")
    (tmp_path / "jobs.csv").write_text("order,mail\n1,ada@example.com\n2,bob@example.com\n")
    (tmp_path / "map.json").write_text(json.dumps({
        "id": "{{order}}", "payload": {
            "to": "{{mail}}", "transactional_message_id": 3, "identifiers": {"email": "{{mail}}"},
            "message_data": {"order": "{{order}}"}, "attachments": {"{{order}}.pdf": "{{file:{order}.pdf}}"},
        },
    }))
    rows = ("jobs.csv", "--map", "map.json", "--attachments", "pdf")
    done = run_sender("preview", *rows, "--row", "1", cwd=tmp_path, SENDER_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert f'"1.pdf": "{base64.b64encode(b"%PDF-1").decode()}"' in done.stdout.decode()
    missing_file = run_sender("preview", *rows, "--row", "2", cwd=tmp_path, SENDER_API_KEY="")
    assert b"bad_attachment" in missing_file.stdout
    (tmp_path / "pdf" / "2.pdf").write_bytes(b"%PDF-2")
    sandbox.post("reset")
    sent = run_sender("send", *rows, "--base-url", sandbox.url, "--redirect-to", "me@example.com", cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    payloads = {one["payload"]["message_data"]["order"]: one["payload"] for one in sandbox.messages}
    assert {name: one["attachments"] for name, one in payloads.items()} == {
        "1": {"1.pdf": base64.b64encode(b"%PDF-1").decode()}, "2": {"2.pdf": base64.b64encode(b"%PDF-2").decode()},
    }
    assert {one["to"] for one in payloads.values()} == {"me@example.com"}


def page_of(folder: Path) -> Path:
    _, told = preview(folder, "--html", "-n", "10", "--exclude", "out.txt")
    assert "written to preview.html" in told
    return folder / "preview.html"


def test_the_page_escapes_everything(jobs: Path) -> None:
    page = page_of(jobs)
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_the_page_in_a_browser(jobs: Path) -> None:
    if chromium() is None:
        missing("the preview page: scripts in the data, requests, width on a phone")
        return
    url = page_of(jobs).as_uri()
    with browser() as running, opened(running, url, width=390) as watched:
        page: Any = watched.page
        assert page.title() == "Preview of jobs.jsonl"
        assert page.locator("article").count() == 13, "ten that would be sent, two refused, one kept out"
        assert HOSTILE.replace('"', '\\"') in page.locator("pre", has_text="script").inner_text()
        assert page.locator("script, img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
        assert facts["would be sent"] == "596"
        assert watched.complaints == []
        assert watched.requests == [url]
