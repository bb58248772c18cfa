"""The commands of docs/export-to-receipts.md are run as they stand, against a sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.docs.markdown import DOCS, ROOT, blocks
from tests.support.processes import environment, outcomes, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

PAGE = DOCS / "export-to-receipts.md"


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = f'sender() {{ "{sys.executable}" -m sender "$@"; }}\n{text}'
    where = environment(PYTHONPATH=str(ROOT), SENDER_PROGRESS="false")
    return subprocess.run(["sh", "-c", script], cwd=folder, env=where, capture_output=True, text=True, timeout=50,
                          check=False)


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    check, rehearse, repair = blocks(PAGE, "sh")
    said = run(check, tmp_path).stdout.splitlines()
    assert said == blocks(PAGE, "")[1].splitlines()
    with running_sandbox() as sandbox:
        lines = rehearse.replace("http://127.0.0.1:8025", sandbox.url).splitlines()
        assert lines.pop(0) == "sender sandbox --port 8025 &"
        done = run("\n".join(lines), tmp_path)
        assert done.returncode == 1, done.stderr
        assert len(sandbox.messages) == 37
        assert all(message["payload"]["attachments"] for message in sandbox.messages)
    found = [line["status"] for line in outcomes(tmp_path / "rehearsal.outcomes.jsonl")]
    assert (found.count("sent"), found.count("invalid"), found.count("duplicate")) == (37, 3, 1)
    assert run(repair, tmp_path).returncode == 0
    export = (ROOT / "examples/orders.csv").read_text().splitlines()
    header, *rows = (tmp_path / "repair.csv").read_text().splitlines()
    assert header == f'{export[0]};"why"'
    assert [row.rpartition(';"')[0] for row in rows] == [export[number] for number in (12, 23, 31)]


def test_the_page_shows_the_mapping_that_it_runs() -> None:
    (shown,) = blocks(PAGE, "json")
    assert json.loads(shown) == json.loads((ROOT / "examples/receipt.json").read_text())
