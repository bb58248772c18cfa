"""What the library tells of its connections, and what asking for a topic does to a consumer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sender.queues.kafka.client import Trouble, find_topic

DOWN, AWAY, TLS = KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._SSL


class Silent:
    """A client of a cluster that does not answer; polling it gives a message, and what the library has to tell."""

    def __init__(self, trouble: Trouble, *told: int) -> None:
        self._trouble = trouble
        self._told = list(told)
        self.given = 0

    def list_topics(self, *_: object, **__: object) -> Any:
        raise KafkaException(KafkaError(AWAY))

    def poll(self, _: float) -> object:
        for code in self._told:
            self._trouble(KafkaError(code))
        self._told.clear()
        self.given += 1
        return SimpleNamespace()


def test_asking_for_the_topic_takes_no_message_from_a_consumer_that_reads() -> None:
    """The message was thrown away, and the next one's offset said that it was done: its job was never sent."""
    client = Silent(trouble := Trouble())
    with pytest.raises(KafkaException):
        find_topic(client, "shown", "jobs", trouble, reads=True)
    assert client.given == 0


@pytest.mark.parametrize("told", [(TLS,), (TLS, DOWN), (TLS, AWAY, DOWN), (AWAY, TLS, AWAY)])
def test_what_somebody_has_to_mend_is_told_though_another_address_only_does_not_answer(told: tuple[int, ...]) -> None:
    """A name with two addresses: nobody listens on one, and the certificate of the other is refused."""
    client = Silent(trouble := Trouble(), *told)
    with pytest.raises(KafkaException) as caught:
        find_topic(client, "shown", "jobs", trouble)
    assert caught.value.args[0].code() == TLS


def test_an_answer_ends_what_was_told() -> None:
    trouble = Trouble()
    trouble(KafkaError(TLS))
    topic = SimpleNamespace(error=None, partitions={0: None})
    client: Any = SimpleNamespace(list_topics=lambda *_, **__: SimpleNamespace(topics={"jobs": topic}, cluster_id="c"))
    assert find_topic(client, "shown", "jobs", trouble) == ((0,), "c")
    assert (trouble.latest, trouble.refusal) == (None, None)
