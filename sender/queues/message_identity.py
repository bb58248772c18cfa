"""Who a message is, through whatever host, user, group or option it was read (docs/queues-and-state.md, "Messages and
identity"). Pure; held by golden examples in the tests, since memories live longer than versions.

    redis/DATABASE/STREAM/ENTRY        nats/STREAM/CREATED/SEQUENCE
    amqp/VHOST/QUEUE/MESSAGE_ID        sqs/REGION/ACCOUNT/QUEUE/MESSAGE_ID
    kafka/TOPIC/TOPIC_ID/PARTITION/OFFSET
    postgres/DATABASE/TABLE/MICROSECONDS-ROW

Parts are percent-encoded. With `?name=eu` in the queue's URL the first word is `redis@eu`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from sender.outbox.outbox_table import DEFAULT, OutboxTable
from sender.queues.server_access import host_and_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.queues.address import Address

HEADER: Final = "x-sender-id"
"""The header, field or attribute in which every copy that we publish carries its identity, whatever the broker."""
CONTENT: Final = "content"
"""In the header of a copy: its message had no id, and is known by what its job asks for."""
MOST: Final = 2048
"""Characters; a longer header, or one that is not plain ASCII, is none of ours."""
_PARTS: Final = {"redis": 2, "amqp": 2, "nats": 1, "sqs": 3, "kafka": 3, "postgres": 2}
"""After how many parts a message's own begin, which people are shown."""
_PORTS: Final = {"redis": 6379, "amqp": 5672, "nats": 4222, "sqs": 443, "kafka": 9092, "postgres": 5432}
_HERE: Final = "localhost"
_LOOPBACK: Final = (_HERE, "127.0.0.1", "::1")


def queue_name(address: Address, account: str = "") -> str:
    """The queue's own name, which no other queue of its broker has; `account` is what SQS tells of itself."""
    given = address.parameters.get("name")
    first = f"{address.broker}@{_encoded(given)}" if given else address.broker
    return "/".join([first, *map(_encoded, _parts(address, account))])


def are_one(one: Address, other: Address) -> bool:
    """Whether two addresses surely name one queue, however they spell it; a server has further names in DNS."""
    plain = [replace(at, parameters={**at.parameters, "name": ""}) for at in (one, other)]
    return queue_name(plain[0]) == queue_name(plain[1]) and not _places(one).isdisjoint(_places(other))


def _places(address: Address) -> set[tuple[str, int]]:
    if "host" in address.parameters:  # the folder of a socket
        return {(_HERE, _PORTS[address.broker])}
    found = {host_and_port(host, _PORTS[address.broker]) for host in address.hosts}
    return {(_HERE if host in _LOOPBACK else host, port) for host, port in found}


def _parts(address: Address, account: str) -> tuple[str, ...]:
    parameters = address.parameters
    match address.broker:
        case "redis":
            return str(int(address.path.strip("/") or 0)), parameters["stream"]
        case "amqp":
            return address.path or "/", parameters["queue"]
        case "nats":
            return (parameters["stream"],)
        case "kafka":
            return (address.path,)
        case "postgres":
            table = OutboxTable.named(parameters.get("table", DEFAULT))
            return address.path, table.name if table.is_default_schema else str(table)
        case _:
            return address.host, account, address.path


def identity_of(name: str, message_id: str) -> str:
    """The identity of a message in the queue of this name."""
    return f"{name}/{quote(message_id, safe='/')}"


def to_header(identity: str | None) -> str:
    """What a copy carries; None is a message that is known by its content."""
    return identity or CONTENT


def carried(headers: Mapping[Any, Any] | None) -> str | None:
    """The identity that a copy carries among its headers, or CONTENT; None for a message that is no copy of ours."""
    for name, value in (headers or {}).items():
        if _text(name).lower() == HEADER and isinstance(value, str | bytes):
            found = _text(value)
            return found if 0 < len(found) <= MOST and found.isascii() and found.isprintable() else None
    return None


def shown_id(identity: str) -> str:
    """The broker's message id in an identity, for people; one of another form is shown as it is."""
    first, *parts = identity.split("/")
    many = _PARTS.get(first.partition("@")[0])
    if many is None or len(parts) <= many:
        return identity[:256]
    match first.partition("@")[0]:
        case "nats":
            kept = parts
        case "kafka":  # the topic's id says nothing to people
            kept = [parts[0], *parts[2:]]
        case _:
            kept = parts[many:]
    return unquote("/".join(kept))


def _encoded(part: str) -> str:
    return quote(part, safe="")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
