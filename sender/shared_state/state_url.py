"""`open_state(url, …)`: the shared state behind `--state redis://…`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlsplit

from sender.errors import UsageError
from sender.jobs.masking import mask_credentials
from sender.queues.server_access import split_hosts, wrong_hosts, wrong_ways

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.shared_state.shared_state import SharedState

SCHEMES: Final = ("redis", "rediss", "unix")
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

    `workspace` names the keys (and so the cluster slot), `host` is the API's; `keep` is in seconds. With
    `?durable=waitaof` every hand-over and end waits for the server's disk (Redis 7.2 or later), with `?durable=wait`
    for one of its replicas. UsageError tells, with credentials masked, why a state cannot be used.
    """
    _, durable = check_state_url(url)
    if keep <= 0:
        raise UsageError("--keep must be above 0")
    try:
        from sender.shared_state.shared_state import SharedState
    except ImportError:
        raise UsageError("--state needs the package redis: pip install 'sender[redis]'") from None
    return await SharedState.open(url, quote(workspace, safe=""), host, keep=keep, durable=durable, on_lost=on_lost)


def check_state_url(url: str) -> tuple[str, str]:
    """(the URL without options of ours, what to wait for, of DURABLE or empty); UsageError never repeats a password."""
    single, hosts = split_hosts(url)
    try:
        parts = urlsplit(single)
        _ = parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise UsageError("--state is not a URL: it must look like redis://host[:port]/db") from None
    shown = mask_credentials(url.partition("?")[0].partition("#")[0])
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "unix"):
        raise UsageError("--state must look like redis://[user:password@]host[:port]/db (rediss:// for TLS)")
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
