"""To a Kafka topic: letters, retries, outcome lines, and jobs on their way again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, Producer

from sender.queues.broker_connection import BrokerConnection
from sender.queues.kafka.client import KafkaSettings, Trouble, find_topic, is_lost
from sender.queues.publisher import OutgoingLine, Publisher

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

LARGEST: Final = 64 * 2**20
"""Bytes of a message; the topic's own limit may be less."""
DELIVERED_WITHIN: Final = 5.0
"""Seconds after which a message that no broker confirmed is given up, and said to be lost."""


class KafkaProducerConnection(BrokerConnection[Producer]):
    """Idempotent: what the library sends again by itself stands in the topic once, and in order."""

    async def _connect(self) -> Producer:
        trouble = Trouble()
        producer = Producer(KafkaSettings(self.address, trouble).of(
            "producer", acks="all", enable_idempotence=True, message_max_bytes=LARGEST, linger_ms=1,
            message_timeout_ms=int(DELIVERED_WITHIN * 1000),
        ))
        await asyncio.to_thread(find_topic, producer, self.address.shown, self.address.path, trouble)
        return producer

    async def _disconnect(self, client: Producer) -> None:
        client.purge()
        await asyncio.to_thread(client.flush, 0.5)

    def _is_lost(self, error: Exception) -> bool | None:
        return is_lost(error)


class KafkaPublisher(Publisher[Producer]):
    """Publishes to a topic, and waits until all in-sync replicas have each message."""

    connection_type = KafkaProducerConnection

    async def _publish(self, client: Producer, lines: list[OutgoingLine]) -> None:
        problems: list[KafkaError] = []
        missing = len(lines)

        def delivered(error: KafkaError | None, _: Any) -> None:
            nonlocal missing
            missing -= 1
            if error is not None:
                problems.append(error)

        for one in lines:
            headers: dict[str, Any] = one.headers | ({"x-sender-reason": one.reason} if one.reason else {})
            client.produce(self.address.path, one.line, one.key, headers=headers, on_delivery=delivered)
        await asyncio.to_thread(client.flush, DELIVERED_WITHIN + 1)
        if problems:
            raise KafkaException(problems[0])
        if missing:
            raise TimeoutError
