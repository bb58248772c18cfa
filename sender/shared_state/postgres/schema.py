"""The schema of a state in PostgreSQL: `schema.sql` under the name that the URL gives it, made when it is missing.

`python -m sender.shared_state.postgres.schema [SCHEMA]` prints it, for a role that may not make it itself, and
`sender outbox create --state` does beside the outbox.
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
VERSION: Final = 1
MISSING: Final = (errors.UndefinedTableError, errors.UndefinedFunctionError, errors.InvalidSchemaNameError)
"""What a server says that has none of it."""
_IS_THERE: Final = "SELECT count(*) > 0 FROM pg_namespace WHERE nspname = $1"
_FILE: Final = Path(__file__).parent / "schema.sql"


def quoted(name: str) -> str:
    """It as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_of(schema: str = NAME, *, is_there: bool = False) -> str:
    """The whole of it: schema, unless that is there, tables, functions."""
    text = _FILE.read_text()
    if is_there:  # to say it again needs a right that its owner may not have
        text = text.replace("CREATE SCHEMA IF NOT EXISTS sender;", "")
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
    """Make it unless it is there; UsageError when the role may not."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"sender state {schema}")
        try:
            if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{quoted(schema)}.schema_version"):
                await connection.execute(sql_of(schema, is_there=await connection.fetchval(_IS_THERE, schema)))
        except errors.InsufficientPrivilegeError as error:
            raise UsageError(
                f"--state {shown} has no schema {schema} that this role may use ({first_sentence(error)}): have the "
                f"database's owner run `python -m sender.shared_state.postgres.schema {schema} | psql DATABASE`, and "
                "grant this role usage of the schema, execution of its functions, and select, insert, update, delete "
                "on its tables"
            ) from None


def check_version(version: int, schema: str, shown: str) -> None:
    """UsageError when what is there is of another version of sender."""
    if version != VERSION:
        raise UsageError(
            f"--state {shown} has a schema {schema} of another version of sender ({version}, not {VERSION}): "
            "use that version, or another ?schema="
        )


if __name__ == "__main__":
    sys.stdout.write(sql_of(*sys.argv[1:2]))
