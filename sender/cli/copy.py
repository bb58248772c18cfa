"""`sender copy`: jobs from one place to another."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import orjson

from sender.cli.arguments import add_settings
from sender.config.load import load

if TYPE_CHECKING:
    import argparse

HELP: Final = """Copy job lines between any two of files, queues and outboxes, as fast as these are, and say how many.
What stands in a file stays there; what is in a queue, or a dead letter queue, leaves it once it is durable in the
target. A run that was killed is taken up by the same command. A file gets each line once; a queue may get the last
batch twice, under the same identities, so that its consumers send each job once. Nothing is checked: see sender
validate."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="FROM", help="a file of job lines, - for stdin, or the URL of a queue")
    parser.add_argument("target", metavar="TO", help="a new file, - for stdout, or the URL of a queue")
    parser.add_argument("--map", metavar="FILE", help="how a row of a table becomes a job, as for send")
    parser.add_argument("--json", action="store_true", help="the counts as one line of JSON")
    add_settings(parser, ("log_format", "log_level"))


def run(args: argparse.Namespace) -> int:
    """Copy, and print how many; exit status 1 when some were left."""
    from sender.consume.copying.copying import copy
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    own = ("json", "map", "source", "target")
    settings = load({name: value for name, value in vars(args).items() if name not in own})
    set_up(settings.log_format, settings.log_level)
    result = run_loop(copy(args.source, args.target, args.map or ""))
    told = orjson.dumps(asdict(result)).decode() if args.json else str(result)
    (sys.stderr if args.target == "-" else sys.stdout).write(f"{told}\n")
    return 1 if result.left else 0
