"""`sender verify`: whether log, ledger and manifest of a run agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

HELP: Final = """Hold the manifest of a run, NAME.run.json, against its inputs, outcome log and ledger, and print what
does not agree; exit 1 if anything does not. Run it where the run was started: names are taken from there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("manifest", metavar="MANIFEST", help="a run's manifest, NAME.run.json")


def run(args: argparse.Namespace) -> int:
    """Compare, and return the exit status."""
    from sender.send.verify import read_manifest, verify

    manifest = read_manifest(Path(args.manifest))
    found = list(verify(manifest, Path()))
    for sentence in found:
        sys.stdout.write(f"{sentence}\n")
    if not found:
        read, sent = manifest["books"]["read"], manifest["books"]["sent"]
        sys.stdout.write(f"manifest, log and ledger agree: {read:,} read, {sent:,} sent by this run\n")
    return 1 if found else 0
