"""The examples of docs/library.md are run as they stand, against a sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import environment, running_sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_an_example_of_at_most_ten_lines(number: int, tmp_path: Path) -> None:
    text = EXAMPLES[number]
    used = text[text.index("async def main") :]
    assert len([line for line in used.splitlines() if line.strip()]) <= 10
    with running_sandbox() as sandbox:
        program = text.replace("sender.Settings(", f'sender.Settings(base_url="{sandbox.url}", ').replace(
            "sender.open_session()", f'sender.open_session(sender.Settings(base_url="{sandbox.url}"))'
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True,
            timeout=30, check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("sent") == len(sandbox.messages) == (1, 3)[number]
