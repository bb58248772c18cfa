"""Processes of a benchmark: kept on one core, ended at the end, and asked what they used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common import ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = ROOT / "benchmarks"
CLIENT_CORE, SERVER_CORE = 0, 1


def script(name: str, *arguments: object) -> list[str]:
    """The command of one of the scripts here."""
    return [sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)]


@contextmanager
def process(
    command: Sequence[str], *, core: int | None = None, folder: Path | None = None, talks: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block; `core` is the one it may use, `talks` that its output is read."""
    running = subprocess.Popen(
        on_core(core, command), cwd=folder, env=ENVIRONMENT,
        stdout=subprocess.PIPE if talks else subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def on_core(core: int | None, command: Sequence[str]) -> list[str]:
    """The command, kept on this core where that can be done; None leaves it all of them."""
    if core is None or core >= (os.cpu_count() or 1) or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its threads, its children and those of them that have ended, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, _children(pid)))


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
