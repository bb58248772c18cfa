"""From a URL to the queue or publisher behind it; the broker's library is imported only here and now."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from sender.errors import UsageError
from sender.queues.address import parse, parse_target

if TYPE_CHECKING:
    from sender.queues.letters import LetterBox
    from sender.queues.publisher import Publisher
    from sender.queues.queue import Queue, QueueOrigins, RequeueCounts

IN_HAND: Final = 100
RETURN_AFTER: Final = 30.0
_BROKERS: Final = {
    "redis": ("redis_streams", "RedisStreams"), "amqp": ("rabbitmq", "RabbitMq"), "nats": ("jetstream", "JetStream"),
    "sqs": ("sqs", "Sqs"), "kafka": ("kafka", "Kafka"), "postgres": ("postgres", "Postgres"),
}
"""Module and first part of its classes' names."""
_LIBRARIES: Final = ("redis", "aio_pika", "aiormq", "nats", "aiobotocore", "botocore", "confluent_kafka", "asyncpg")


def is_queue(text: str) -> bool:
    """Whether this names a queue and not a path."""
    return "://" in text


def open_queue(
    url: str, *, in_hand: int = IN_HAND, return_after: float = RETURN_AFTER,
    requeue_counts: RequeueCounts | None = None, origins: QueueOrigins | None = None,
) -> Queue:
    """The queue behind `url`, not yet connected; UsageError when the URL is wrong or its client is not installed.

    `in_hand` bounds the messages read and not yet acknowledged; `return_after` is the number of seconds after which
    a message that nobody kept returns to the queue (RabbitMQ: when the connection ends).
    """
    address = parse(url)
    return cast("Queue", _class(address.broker, "Queue")(address, in_hand, return_after, requeue_counts, origins))


def open_publisher(url: str) -> Publisher[Any]:
    """Dead letter and outcome sink behind `url`, not yet connected; UsageError as for `open_queue`."""
    address = parse(url, writes=True)
    return cast("Publisher[Any]", _class(address.broker, "Publisher")(address))


def open_target(url: str) -> Publisher[Any]:
    """Publisher of jobs to a queue; UsageError as for `parse_target`."""
    address = parse_target(url)
    return cast("Publisher[Any]", _class(address.broker, "Publisher")(address))


def open_letters(url: str) -> LetterBox[Any]:
    """What lies in the dead letter queue behind `url`, not yet connected; UsageError as above."""
    address = parse(url, writes=True)
    return cast("LetterBox[Any]", _class(address.broker, "Letters", "sender.queues.letters")(address))


def _class(broker: str, kind: str, package: str = "sender.queues") -> Any:
    module, name = _BROKERS[broker]
    try:
        return getattr(import_module(f"{package}.{module}"), name + kind)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise UsageError(f"{broker}:// needs a client that is not installed: pip install 'sender[{broker}]'") from None
