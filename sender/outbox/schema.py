"""The SQL that makes an outbox, in versions; plain, to be read before it is run.

Open rows lie in one small partition. A job that has ended moves to the partition of its day, of which there are a few
more than days are kept; the oldest is emptied at once by TRUNCATE, so that however many jobs pass, no table grows and
none has holes. Without days to keep there is one plain table, and what has ended is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.outbox.outbox_table import OutboxTable

VERSION: Final = 1
SPARE: Final = 2
"""Partitions beyond the days that are kept: one is being filled, one stands empty for tomorrow."""
KEEP_DAYS: Final = 7
_MARK: Final = "sender outbox, version "

_COLUMNS: Final = """\
    id           bigint GENERATED ALWAYS AS IDENTITY,
    slot         smallint NOT NULL DEFAULT 0,           -- 0: open; else the partition of the day of its end
    job          json,                                  -- the job line
    raw          bytea,                                 -- in its place, for a dead letter that is no JSON
    size         integer NOT NULL GENERATED ALWAYS AS (coalesce(octet_length(job::text), octet_length(raw))) STORED,
    priority     text NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
    not_before   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,                           -- not started after it
    enqueued_at  timestamptz NOT NULL DEFAULT now(),
    headers      json,                                  -- trace context; of a copy, whose copy it is
    reason       json,                                  -- of a dead letter: why it is one
    holder       uuid,                                  -- the reader that has it in hand
    deliveries   integer NOT NULL DEFAULT 0,
    taken_at     timestamptz,
    status       text NOT NULL DEFAULT 'waiting',       -- what became of the job
    delivery_id  text,
    error        json,                                  -- code, message, field
    done_at      timestamptz,
    key          text,                                  -- its identity, while its status may still change
    PRIMARY KEY (id, slot)"""
_VACUUM: Final = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,\n"
    "    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000"
)
"""Rows of an open part live for seconds: vacuum goes by their number, not by a share of the table."""


class Roles(NamedTuple):
    """Whom the rights are for; empty: the SQL gives none."""

    writer: str = ""
    """The application, which enqueues and shows what became of its jobs."""
    consumer: str = ""


NOBODY: Final = Roles()


def create(table: OutboxTable, keep_days: int, roles: Roles = NOBODY) -> str:
    """The statements that make an outbox of the latest version."""
    body = "".join(step(table, keep_days, roles) for step in _STEPS)
    return f"{body}COMMENT ON TABLE {table} IS '{_MARK}{VERSION}';\n"


def migrate(table: OutboxTable, keep_days: int, roles: Roles, version: int) -> str:
    """The statements that bring one of this version to the latest; empty when it is that."""
    steps = _STEPS[version:]
    if not steps:
        return ""
    return "".join(step(table, keep_days, roles) for step in steps) + (
        f"COMMENT ON TABLE {table} IS '{_MARK}{len(_STEPS)}';\n"
    )


def in_transaction(sql: str) -> str:
    """All of it or nothing."""
    return f"BEGIN;\n\n{sql}\nCOMMIT;\n"


def version_of(comment: str | None) -> int | None:
    """The version that a table's comment tells; None when it is no outbox."""
    mark, _, number = (comment or "").partition(_MARK)
    return int(number) if not mark and number.isascii() and number.isdigit() else None


def _first(table: OutboxTable, keep_days: int, roles: Roles) -> str:
    open_part = table.part("open") if keep_days else table
    parts = [_table(table, keep_days), _readers(table), _indexes(table, open_part, keep_days), _notify(table)]
    return "\n".join([*parts, *_grants(table, keep_days, roles)]) + "\n"


def _table(table: OutboxTable, keep_days: int) -> str:
    if not keep_days:
        return f"CREATE TABLE {table} (\n{_COLUMNS}\n) WITH (\n    {_VACUUM}\n);\n"
    days = "".join(
        f"CREATE TABLE {table.done(slot)} PARTITION OF {table} FOR VALUES IN ({slot});\n" for slot in slots(keep_days)
    )
    return (
        f"CREATE TABLE {table} (\n{_COLUMNS}\n) PARTITION BY LIST (slot);\n\n"
        f"CREATE TABLE {table.part('open')} PARTITION OF {table} FOR VALUES IN (0) WITH (\n    {_VACUUM}\n);\n{days}"
    )


def slots(keep_days: int) -> range:
    """The numbers of the partitions for what has ended."""
    return range(1, keep_days + SPARE + 1)


def _readers(table: OutboxTable) -> str:
    return (
        f"-- One row for each reader that lives: what it has in hand is its own until then.\n"
        f"CREATE TABLE {table.part('readers')} (id uuid PRIMARY KEY, until timestamptz NOT NULL) WITH (\n"
        f"    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500\n);\n"
    )


def _indexes(table: OutboxTable, open_part: OutboxTable, keep_days: int) -> str:
    name = table.name
    more = (
        f"CREATE INDEX {name}_unsettled ON {table} (key) WHERE key IS NOT NULL;\n"
        f"CREATE INDEX {name}_ends ON {table} USING brin (done_at);\n"
    )
    return (
        f"CREATE INDEX {name}_due ON {open_part} (priority, not_before, id) WHERE holder IS NULL AND slot = 0;\n"
        f"CREATE INDEX {name}_in_hand ON {open_part} (holder) WHERE holder IS NOT NULL AND slot = 0;\n"
        f"{more if keep_days else ''}"
    )


def _notify(table: OutboxTable) -> str:
    function = table.part("notify")
    return (
        f"-- Wakes the consumers when a transaction that enqueued commits.\n"
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
        f"BEGIN\n"
        f"    PERFORM pg_catalog.pg_notify(TG_TABLE_NAME, '');\n"
        f"    RETURN NULL;\n"
        f"END $$;\n"
        f"CREATE TRIGGER {function.name} AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
    )


def _grants(table: OutboxTable, keep_days: int, roles: Roles) -> list[str]:
    found = [
        f"GRANT USAGE ON SCHEMA {table.schema} TO {_quoted(role)};" for role in roles if role and table.schema
    ]
    if roles.writer:
        role = _quoted(roles.writer)
        found.append(
            f"GRANT SELECT, INSERT (job, priority, not_before, expires_at, headers) ON {table} TO {role};"
        )
    if roles.consumer:
        role = _quoted(roles.consumer)
        changed = "holder, deliveries, taken_at, not_before, status, delivery_id, error, done_at, key"
        found += [
            f"GRANT SELECT, INSERT, DELETE, UPDATE ({changed}) ON {table} TO {role};",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table.part('readers')} TO {role};",
        ]
        done = ", ".join(str(table.done(slot)) for slot in slots(keep_days)) if keep_days else ""
        found += [f"GRANT SELECT, INSERT, TRUNCATE ON {done} TO {role};"] if done else []
    return found


def _quoted(role: str) -> str:
    """Whatever stands in it is a name."""
    return '"' + role.replace('"', '""') + '"'


_STEPS: Final[tuple[Callable[[OutboxTable, int, Roles], str], ...]] = (_first,)
"""What each version adds to the one before it. A step is never changed once it is out."""
