"""How servers are found and know us: several hosts in one URL, `redis://a:26379,b:26379/0` (the standard library knows
URLs of one host only), and certificates."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SEVERAL: Final = "amqp://, nats://, kafka://, postgres://, and redis:// with sentinel=MASTER or cluster=yes"
ENCRYPTED: Final = ("rediss", "amqps", "tls")


def split_hosts(url: str) -> tuple[str, tuple[str, ...]]:
    """(the URL with its first host alone, all hosts as they stand there); a URL of one host stays as it is."""
    scheme, colons, rest = url.partition("://")
    ends = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    user, at, listed = rest[:ends].rpartition("@")
    hosts = tuple(listed.split(","))
    return f"{scheme}{colons}{user}{at}{hosts[0]}{rest[ends:]}", hosts


def with_host(url: str, host: str) -> str:
    """The URL of one host, with this one in its place."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{host}").geturl()


def host_and_port(host: str, port: int) -> tuple[str, int]:
    """Of one host, with the port that holds where it names none; ValueError for a port that is none."""
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or port


def wrong_hosts(hosts: tuple[str, ...]) -> str | None:
    """What is wrong with one of them, without repeating it."""
    for host in hosts:
        try:
            name, _ = host_and_port(host, 1)
        except ValueError:
            return "a port is no number"
        if not name:
            return "a host is missing"
    return None


def wrong_ways(scheme: str, options: Mapping[str, str]) -> str | None:
    """What is wrong with the options that say how a server is found, and how it knows us."""
    if "sentinel" in options and "cluster" in options:
        return "it is sentinel=MASTER or cluster=yes, not both"
    if options.get("cluster", "yes") != "yes":
        return "cluster is yes, or left out"
    if "sentinel_password_file" in options and "sentinel" not in options:
        return "sentinel_password_file goes with sentinel=MASTER"
    if "creds" in options and "nkey" in options:
        return "it is creds or nkey, not both"
    if ("cert" in options) != ("key" in options):
        return "cert and key go together"
    if any(name in options for name in ("ca", "cert")) and scheme not in ENCRYPTED:
        return f"ca, cert and key are for encrypted connections: {', '.join(f'{one}://' for one in ENCRYPTED)}"
    return None


def tls_context(options: Mapping[str, str]) -> ssl.SSLContext | None:
    """The context for `ca`, `cert` and `key`; None where the library's own will do. Read anew for each connection."""
    if "ca" not in options and "cert" not in options:
        return None
    context = ssl.create_default_context(cafile=options.get("ca"))
    if "cert" in options:
        context.load_cert_chain(options["cert"], options["key"])
    return context
