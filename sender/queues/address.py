"""What stands in a queue's URL, checked before anything is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sender.errors import UsageError
from sender.jobs.masking import MASK
from sender.jobs.nearest import nearest
from sender.outbox.outbox_table import DEFAULT as DEFAULT_TABLE
from sender.outbox.outbox_table import OutboxTable
from sender.queues.server_access import SEVERAL, split_hosts, wrong_hosts, wrong_ways

if TYPE_CHECKING:
    from sender.jobs.job import Priority

SCHEMES: Final = {
    "redis": "redis", "rediss": "redis", "amqp": "amqp", "amqps": "amqp", "nats": "nats", "tls": "nats", "sqs": "sqs",
    "kafka": "kafka", "postgres": "postgres", "postgresql": "postgres",
}
_READ: Final = {
    "redis": ("stream", "group"), "amqp": ("queue",), "nats": ("stream", "consumer"), "sqs": (), "kafka": ("group",),
    "postgres": (),
}
_WRITE: Final = {
    "redis": ("stream",), "amqp": ("queue",), "nats": ("stream",), "sqs": (), "kafka": (), "postgres": (),
}
POSTGRES_WAYS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "host")
"""Named as for every PostgreSQL client."""
_TLS: Final = ("ca", "cert", "key")
_MORE: Final = {
    "redis": ("sentinel", "sentinel_password_file", "cluster", *_TLS), "amqp": _TLS, "nats": ("creds", "nkey", *_TLS),
    "sqs": ("endpoint",), "kafka": ("properties",), "postgres": ("table", *POSTGRES_WAYS),
}
_MORE_TO_READ: Final = {
    "redis": ("trim",), "amqp": (), "nats": (), "sqs": (), "kafka": ("order", "delay"), "postgres": (),
}
_MORE_TO_WRITE: Final = {"redis": ("maxlen",), "amqp": (), "nats": (), "sqs": (), "kafka": (), "postgres": ()}
_LOOKS: Final = {
    "redis": "redis://HOST/DB?stream=jobs&group=senders",
    "amqp": "amqp://USER@HOST/VHOST?queue=jobs",
    "nats": "nats://HOST?stream=JOBS&consumer=senders",
    "sqs": "sqs://REGION/QUEUE",
    "kafka": "kafka://BROKERS/TOPIC?group=senders",
    "postgres": "postgres://HOST/DB?table=sender_outbox",
}
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
PRIORITIES: Final = ("high", "normal", "low")
LONGEST_DELAY: Final = 7 * 86400


@dataclass(frozen=True, slots=True)
class Address:
    """One queue: its broker, how to reach it, and the parameters of its URL."""

    broker: str
    url: str
    """For the client: with credentials, without our parameters."""
    shown: str
    """For people: without credentials."""
    host: str
    path: str
    """Decoded, without the leading slash."""
    parameters: dict[str, str]
    hosts: tuple[str, ...] = ()
    """All hosts of the URL, as they stand there; `url` has the first."""
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"

    @property
    def priority(self) -> Priority | None:
        """The priority for jobs of this queue that name none."""
        return cast("Priority | None", self.parameters.get("priority"))

    def hide(self, text: str) -> str:
        """`text` without the credentials of this address."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text


def shown(url: str) -> str:
    """The URL with user and password masked, whatever it looks like."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return MASK
    return f"{scheme}://{MASK}@{rest.rpartition('@')[2]}" if "@" in rest else url


def parse(url: str, *, writes: bool = False) -> Address:
    """The address behind a queue's URL; UsageError says what is wrong with it, without repeating a secret."""
    single, hosts = split_hosts(url)
    parts = _split(single)
    broker = SCHEMES[parts.scheme]
    needed = (_WRITE if writes else _READ)[broker]
    own = _MORE_TO_WRITE[broker] if writes else ("priority", "name", *_MORE_TO_READ[broker])
    parameters = _parameters(parts, needed, (*_MORE[broker], *own), broker)
    _check(parts, parameters, broker)
    _check_ways(parts, parameters, hosts, broker)
    plain = parts._replace(query="", fragment="").geturl()
    secrets = {text for text in (parts.password, unquote(parts.password or "")) if text}
    return Address(
        broker=broker, url=plain, shown=shown(url), host=parts.hostname or "", path=unquote(parts.path.lstrip("/")),
        parameters=parameters, hosts=hosts, secrets=tuple(sorted(secrets, key=len, reverse=True)),
    )


def parse_target(url: str) -> Address:
    """Where jobs are put, named as for its consumers or as for who writes to it; UsageError as above."""
    try:
        return parse(url)
    except UsageError:
        return parse(url, writes=True)


