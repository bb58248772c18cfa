"""What a consumer says to its outbox: each statement is a whole transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sender.outbox.outbox_table import OutboxTable

FACTS: Final = """
SELECT current_database() AS database, pg_backend_pid() AS backend, n.nspname AS schema, c.relname AS name,
       obj_description(c.oid, 'pg_class') AS comment,
       (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid) AS partitions
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
"""
ORIGIN: Final = "SELECT system_identifier::text FROM pg_control_system()"
BY_INDEX: Final = "SET LOCAL enable_seqscan = off"
"""Few rows of millions, whatever the planner knows of a partition that is filled just now."""
DAY: Final = 86400


class Statements(NamedTuple):
    """Of one table."""

    join: str
    """(reader, lease in seconds, its earlier names, ids in hand): it lives, and holds those of them that they held.
    What they held beside nobody knows of: it is free, uncounted."""
    renew: str
    """(reader, lease)."""
    claim: str
    """(reader, lease, priorities in their order, most rows, bytes, largest, head, ids to pass by): take what is due."""
    first: str
    """(priorities in their order, ids to pass by): the row that would be taken first."""
    release: str
    """(): give free what readers hold that do not live."""
    leave: str
    """(reader): it lives no more; what it still holds is free when its lease is over."""
    requeue: str
    """(reader, ids, delay in seconds)."""
    wake: str
    """(): tell the other readers."""
    lag: str
    """(most): what is due or in hand; counted so far."""
    left_since: str
    """(seconds)."""
    delete: str
    """(ids)."""
    amend: str
    """(keys, statuses, delivery ids, errors): the later fate of jobs that had ended."""
    in_doubt: str
    """(after, most): a page of the keys of jobs that ended in doubt."""

    @classmethod
    def of(cls, table: OutboxTable) -> Statements:
        """The statements with this table's names, which are checked ones."""
        names = {"t": str(table), "readers": str(table.part("readers")), "channel": table.name}
        return cls(*(text.format(**names) for text in _TEXTS))


def end_rows(table: OutboxTable, slot: int, first: int) -> str:
    """(ids, statuses, delivery ids, errors, keys), numbered from `first`: common table expressions that move these rows
    to the partition of the day, with what became of them."""
    kept = "id, job, raw, priority, not_before, expires_at, enqueued_at, headers, reason, deliveries, taken_at"
    qualified = ", ".join(f"o.{name}" for name in kept.split(", "))
    places = ", ".join(f"${first + number}::{kind}[]" for number, kind in enumerate(("bigint", *["text"] * 4)))
    return f"""
ended_{first} AS (
    SELECT * FROM unnest({places}) AS e(row, status, delivery_id, error, key)
), gone_{first} AS (
    DELETE FROM {table} o USING ended_{first} e WHERE o.slot = 0 AND o.id = e.row
    RETURNING {qualified}, e.status, e.delivery_id, e.error, e.key
), moved_{first} AS (
    INSERT INTO {table.done(slot)} ({kept}, slot, status, delivery_id, error, key, done_at) OVERRIDING SYSTEM VALUE
    SELECT {kept}, {slot}, status, delivery_id, error::json, key, now() FROM gone_{first}
)
"""  # noqa: S608 - a checked name


def delete_rows(table: OutboxTable, first: int) -> str:
    """(ids): the same where nothing is kept."""
    return f"gone_{first} AS (DELETE FROM {table} WHERE slot = 0 AND id = ANY(${first}::bigint[]))"  # noqa: S608


def insert(table: OutboxTable) -> str:
    """(jobs, raws, priorities, headers, reasons): as many rows, in their order."""
    return f"""
INSERT INTO {table} (job, raw, priority, headers, reason)
SELECT job::json, raw, priority, headers::json, reason::json
FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY AS l(job, raw, priority, headers, reason, number)
ORDER BY number
"""  # noqa: S608 - a checked name


def last_open(table: OutboxTable) -> str:
    """The newest open row."""
    return f"SELECT max(id) FROM {table} WHERE slot = 0"  # noqa: S608 - a checked name


def open_rows(table: OutboxTable) -> str:
    """(after, last, most, bytes): open rows by their numbers, one at least."""
    return f"""
SELECT id, job::text, raw, headers::text, reason::text FROM (
    SELECT *, sum(size) OVER (ORDER BY id) - size AS before FROM (
        SELECT * FROM {table} WHERE slot = 0 AND id > $1 AND id <= $2 ORDER BY id LIMIT $3
    ) found
) sized WHERE before < $4 ORDER BY id
"""  # noqa: S608 - a checked name


def slot_of(day: int, ring: int) -> int:
    """The partition for what ends on this day, counted from 1970, of so many."""
    return 1 + day % ring


def is_filled(table: OutboxTable, slot: int) -> str:
    """Whether there is anything in a partition."""
    return f"SELECT EXISTS (SELECT FROM {table.done(slot)})"  # noqa: S608 - a checked name


def is_recent(table: OutboxTable, slot: int) -> str:
    """(days): whether anything in a partition ended so lately."""
    since = "now() - make_interval(days => $1)"
    return f"SELECT EXISTS (SELECT FROM {table.done(slot)} WHERE done_at > {since})"  # noqa: S608 - a checked name


def lock(table: OutboxTable, slot: int) -> str:
    """Have a partition for oneself; fails at once where anybody uses it."""
    return f"LOCK TABLE {table.done(slot)} IN ACCESS EXCLUSIVE MODE NOWAIT"


