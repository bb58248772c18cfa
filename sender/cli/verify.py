"""`sender verify`: whether log, ledger and manifest of a run agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError

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
    try:
        found = list(verify(manifest, Path()))
        agreed = () if found else (manifest["books"]["read"], manifest["books"]["sent"])
    except (TypeError, KeyError, AttributeError, ValueError):
        raise UsageError(f"{args.manifest} is not as sender wrote it: a value is missing or of another type") from None
    for sentence in found:
        sys.stdout.write(f"{sentence}\n")
    if agreed:
        sys.stdout.write("manifest, log and ledger agree: {:,} read, {:,} sent by this run\n".format(*agreed))
    return 1 if found else 0
