"""`sender send`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.api_key import ApiKey
from sender.commands.options import add_settings
from sender.config import load
from sender.errors import UsageError
from sender.plan import SendPlan
from sender.transport.urls import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

HELP: Final = "Send jobs from files and stdin, at the API's limit, and write what became of each."
NAMES: Final = (
    "kind", "outcomes", "ledger", "region", "base_url", "allow_http", "api_key_file", "rate", "in_doubt", "timeout",
    "keep_alive", "max_attempts", "concurrency", "max_wait", "max_outage", "retry", "reconcile", "reconcile_lag",
    "limit", "dry_run", "preflight", "grace", "json", "log_bodies", "log_format", "log_level", "progress",
)  # fmt: skip
SUFFIX: Final = ".outcomes.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="a file of job lines, .gz too; - is stdin")
    add_settings(parser, NAMES)


def run(args: argparse.Namespace) -> int:
    """Send, and return the exit status."""
    plan = make_plan(args)
    from sender.logs import set_up
    from sender.loop import run as run_loop
    from sender.run import send_jobs

    set_up(plan.settings.log_format, plan.settings.log_level)
    return run_loop(send_jobs(plan))


def make_plan(args: argparse.Namespace) -> SendPlan:
    """Resolve everything that can be known before the run; UsageError tells what is wrong."""
    settings = load(vars(args))
    inputs = inputs_of(args.inputs)
    base_url = settings.base_url or REGIONS[settings.region]
    outcomes = Path(settings.outcomes or _beside(inputs))
    ledger = Path(settings.ledger or f"{outcomes}.ledger")
    _keep_apart(inputs, outcomes, ledger)
    return SendPlan(
        settings=settings,
        inputs=inputs,
        base_url=check_base_url(base_url, allow_http=settings.allow_http),
        outcomes=outcomes,
        ledger=ledger,
        api_key=None if settings.dry_run else ApiKey.load(settings.api_key_file),
    )


def inputs_of(given: list[str]) -> tuple[str, ...]:
    """The inputs: those named, or stdin where it is not a terminal."""
    if given:
        return tuple(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("name an INPUT, or pipe job lines into stdin; see --help")
    return ("-",)


def _beside(inputs: tuple[str, ...]) -> str:
    return f"{inputs[0]}{SUFFIX}" if len(inputs) == 1 and inputs[0] != "-" else f"sender{SUFFIX}"


def _keep_apart(inputs: tuple[str, ...], outcomes: Path, ledger: Path) -> None:
    if outcomes.resolve() == ledger.resolve():
        raise UsageError(f"--outcomes and --ledger are the same file: {outcomes}")
    for name in inputs:
        if name != "-" and Path(name).resolve() in (outcomes.resolve(), ledger.resolve()):
            raise UsageError(f"{name} is an input; outcomes and ledger must go to other files")
