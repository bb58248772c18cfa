"""What the last lines of a run of tests say about its servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import STARTED

CONFTEST = """
from tests.support.servers import begin_notes, pytest_terminal_summary

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        begin_notes()
"""
TESTS = """
import time
import pytest
from tests.support.kafka_server import MISSING
from tests.support.servers import MOTO, note_started

def test_one():
    note_started("PostgreSQL 16")
    note_started(MOTO)

def test_two():
    time.sleep(0.3)
    note_started("Redis")

def test_three():
    pytest.skip(MISSING)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "workers"])
def test_real_servers_are_named_at_the_end(tmp_path: Path, workers: list[str]) -> None:
    """Workers sum up before the process that is read, and took the notes away."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", STARTED))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "."]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True,
        timeout=50, check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Real servers in this run: PostgreSQL 16, Redis." in done.stdout
    assert "Stand-ins: moto for Amazon SQS." in done.stdout
    assert "KAFKA WAS NOT REAL" in done.stdout
