"""How servers are found and know us: several hosts in one URL, `redis://a:26379,b:26379/0` (the standard library knows
URLs of one host only), and certificates."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SEVERAL: Final = "amqp://, nats://, and redis:// with sentinel=MASTER or cluster=yes"
ENCRYPTED: Final = ("rediss", "amqps", "tls")


def split_seeds(url: str) -> tuple[str, tuple[str, ...]]:
    """(the URL with its first host alone, all hosts as they stand there); a URL of one host stays as it is."""
    scheme, colons, rest = url.partition("://")
    ends = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    user, at, hosts = rest[:ends].rpartition("@")
    seeds = tuple(hosts.split(","))
    return f"{scheme}{colons}{user}{at}{seeds[0]}{rest[ends:]}", seeds


def with_seed(url: str, seed: str) -> str:
    """The URL of one host, with this one in its place."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{seed}").geturl()


def host_and_port(seed: str, port: int) -> tuple[str, int]:
    """Of one seed, with the port that holds where it names none; ValueError for a port that is none."""
    parts = urlsplit(f"//{seed}")
    return parts.hostname or "", parts.port or port


def wrong_seeds(seeds: tuple[str, ...]) -> str | None:
    """What is wrong with one of them, without repeating it."""
    for seed in seeds:
        try:
            host, _ = host_and_port(seed, 1)
        except ValueError:
            return "a port is no number"
        if not host:
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
