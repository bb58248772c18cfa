"""What the server's own settings promise, checked at the start (docs/queues-and-state.md, "Shared state").

The ledger has to outlive the server. What is kept through what, by the server's settings:

| setting                              | killed server             | power loss           |
|--------------------------------------|---------------------------|----------------------|
| appendonly yes, appendfsync always   | all                       | all                  |
| ... everysec, `?durable=waitaof`     | all                       | all (Redis 7.2)      |
| appendonly yes, appendfsync everysec | all but for a slow disk   | all but 1 to 2 s     |
| appendonly no                        | nothing since a snapshot  | the same             |

`waitaof` with `everysec` waits up to a second for each hand-over; `always` is quicker. Replicas that live say again
after a restart what they hold, so that a lost second matters only where server and sender fail together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ASKED: Final = ("maxmemory-policy", "maxmemory", "appendonly", "appendfsync")
WITH_WAITAOF: Final = (7, 2)
LEAST: Final = (6, 2)
FORBIDDEN: Final = (
    "CONFIG is forbidden on the server: see to it that it has maxmemory-policy noeviction, appendonly yes, "
    "and appendfsync always (or everysec, which may lose a second)"
)
NEVER_SYNCED: Final = (
    "appendfsync is `no`: a power loss of the Redis machine may cost half a minute; "
    "CONFIG SET appendfsync everysec, or always"
)


class Examination(NamedTuple):
    """What the server's settings mean for us."""

    durability: str
    """One sentence: which guarantee holds."""
    warnings: Sequence[str] = ()


def examine(version: str, settings: Mapping[str, str] | None, *, durable: str = "", shown: str) -> Examination:
    """Decide; `settings` is None where CONFIG is forbidden. UsageError when the ledger could lose jobs unnoticed."""
    number, wait_aof = _number(version), durable == "waitaof"
    if number < LEAST:
        raise UsageError(f"--state {shown} is Redis {version}; 6.2 or later is needed")
    if wait_aof and number < WITH_WAITAOF:
        raise UsageError(
            f"--state {shown} is Redis {version}, which has no WAITAOF (7.2 has): leave durable=waitaof out, "
            "and set `appendfsync always` on the server"
        )
    if settings is None:
        return Examination("unknown: the server does not tell its settings", (FORBIDDEN,))
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise UsageError(
            f"--state {shown} has maxmemory-policy {policy} and may forget jobs: CONFIG SET maxmemory-policy noeviction"
        )
    if settings.get("appendonly", "yes") != "yes":
        return Examination(
            "none: a restart of the server loses what happened since its last snapshot",
            ("the server keeps nothing over a restart: CONFIG SET appendonly yes, and in redis.conf",),
        )
    found = _by_sync(settings.get("appendfsync", "everysec"), wait_aof=wait_aof)
    told = f"{found.durability}; it waits until a replica of the server has it, too (WAIT)"
    return found._replace(durability=told) if durable == "wait" else found


def _by_sync(sync: str, *, wait_aof: bool) -> Examination:
    if sync == "always":
        return Examination("a hand-over is on the server's disk before the first byte of its request leaves")
    if wait_aof and sync == "everysec":
        return Examination("a hand-over waits for the server's disk (WAITAOF), up to a second each")
    lost = "up to two seconds" if sync == "everysec" else "whatever the kernel has not written"
    kept = f"a hand-over survives the end of the server process; a power loss there costs {lost}"
    return Examination(kept, () if sync == "everysec" else (NEVER_SYNCED,))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
