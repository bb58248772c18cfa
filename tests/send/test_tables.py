"""`sender send` on tables, as a user runs it: mapping, attachments, bad rows, resuming."""

from __future__ import annotations

import json
import os
import signal
import time
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import outcomes, running_sandbox, sender, start_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

FAST = ("--rate", "5000", "--no-progress", "--json", "--no-reconcile")
MAPPING = {
    "id": "receipt-{{order_id}}", "kind": "email", "meta": {"order": "{{order_id}}"},
    "payload": {
        "to": "{{email}}", "transactional_message_id": 3, "identifiers": {"id": "{{customer}}"},
        "message_data": {"total": "{{total:float}}", "name": "{{name|there}}"},
        "attachments": {"invoice-{{order_id}}.pdf": "{{file:invoices/{order_id}.pdf}}"},
    },
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000", "--visibility-lag", "0.1") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mapping, and the invoices of the orders 1 to 300."""
    (tmp_path / "receipt.json").write_text(json.dumps(MAPPING))
    (tmp_path / "files" / "invoices").mkdir(parents=True)
    for number in range(1, 301):
        (tmp_path / "files" / "invoices" / f"{number}.pdf").write_bytes(b"%PDF " + str(number).encode())
    return tmp_path


def write_orders(folder: Path, *rows: str) -> None:
    (folder / "orders.csv").write_text("".join(f"{row}\n" for row in ("order_id,email,customer,total,name", *rows)))


def order(number: int) -> str:
    return f"{number},person{number}@example.com,{number},{number}.50,"


def send(sandbox: Sandbox, cwd: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = sender("send", *arguments, "--base-url", sandbox.url, *FAST, cwd=cwd)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


WITH_FILES = ("orders.csv", "--map", "receipt.json", "--attachments", "files")


def test_a_csv_goes_out_with_its_files_and_not_twice(sandbox: Sandbox, folder: Path) -> None:
    write_orders(folder, *map(order, range(1, 51)))
    status, summary, _ = send(sandbox, folder, *WITH_FILES)
    assert (status, summary["read"], summary["sent"]) == (0, 50, 50)
    payloads = {message["payload"]["to"]: message["payload"] for message in sandbox.messages}
    assert len(payloads) == 50
    one = payloads["person7@example.com"]
    assert one["message_data"] == {"total": 7.5, "name": "there"}
    assert {name: b64decode(text) for name, text in one["attachments"].items()} == {"invoice-7.pdf": b"%PDF 7"}
    found = next(line for line in outcomes(folder / "orders.csv.outcomes.jsonl") if line["id"] == "receipt-7")
    assert (found["source"], found["line"], found["meta"]) == ("orders.csv", 7, {"order": "7"})
    (folder / "files/invoices/7.pdf").write_bytes(b"another content is the same job still")
    status, summary, _ = send(sandbox, folder, *WITH_FILES)
    assert (status, summary["sent"], summary["duplicate"]) == (0, 0, 50)
    assert len(sandbox.messages) == 50


def test_every_bad_row_is_named_and_given_back(sandbox: Sandbox, folder: Path) -> None:
    bad = ["2,nobody,2,1.00,", "3,a@b.c,3,zwei,", "4,a@b.c,4", '5,"a"@b.c,5,1.00,', ",a@b.c,6,1.00,"]
    bad.append("999,a@b.c,7,1.00,")
    write_orders(folder, order(1), *bad, order(8), order(1))
    status, summary, stderr = send(sandbox, folder, *WITH_FILES)
    assert (status, summary["sent"], summary["invalid"], summary["duplicate"]) == (1, 2, 6, 1)
    assert "row 9 of orders.csv has the id of row 1" in stderr
    written = outcomes(folder / "orders.csv.outcomes.jsonl")
    found = {line["line"]: line for line in written if line["status"] == "invalid"}
    assert {row: (line["error"]["code"], line["error"].get("column")) for row, line in found.items()} == {
        2: ("bad_recipient", "email"), 3: ("bad_cell", "total"), 4: ("bad_row", None), 5: ("bad_row", None),
        6: ("bad_cell", "order_id"), 7: ("bad_attachment", "order_id"),
    }
    assert "line 6, column 3" in found[5]["error"]["message"]
    back = sender("outcomes", "orders.csv.outcomes.jsonl", "--status", "invalid", "--rows", "orders.csv", cwd=folder)
    header, *rows = back.stdout.decode().splitlines()
    assert header == 'order_id,email,customer,total,name,"why"'
    assert [row[: len(text)] for row, text in zip(rows, bad, strict=True)] == bad
    assert rows[1] == '3,a@b.c,3,zwei,,"column total is not a number as JSON writes it, like 12.50"'
    (folder / "repair.csv").write_bytes(back.stdout.replace(b"zwei", b"2.00").replace(b"nobody", b"some@b.c"))
    again = sender("send", "repair.csv", *WITH_FILES[1:], "--base-url", sandbox.url, *FAST, cwd=folder)
    assert json.loads(again.stdout)["sent"] == 2


def test_files_are_read_when_their_job_starts_and_never_outside(sandbox: Sandbox, folder: Path) -> None:
    (folder / "secret.pdf").write_bytes(b"secret")
    invoices = folder / "files" / "invoices"
    (invoices / "10.pdf").unlink()
    (invoices / "10.pdf").symlink_to(folder / "secret.pdf")
    (invoices / "11.pdf").write_bytes(b"x" * (2 << 20))
    os.mkfifo(invoices / "12x.pdf")
    (folder / "files" / "linked").symlink_to(folder)
    names = ["10", "11", "12x", "../../secret", "/etc/passwd", "../linked/secret", "13"]
    write_orders(folder, *(f"{name},a@b.c,1,1.00," for name in names))
    status, summary, _ = send(sandbox, folder, *WITH_FILES)
    assert (status, summary["sent"], summary["invalid"], summary["attempts"]) == (1, 1, 6, 1)
    written = outcomes(folder / "orders.csv.outcomes.jsonl")
    said = {line["line"]: line["error"]["message"] for line in written if line["error"]}
    for row, words in {1: "symbolic link", 2: "less than 2 MB", 3: "regular file", 4: "below --attachments",
                       5: "below --attachments", 6: "below --attachments"}.items():
        assert words in said[row], row
    assert not any(b"secret" in json.dumps(message).encode() for message in sandbox.messages)
    done = sender("validate", *WITH_FILES, cwd=folder)
    assert done.stdout.decode().count("[bad_attachment]") == 5
    assert done.stdout.decode().count("[attachments_too_large]") == 1


def test_a_file_that_comes_while_the_run_goes_on_is_in_time(sandbox: Sandbox, folder: Path) -> None:
    late = folder / "files" / "invoices" / "60.pdf"
    late.unlink()
    write_orders(folder, *map(order, range(1, 61)))
    process = start_sender("send", *WITH_FILES, "--base-url", sandbox.url, "--rate", "20", *FAST[2:], cwd=folder)
    until = time.monotonic() + 30
    while not sandbox.messages and time.monotonic() < until:
        time.sleep(0.05)
    late.write_bytes(b"late")
    stdout, _ = process.communicate(timeout=30)
    assert json.loads(stdout)["sent"] == 60
    by_name = {name: text for message in sandbox.messages for name, text in message["payload"]["attachments"].items()}
    assert b64decode(by_name["invoice-60.pdf"]) == b"late"


def test_killed_and_resumed_each_order_is_accepted_once(sandbox: Sandbox, folder: Path) -> None:
    write_orders(folder, *map(order, range(1, 301)))
    process = start_sender("send", *WITH_FILES, "--base-url", sandbox.url, "--rate", "100", *FAST[2:], cwd=folder)
    until = time.monotonic() + 30
    while len(sandbox.messages) < 50 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    again = ("--base-url", sandbox.url, "--rate", "5000", "--no-progress", "--reconcile-lag", "2", "--json")
    sender("send", *WITH_FILES, *again, cwd=folder)
    done = sender("send", *WITH_FILES, *again, cwd=folder)
    accepted = Counter(message["payload"]["to"] for message in sandbox.messages)
    assert max(accepted.values()) == 1
    summary = json.loads(done.stdout)
    assert len(accepted) + summary["failed"] + summary["in_doubt"] == 300
    assert len(accepted) >= 290


def test_what_is_wrong_with_a_table_is_told_before_anything_is_sent(sandbox: Sandbox, folder: Path) -> None:
    write_orders(folder, order(1), '2,"open,2,1.00,', order(3))
    for arguments, words in (
        (WITH_FILES, "line 3, column 3 is never closed"), (WITH_FILES[:3], "needs --attachments DIR"),
        (("orders.csv",), "there is no id"), ((*WITH_FILES, "--delimiter", ";"), "there is no column"),
        ((*WITH_FILES, "--delimiter", "::"), "takes one character"), (("orders*.tsv",), "matches nothing"),
        (("postgres://u:topsecret@127.0.0.1:1/d",), "--query or --query-file"),
    ):
        status, _, stderr = send(sandbox, folder, *arguments)
        assert status == 2
        assert words in stderr.splitlines()[-1]
        assert "topsecret" not in stderr
    assert sandbox.messages == []


def test_the_kind_in_a_column_gives_each_lane_its_own(sandbox: Sandbox, folder: Path) -> None:
    (folder / "mixed.csv").write_text(
        "id,kind,broadcast_id,to,transactional_message_id,identifiers.id\n"
        "a,email,,a@b.c,3,1\nb,broadcast,12,,,\nc,sms,,+15551234567,4,2\n"
    )
    done = sender("send", "mixed.csv", "--base-url", sandbox.url, *FAST, cwd=folder)
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["sent"]) == (0, 3)


def test_rows_without_an_id_are_known_by_their_content(sandbox: Sandbox, folder: Path) -> None:
    (folder / "bare.csv").write_text("to,transactional_message_id,identifiers.id\na@b.c,3,1\nb@b.c,3,2\na@b.c,3,1\n")
    for sent, duplicates in ((2, 1), (0, 3)):
        _, summary, _ = send(sandbox, folder, "bare.csv", "--identity", "content")
        assert (summary["sent"], summary["duplicate"]) == (sent, duplicates)


def test_a_dry_run_counts_rows(folder: Path) -> None:
    write_orders(folder, order(1), order(2), "3,a@b.c,3,zwei,")
    done = sender("send", *WITH_FILES, "--dry-run", "--json", cwd=folder)
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["not_started"], summary["invalid"]) == (1, 2, 1)
