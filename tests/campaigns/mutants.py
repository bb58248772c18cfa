"""Mutation testing: changes one operator, number or argument at a time, and lists the changes that no test notices.

    python -m tests.campaigns.mutants [name ...]

mutmut does the work, on a copy in a temporary folder; pyproject.toml names the modules and their tests, a name such
as `sender.transport.verdict*` takes fewer. Exit 1 when a change survives; CONTRIBUTING.md says which may.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NEEDED = ("sender", "tests", "pyproject.toml")
FOUND = ("survived", "no tests", "suspicious", "segfault")
"""What is listed, by mutmut's word for it; a change that makes the tests run out of time is noticed by that."""


def main() -> int:
    """Run it, and print each surviving change as a diff."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="mutants to try, with * (all)")
    parser.add_argument("--processes", default="2", help="how many are tried at once (2)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in NEEDED:
            source = PROJECT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / name)
        if _mutmut(copy, "run", "--max-children", asked.processes, *asked.names):
            return 2
        return _report(copy, asked.names)


def _report(copy: Path, names: list[str]) -> int:
    lines = [line.strip().rpartition(": ") for line in _told(copy, "results", "--all", "true").splitlines()]
    states = {name: state for name, _, state in lines if state != "not checked"}
    found = [name for name, state in states.items() if state in FOUND]
    for name in found:
        sys.stdout.write(_told(copy, "show", name))
    sys.stdout.write(f"{len(states)} changes, {len(found)} of them noticed by no test\n")
    return int(bool(found))


def _mutmut(copy: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=copy, check=False).returncode


def _told(copy: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=copy, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