def _check_ways(parts: SplitResult, parameters: dict[str, str], hosts: tuple[str, ...], broker: str) -> None:
    """Several hosts, Sentinel and Cluster, certificates."""
    name = f"{parts.scheme}://{parts.hostname}"
    if problem := (None if "host" in parameters else wrong_hosts(hosts)) or wrong_ways(parts.scheme, parameters):
        raise UsageError(f"{name}: {problem}")
    several = broker in ("amqp", "nats", "kafka", "postgres") or "sentinel" in parameters or "cluster" in parameters
    if len(hosts) > 1 and not several:
        raise UsageError(f"{name}: several hosts are for {SEVERAL}")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(
            f"{url.partition(':')[0][:10]}: this is not a URL; encode special characters of a password as %XX"
        ) from None
    if parts.scheme not in SCHEMES:
        near = nearest(parts.scheme, SCHEMES)
        hint = f"is {near}:// meant?" if near else f"a queue is one of {', '.join(_LOOKS.values())}"
        raise UsageError(f"{parts.scheme[:10] or 'this'} is no queue URL: {hint}")
    if not parts.hostname and "host" not in dict(parse_qsl(parts.query)):
        plain = shown(url.partition("?")[0])
        raise UsageError(f"{plain}: it must look like {_LOOKS[SCHEMES[parts.scheme]]}")
    return parts


def _parameters(parts: SplitResult, needed: tuple[str, ...], more: tuple[str, ...], broker: str) -> dict[str, str]:
    """Each known parameter once, none unknown, none missing."""
    known, found = (*needed, *more), {}
    name = f"{parts.scheme}://{parts.hostname}"
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in known:
            near = nearest(key, known)
            hint = f"is {near} meant?" if near else f"there are {', '.join(known) or 'none'}"
            raise UsageError(f"{name} has no parameter {key[:40]}: {hint}")
        if key in found or not value:
            raise UsageError(f"{name}: {key} must be given once, with a value")
        found[key] = value
    missing = [key for key in needed if key not in found]
    if missing:
        raise UsageError(f"{name} lacks {' and '.join(missing)}: it must look like {_LOOKS[broker]}")
    return found


def _check(parts: SplitResult, parameters: dict[str, str], broker: str) -> None:
    if parts.fragment:
        raise UsageError(f"{parts.scheme}://{parts.hostname}: a URL of a queue has no #; encode it as %23")
    if parameters.get("priority", "normal") not in PRIORITIES:
        raise UsageError(f"{parts.scheme}://{parts.hostname}: priority is one of {', '.join(PRIORITIES)}")
    if parameters.get("trim", "acked") not in ("acked", "never"):
        raise UsageError(f"{parts.scheme}://{parts.hostname}: trim is acked or never")
    most = parameters.get("maxlen", "1")
    if not (most.isascii() and most.isdigit() and int(most[:18]) > 0 and len(most) < 18):
        raise UsageError(f"{parts.scheme}://{parts.hostname}: maxlen is a number of entries, above 0")
    database = parts.path.strip("/")
    if broker == "redis" and database and not (database.isascii() and database.isdigit()):
        raise UsageError(f"redis://{parts.hostname}: the database is a number, like /0")
    if broker == "nats" and parts.path.strip("/"):
        raise UsageError(f"nats://{parts.hostname}: there is no path in {_LOOKS['nats']}")
    if broker == "sqs":
        _check_sqs(parts, parameters)
    if broker == "kafka":
        _check_kafka(parts, parameters)
    if broker == "postgres":
        _check_postgres(parts, parameters)


def _check_kafka(parts: SplitResult, parameters: dict[str, str]) -> None:
    if "@" in parts.netloc:
        raise UsageError(
            "kafka:// must not hold a user or password; they stand in a file: sasl.username and sasl.password in "
            "?properties=FILE"
        )
    if not _TOPIC.fullmatch(unquote(parts.path.strip("/"))):
        raise UsageError(f"kafka://{parts.hostname} lacks a topic, or it is none: it must look like {_LOOKS['kafka']}")
    if parameters.get("order", "key") != "key":
        raise UsageError(f"kafka://{parts.hostname}: order is key, or left out")
    delay = parameters.get("delay", "1")
    if not (delay.isascii() and delay.isdigit() and len(delay) < 9 and 0 < int(delay) <= LONGEST_DELAY):
        raise UsageError(f"kafka://{parts.hostname}: delay is a whole number of seconds, from 1 to {LONGEST_DELAY:,}")


def _check_postgres(parts: SplitResult, parameters: dict[str, str]) -> None:
    if not parts.path.strip("/") or "/" in parts.path.strip("/"):
        name = f"{parts.scheme}://{parts.hostname}"
        raise UsageError(f"{name} lacks the database: it must look like {_LOOKS['postgres']}")
    OutboxTable.named(parameters.get("table", DEFAULT_TABLE))


def _check_sqs(parts: SplitResult, parameters: dict[str, str]) -> None:
    if "@" in parts.netloc:
        raise UsageError("sqs:// must not hold a user or password; credentials come as for every AWS tool")
    if not parts.path.strip("/"):
        raise UsageError(f"sqs://{parts.hostname} lacks the queue: it must look like {_LOOKS['sqs']}")
    endpoint = parameters.get("endpoint", "http://local")
    if not endpoint.startswith(("http://", "https://")) or "@" in endpoint:
        raise UsageError("sqs:// has an endpoint that is not http://HOST:PORT or https://HOST:PORT")
