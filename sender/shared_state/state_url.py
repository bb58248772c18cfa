"""`open_state(url, …)`: the shared state behind `--state redis://…` or `--state postgres://…`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from sender.errors import UsageError
from sender.jobs.masking import mask_credentials
from sender.queues.server_access import split_hosts, wrong_hosts, wrong_ways

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.shared_state.shared_state import SharedState

SCHEMES: Final = ("redis", "rediss", "unix")
POSTGRES: Final = ("postgres", "postgresql")
OPTIONS: Final = ("durable", "sentinel", "sentinel_password_file", "cluster", "ca", "cert", "key")
DURABLE: Final = ("waitaof", "wait")
KEEP: Final = 30 * 86400.0
"""Seconds after which a finished identity is forgotten."""


async def open_state(
    url: str,
    *,
    workspace: str = "default",
    host: str,
    keep: float = KEEP,
    on_lost: Callable[[BaseException], None] | None = None,
) -> SharedState:
    """Connect, check the server's settings, and become one of the replicas of this workspace.

    `workspace` names the keys (and so the cluster slot) or rows, `host` is the API's; `keep` is in seconds. With
    `?durable=waitaof` every hand-over and end waits for the disk of a Redis server (7.2 or later), with `?durable=wait`
    for one of its replicas; PostgreSQL always waits for its disk. UsageError tells, with credentials masked, why a
    state cannot be used.
    """
    _, durable = check_state_url(url)
    if keep <= 0:
        raise UsageError("--keep must be above 0")
    from sender.shared_state.shared_state import SharedState

    name = quote(workspace, safe="")
    if _is_postgres(url):
        server = await _module("postgres", "asyncpg").open_server(url, name, host, keep=keep)
    else:
        server = await _module("redis", "redis").open_server(url, name, host, keep=keep, durable=durable)
    return await SharedState.join(server, on_lost)


def _module(kind: str, package: str) -> Any:
    try:
        return import_module(f"sender.shared_state.{kind}.server")
    except ImportError:
        raise UsageError(f"--state needs the package {package}: pip install 'sender[{kind}]'") from None


def _is_postgres(url: str) -> bool:
    return url.partition("://")[0] in POSTGRES


def check_state_url(url: str) -> tuple[str, str]:
    """(the URL without options of ours, what to wait for, of DURABLE or empty); UsageError never repeats a password."""
    if _is_postgres(url):
        return str(_module("postgres", "asyncpg").check_url(url).dsn), ""
    single, hosts = split_hosts(url)
    try:
        parts = urlsplit(single)
        _ = parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise UsageError("--state is not a URL: it must look like redis://host[:port]/db") from None
    shown = mask_credentials(url.partition("?")[0].partition("#")[0])
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "unix"):
        raise UsageError("--state must look like redis://[user:password@]host[:port]/db (rediss:// for TLS), or postgres://host/db")
    if parts.fragment or not (parts.scheme == "unix" or parts.path.strip("/").isdecimal() or not parts.path.strip("/")):
        raise UsageError(f"--state {shown}: what follows the host must be the number of a database, like /0")
    for name in options:
        if name not in OPTIONS:
            raise UsageError(
                f"--state {shown}: there is no option of that name; it knows durable=waitaof and wait, "
                f"{', '.join(OPTIONS[1:])}"
            )
    if options.get("durable", "waitaof") not in DURABLE:
        raise UsageError(f"--state {shown}: durable must be waitaof or wait")
    several = "sentinel" in options or "cluster" in options
    problem = wrong_hosts(hosts) if parts.scheme != "unix" else None
    if problem := problem or wrong_ways(parts.scheme, options):
        raise UsageError(f"--state {shown}: {problem}")
    if len(hosts) > 1 and not several:
        raise UsageError(f"--state {shown}: several hosts need sentinel=MASTER or cluster=yes")
    return url.partition("?")[0], options.get("durable", "")
