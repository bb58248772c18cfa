"""The schema of a state in PostgreSQL: `schema.sql` under the name that the URL gives it, made when it is missing, and
brought up when it is of an earlier version.

`python -m sender.shared_state.postgres.schema [SCHEMA]` prints it, with `--upgrade` what brings it up, for a role that
may not do so itself; `sender outbox create --state` and `migrate --state` do beside the outbox.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

from asyncpg import exceptions as errors

from sender.errors import UsageError
from sender.queues.postgres_server import first_sentence

NAME: Final = "sender"
VERSION: Final = 3
MISSING: Final = (errors.UndefinedTableError, errors.UndefinedFunctionError, errors.InvalidSchemaNameError)
"""What a server says that has none of it."""
_IS_THERE: Final = "SELECT count(*) > 0 FROM pg_namespace WHERE nspname = $1"
_FILE: Final = Path(__file__).parent / "schema.sql"
_NONE: Final = (
    "--state {shown} has no schema {schema} that this role may use ({error}): have the database's owner run "
    "`python -m sender.shared_state.postgres.schema {schema} | psql DATABASE`, and grant this role usage of the "
    "schema, execution of its functions, and select, insert, update, delete on its tables"
)
_EARLIER: Final = (
    "--state {shown} has a schema {schema} of an earlier version, and this role may not bring it up ({error}): have "
    "its owner run `python -m sender.shared_state.postgres.schema {schema} --upgrade | psql DATABASE`"
)
_FIRST_FUNCTION: Final = "CREATE FUNCTION sender.microseconds"
_DROP_FUNCTIONS: Final = """
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = {} LOOP
        EXECUTE format('DROP FUNCTION %s', one);
    END LOOP;
END $$;

"""


def quoted(name: str) -> str:
    """It as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_of(schema: str = NAME, *, is_there: bool = False) -> str:
    """The whole of it: schema, unless that is there, tables, functions."""
    text = _FILE.read_text()
    if is_there:  # to say it again needs a right that its owner may not have
        text = text.replace("CREATE SCHEMA IF NOT EXISTS sender;", "")
    return _named(text, schema)


def upgrade_of(schema: str = NAME) -> str:
    """What brings any earlier version up, and does no harm to this one: its functions anew, what its tables lack."""
    _, first, functions = _FILE.read_text().partition(_FIRST_FUNCTION)
    literal = "'" + schema.replace("'", "''") + "'"
    version = f"\nUPDATE sender.schema_version SET version = {VERSION};\n"
    return _DROP_FUNCTIONS.format(literal) + _named(first + functions + version, schema)


def _named(text: str, schema: str) -> str:
    return re.sub(r"\bsender\b", lambda _: quoted(schema), text)


def rights_of(schema: str, role: str) -> str:
    """What a replica needs that may not make it."""
    name, who = quoted(schema), quoted(role)
    return (
        f"GRANT USAGE ON SCHEMA {name} TO {who};\n"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {name} TO {who};\n"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {who};\n"
    )


async def make_schema(connection: Any, schema: str, shown: str) -> None:
    """Make it unless it is there, and bring it up; UsageError when the role may not."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"sender state {schema}")
        is_there = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{quoted(schema)}.schema_version")
        try:
            if not is_there:
                await connection.execute(sql_of(schema, is_there=await connection.fetchval(_IS_THERE, schema)))
            elif await connection.fetchval(f"SELECT version < $1 FROM {quoted(schema)}.schema_version", VERSION):  # noqa: S608
                await connection.execute(upgrade_of(schema))
        except errors.InsufficientPrivilegeError as error:
            raise UsageError((_EARLIER if is_there else _NONE).format(
                shown=shown, schema=schema, error=first_sentence(error))) from None


def check_version(version: int, schema: str, shown: str) -> None:
    """UsageError when what is there is of another version of sender."""
    if version != VERSION:
        raise UsageError(
            f"--state {shown} has a schema {schema} of another version of sender ({version}, not {VERSION}): "
            "use that version, or another ?schema="
        )


if __name__ == "__main__":
    _schema, *_rest = [*sys.argv[1:], NAME]
    sys.stdout.write(upgrade_of(_schema) if "--upgrade" in _rest else sql_of(_schema))
