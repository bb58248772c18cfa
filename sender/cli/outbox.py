"""`sender outbox`: the SQL of the outbox's tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.outbox.outbox_table import DEFAULT, OutboxTable
from sender.outbox.schema import KEEP_DAYS, VERSION, Roles, create, in_transaction, migrate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

HELP: Final = """Print the SQL that makes the tables of an outbox (create), or that brings those of an earlier version
up (migrate): the outbox itself, a table for its dead letters, and with --state what a shared state has. With --apply it
is run, in one transaction. With --writer and --consumer it grants these roles what they need, and nothing else."""
STATE: Final = "sender"
MOST_DAYS: Final = 366
MOST_NAME: Final = 63
"""Bytes of a name in PostgreSQL."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("what", choices=("create", "migrate"), metavar="create|migrate", help="what the SQL is for")
    parser.add_argument("--table", default=DEFAULT, metavar="NAME", help=f"the outbox, NAME or SCHEMA.NAME ({DEFAULT})")
    parser.add_argument(
        "--dead-letter-table", metavar="NAME", help="the table for dead letters; by default the outbox's name + _dead"
    )
    parser.add_argument(
        "--keep-days", type=int, default=KEEP_DAYS, metavar="DAYS",
        help=f"how long jobs that have ended stay with their status; 0: they are deleted at once ({KEEP_DAYS})",
    )
    parser.add_argument("--writer", default="", metavar="ROLE", help="the role of the application, which enqueues")
    parser.add_argument("--consumer", default="", metavar="ROLE", help="the role of sender consume")
    parser.add_argument(
        "--state", nargs="?", const=STATE, default="", metavar="SCHEMA",
        help=f"the tables and functions of a shared state, too, in a schema of this name ({STATE})",
    )
    parser.add_argument(
        "--from", dest="since", type=int, metavar="VERSION", help="migrate: the version that is there; --apply looks"
    )
    parser.add_argument(
        "--apply", metavar="URL", help="run it on postgres://USER@HOST/DB; give the password by PGPASSWORD or passfile="
    )


def run(args: argparse.Namespace) -> int:
    """Print the SQL, or run it and say so."""
    if not 0 <= args.keep_days <= MOST_DAYS:
        raise UsageError(f"--keep-days is 0 to {MOST_DAYS}")
    table = OutboxTable.named(args.table)
    dead = OutboxTable.named(args.dead_letter_table or f"{args.table}_dead")
    roles = Roles(args.writer, args.consumer)
    state = _state(args.state, args.what, roles)
    if args.apply:
        return _apply(args.apply, args.what, {table: args.keep_days, dead: 0}, roles, state)
    sys.stdout.write(_create(table, dead, args.keep_days, roles, state) if args.what == "create" else _migrate(
        table, dead, args.keep_days, roles, args.since, state))
    return 0


def _state(schema: str, what: str, roles: Roles) -> str:
    """The SQL of a shared state in this schema; empty without one."""
    if not schema:
        return ""
    if "://" in schema or "\0" in schema or len(schema.encode()) > MOST_NAME:
        raise UsageError(f"--state takes the name of a schema here, like {STATE}; --apply takes the URL")
    try:
        from sender.shared_state.postgres.schema import rights_of, sql_of, upgrade_of
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise UsageError("--state needs a client that is not installed: pip install 'sender[postgres]'") from None
    sql = sql_of(schema) if what == "create" else upgrade_of(schema)
    return sql + (rights_of(schema, roles.consumer) if roles.consumer else "")


def _apply(url: str, what: str, tables: Mapping[OutboxTable, int], roles: Roles, state: str) -> int:
    try:
        from sender.queues.postgres_set_up import set_up
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise UsageError("--apply needs a client that is not installed: pip install 'sender[postgres]'") from None
    from sender.runtime.loop import run as run_loop

    sys.stdout.write(f"{run_loop(set_up(url, what, tables, roles, state))}\n")
    return 0


def _create(table: OutboxTable, dead: OutboxTable, keep_days: int, roles: Roles, state: str) -> str:
    tables = f"{create(table, keep_days, roles)}\n{create(dead, 0, Roles('', roles.consumer))}"
    return in_transaction(f"{tables}\n{state}" if state else tables)


def _migrate(
    table: OutboxTable, dead: OutboxTable, keep_days: int, roles: Roles, since: int | None, state: str
) -> str:
    if since is None:
        raise UsageError("say with --from which version is there (the comment on the table tells it), or use --apply")
    if not 1 <= since <= VERSION:
        raise UsageError(f"--from is a version, 1 to {VERSION}")
    sql = migrate(table, keep_days, roles, since) + migrate(dead, 0, Roles("", roles.consumer), since) + state
    return in_transaction(sql) if sql else f"-- version {since} is the latest: there is nothing to do\n"
