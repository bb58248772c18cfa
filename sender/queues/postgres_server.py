"""The PostgresServer behind a URL: where it is, how it is to be reached, and what its errors mean.

`postgres://USER@HOST:PORT,HOST2:PORT2/DATABASE?sslmode=verify-full&sslrootcert=PATH`: of several hosts the one is taken
that can be written. The password comes from the URL, from `passfile=`, or from PGPASSWORD and PGPASSFILE, as for every
PostgreSQL client.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg
from asyncpg import exceptions as errors

from sender.errors import UsageError
from sender.jobs.masking import MASK, mask_credentials
from sender.jobs.nearest import nearest
from sender.queues.server_access import split_hosts, wrong_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("postgres", "postgresql")
WAYS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "host")
"""Parameters by which the server is reached, named as for every PostgreSQL client; `host` is the folder of a socket."""
FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
PASSING: Final = (
    errors.PostgresConnectionError, errors.OperatorInterventionError, errors.InsufficientResourcesError,
    errors.ReadOnlySQLTransactionError, errors.TransactionRollbackError, errors.LockNotAvailableError,
    errors.IdleInTransactionSessionTimeoutError, errors.TargetServerAttributeNotMatched, OSError, TimeoutError,
)
"""What passes: a server that starts, stops, stands by, is full or overloaded is as good as away."""
REFUSED: Final = (
    errors.InvalidAuthorizationSpecificationError, errors.InvalidCatalogNameError, errors.InsufficientPrivilegeError,
    errors.ClientConfigurationError,
)
"""What somebody has to mend: password, database, right, certificate."""
POOLED: Final = (errors.DuplicatePreparedStatementError, errors.InvalidSQLStatementNameError)
"""What a pooler makes of prepared statements that it does not know."""
POOLER: Final = (
    "a pooler is between that knows no prepared statements: give the server itself, or set pool_mode = session, or "
    "max_prepared_statements (PgBouncer 1.21)"
)
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
DATABASE: Final = """
SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d
WHERE d.datname = current_database()
"""
"""Names the database on its server, for all that look at it."""


class PostgresServer(NamedTuple):
    """What a URL says."""

    dsn: str
    """For the client, with credentials, without parameters of ours."""
    shown: str
    """For people, without credentials and parameters."""
    several: bool
    options: Mapping[str, str]
    """Parameters of ours."""
    secrets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Certificates and keys that the URL names."""

    def __repr__(self) -> str:
        return f"<PostgresServer {self.shown}>"

    @classmethod
    def of(cls, url: str, own: tuple[str, ...], *, looks: str) -> PostgresServer:
        """From a URL whose further parameters are `own`; UsageError never repeats a password."""
        single, hosts = split_hosts(url)
        shown = mask_credentials(url.partition("?")[0].partition("#")[0])
        try:
            parts = urlsplit(single)
            _ = parts.port
        except ValueError:  # whose text may repeat a password
            raise UsageError(
                f"this is not a URL: encode special characters of a password as %XX; it must look like {looks}"
            ) from None
        try:
            options = _parameters(parts.query, own)
        except ValueError as error:
            raise UsageError(f"{_plain(shown)}: {error}; it must look like {looks}") from None
        if parts.scheme not in SCHEMES or parts.fragment or not parts.path.strip("/") or "/" in parts.path.strip("/"):
            raise UsageError(f"{_plain(shown)}: it must look like {looks}")
        if not parts.hostname and "host" not in options:
            raise UsageError(f"{_plain(shown)} names no host: it must look like {looks}")
        if (problem := wrong_hosts(hosts)) and parts.hostname:
            raise UsageError(f"{shown}: {problem}")
        ways = urlencode({name: value for name, value in options.items() if name in WAYS})
        dsn = url.partition("?")[0] + (f"?{ways}" if ways else "")
        ours = {name: value for name, value in options.items() if name not in WAYS}
        secrets = tuple(filter(None, (parts.password, unquote(parts.password or ""))))
        files = tuple(options[name] for name in FILES if name in options)
        return cls(dsn, shown, len(hosts) > 1, ours, secrets, files)

    async def connect(self, timeout: float, **more: Any) -> Any:
        """A connection (asyncpg) to the host that can be written; raises what `PASSING` and `REFUSED` tell apart."""
        attributes = "read-write" if self.several else None
        for file in self.files:
            with open(file, "rb"):  # noqa: PTH123, ASYNC230 - small and local; the client says no name of what is missing
                pass
        try:
            return await asyncpg.connect(self.dsn, timeout=timeout, target_session_attrs=attributes, **more)
        except ValueError as error:  # a file of certificates or passwords that cannot be used
            raise errors.ClientConfigurationError(self.told(error)) from None

    async def is_pooled(self, timeout: float) -> bool:
        """Whether a pooler is between; raises one of `POOLED` when prepared statements get lost in it."""
        one = await self.connect(timeout)
        try:
            if one.get_server_pid() == await one.fetchval("SELECT pg_backend_pid()"):
                return False
            other = await self.connect(timeout)
            try:
                mine, its = one.transaction(), other.transaction()
                await mine.start()
                prepared = await one.prepare("SELECT 2")
                await its.start()
                await other.fetchval("SELECT 1", timeout=timeout)
                await mine.commit()
                await its.commit()  # what a pooler gives first now, it had given to the other
                await prepared.fetchval(timeout=timeout)
            except TimeoutError:
                raise errors.InvalidSQLStatementNameError("the pool has one connection") from None
            finally:
                other.terminate()
        finally:
            one.terminate()
        return True

    def told(self, error: BaseException) -> str:
        """An error's text on one line, without credentials."""
        text = mask_credentials(first_sentence(error))
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text[:300]


def first_sentence(error: BaseException) -> str:
    """An error's text on one line, without the details, in which PostgreSQL shows rows."""
    text = str(error.args[0] if error.args else "") if isinstance(error, asyncpg.PostgresError) else str(error)
    return " ".join(text.split()) or type(error).__name__


def storable(text: str) -> str:
    """What comes from elsewhere, without the one character that no text of PostgreSQL holds."""
    return text.replace("\0", "\ufffd")


def storable_json(text: str) -> str:
    """The same for JSON, where that character is an escape that nobody could read out of a column."""
    return _NUL.sub(r"\1\\ufffd", text)


def _parameters(query: str, own: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        known = (*own, *WAYS)
        if name not in known:
            near = nearest(name, known)
            raise ValueError(f"it has no parameter {name[:40]}" + (f", is {near} meant?" if near else ""))
        if name in found or not value:
            raise ValueError(f"{name} must be given once, with a value")
        found[name] = value
    return found


def _plain(shown: str) -> str:
    """A text that may be no URL at all, without what may be a password in it."""
    scheme, colons, rest = shown.partition("://")
    return f"{scheme[:10]}://{rest.rpartition('@')[2]}" if colons and scheme in SCHEMES else "this"