def empty(table: OutboxTable, slot: int) -> str:
    """Give its space back at once."""
    return f"TRUNCATE {table.done(slot)}"


_JOIN: Final = """
WITH me AS (
    INSERT INTO {readers} (id, until) VALUES ($1, now() + make_interval(secs => $2))
), before AS (
    DELETE FROM {readers} WHERE id = ANY($3::uuid[])
)
UPDATE {t} SET holder = CASE WHEN id = ANY($4::bigint[]) THEN $1::uuid END,
    deliveries = CASE WHEN id = ANY($4::bigint[]) THEN deliveries ELSE greatest(deliveries - 1, 0) END
WHERE slot = 0 AND holder = ANY($3::uuid[])
"""
_RENEW: Final = "UPDATE {readers} SET until = now() + make_interval(secs => $2) WHERE id = $1 RETURNING id"
_CLAIM: Final = """
WITH me AS (
    UPDATE {readers} SET until = now() + make_interval(secs => $2) WHERE id = $1 RETURNING id
), due AS (
    SELECT d.id, d.size FROM unnest($3::text[]) AS p(priority) CROSS JOIN LATERAL (
        SELECT o.id, o.size FROM {t} o
        WHERE o.slot = 0 AND o.holder IS NULL AND o.priority = p.priority AND o.not_before <= now()
            AND o.id <> ALL ($8::bigint[])
        ORDER BY o.not_before, o.id LIMIT $4 FOR UPDATE SKIP LOCKED
    ) d
    WHERE EXISTS (SELECT FROM me)
    LIMIT $4
), fitting AS (
    SELECT id FROM (
        SELECT id, sum(least(size, $6)) OVER (ROWS UNBOUNDED PRECEDING) - least(size, $6) AS before FROM due
    ) sized WHERE before < greatest($5, 1)
), taken AS (
    UPDATE {t} o SET holder = $1, deliveries = o.deliveries + 1, taken_at = now()
    FROM fitting WHERE o.slot = 0 AND o.id = fitting.id
    RETURNING o.*
)
SELECT id, priority, deliveries, headers, size > $6 AS is_large, size,
    CASE WHEN isfinite(expires_at) THEN extract(epoch FROM expires_at)::float8
        WHEN expires_at < now() THEN 0 END AS expires_at,
    CASE WHEN isfinite(enqueued_at) THEN (extract(epoch FROM enqueued_at) * 1000000)::bigint ELSE 0 END AS micros,
    CASE WHEN size <= $6 THEN job::text END AS job,
    CASE WHEN size <= $6 THEN raw ELSE substr(coalesce(raw, convert_to(job::text, 'UTF8')), 1, $7) END AS raw
FROM taken ORDER BY array_position($3::text[], priority), not_before, id
"""
_FIRST: Final = """
SELECT d.id FROM unnest($1::text[]) AS p(priority) CROSS JOIN LATERAL (
    SELECT o.id FROM {t} o
    WHERE o.slot = 0 AND o.holder IS NULL AND o.priority = p.priority AND o.not_before <= now()
        AND o.id <> ALL ($2::bigint[])
    ORDER BY o.not_before, o.id LIMIT 1
) d LIMIT 1
"""
_RELEASE: Final = """
WITH dead AS (DELETE FROM {readers} WHERE until < now() RETURNING id)
UPDATE {t} SET holder = NULL WHERE slot = 0 AND holder IN (SELECT id FROM dead)
"""
_LEAVE: Final = """
DELETE FROM {readers} WHERE id = $1 AND NOT EXISTS (SELECT FROM {t} WHERE slot = 0 AND holder = $1)
"""
_REQUEUE: Final = """
UPDATE {t} SET holder = NULL, deliveries = greatest(deliveries - 1, 0),
    not_before = CASE WHEN $3 > 0 THEN now() + make_interval(secs => $3) ELSE not_before END
WHERE slot = 0 AND holder = $1 AND id = ANY($2::bigint[])
"""
_WAKE: Final = "SELECT pg_notify('{channel}', '')"
_LAG: Final = """
SELECT count(*) FROM (
    SELECT FROM {t} WHERE slot = 0 AND (holder IS NOT NULL OR not_before <= now()) LIMIT $1
) open
"""
_LEFT_SINCE: Final = """
SELECT EXISTS (SELECT FROM {t} WHERE slot = 0 AND deliveries > 0 AND taken_at < now() - make_interval(secs => $1))
"""
_DELETE: Final = "DELETE FROM {t} WHERE slot = 0 AND id = ANY($1::bigint[])"
_AMEND: Final = """
UPDATE {t} o SET status = e.status, delivery_id = e.delivery_id, error = e.error::json,
    key = CASE WHEN e.status = 'sent' THEN NULL ELSE o.key END
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS e(key, status, delivery_id, error)
WHERE o.slot <> 0 AND o.key = e.key
"""
_IN_DOUBT: Final = """
SELECT DISTINCT key FROM {t} WHERE slot <> 0 AND key > $1 AND status = 'in_doubt' ORDER BY key LIMIT $2
"""
_TEXTS: Final = (
    _JOIN, _RENEW, _CLAIM, _FIRST, _RELEASE, _LEAVE, _REQUEUE, _WAKE, _LAG, _LEFT_SINCE, _DELETE, _AMEND,
    _IN_DOUBT,
)
