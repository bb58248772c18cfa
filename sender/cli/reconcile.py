"""`sender reconcile`: settle jobs in doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.cli.send import outcomes_beside
from sender.config.api_key import ApiKey
from sender.config.load import load, state_of
from sender.errors import UsageError
from sender.inputs.names import expanded
from sender.session.session_plan import SessionPlan
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

HELP: Final = """Settle jobs in doubt by reading the API: adopt the delivery that is surely theirs, and say which jobs
surely were not accepted. What stays open is listed with its reason. Exit 0 if nothing is left in doubt, else 1."""
SETTINGS: Final = (
    "region", "base_url", "allow_http", "api_key_file", "proxy", "timeout", "keep_alive", "rate", "rate_app",
    "reconcile_lag", "broadcast_wait", "outcomes", "ledger", "state", "state_file", "keep", "durability",
    "json", "log_format", "log_level",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="the input that was sent; outcomes and ledger lie beside it",
    )
    parser.add_argument(
        "--settle", metavar=("sent|failed", "ID[=DELIVERY_ID]"), nargs="+",
        help="close these jobs by hand, as you found them, best with the delivery (or trigger) that you found; "
        "needs neither key nor API",
    )
    add_settings(parser, SETTINGS)


def run(args: argparse.Namespace) -> int:
    """Reconcile, and return the exit status."""
    settings = replace(load(vars(args)), reconcile=True)
    outcomes, ledger = _paths(args.inputs, settings.outcomes, settings.ledger)
    state = state_of(settings)
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    from sender.reconcile.by_hand import settle_by_hand
    from sender.reconcile.reconcile_run import reconcile
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    set_up(settings.log_format, settings.log_level)
    if args.settle is not None:
        status, *names = args.settle
        if status not in ("sent", "failed") or not names:
            raise UsageError("--settle takes sent or failed, and then the ids of the jobs")
        return run_loop(settle_by_hand(SessionPlan(settings, base_url, outcomes, ledger, None, state), status, names))
    key = ApiKey.load(settings.api_key_file)
    return run_loop(reconcile(SessionPlan(settings, base_url, outcomes, ledger, key, state)))


def _paths(inputs: list[str], outcomes: str, ledger: str) -> tuple[Path, Path]:
    """Where `send` with the same arguments has put them; the log's name follows from a ledger named as usual."""
    if not outcomes and ledger.endswith(".ledger"):
        outcomes = ledger.removesuffix(".ledger")
    if not outcomes:
        outcomes = outcomes_beside(expanded(inputs))
    return Path(outcomes), Path(ledger or f"{outcomes}.ledger")
