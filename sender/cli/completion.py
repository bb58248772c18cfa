"""`sender completion`: a script that completes commands, options, their values and file names, made by shtab."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from sender.config.settings import SETTINGS
from sender.errors import UsageError
from sender.jobs.kinds import KINDS
from sender.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHELLS: Final = ("bash", "zsh", "fish")
FILES: Final = frozenset({"PATH", "FILE", "INPUT", "OUTCOMES", "OUTCOMES|BENCH", "compare A B"})
"""What stands in `--help` for something whose value is a file."""
HELP: Final = """Print a script that completes sender's commands, options, their values and file names; the shell reads
it once and never calls sender for it. Needs the extra: pip install 'sender[completion]'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise UsageError("completion needs shtab: pip install 'sender[completion]'") from None
    sys.stdout.write(shtab.complete(_whole_parser(shtab.FILE), args.shell) + "\n")
    return 0


def _whole_parser(file: Mapping[str, object]) -> argparse.ArgumentParser:
    """All commands in one parser, each value marked with what completes it."""
    from sender.cli.argument_parser import make_parser
    from sender.cli.commands import COMMANDS

    whole = argparse.ArgumentParser(prog="sender")
    whole.add_argument("-V", "--version", action="version", version=__version__, help="print the version")
    names = whole.add_subparsers()
    for name, command in COMMANDS.items():
        _, parser = make_parser(name)
        _mark(parser._actions, file)  # noqa: SLF001 - argparse has no other way to walk over options
        names.add_parser(name, parents=[parser], add_help=False, help=command.purpose)
    return whole


def _mark(actions: Iterable[argparse.Action], file: Mapping[str, object]) -> None:
    for action in actions:
        setting = SETTINGS.get(action.dest)
        if setting is not None and setting.choices:
            action.choices = setting.choices
        elif action.dest == "kind":
            action.choices = tuple(KINDS)
        elif action.metavar in FILES:
            action.complete = file  # type: ignore[attr-defined]  # how shtab is told
