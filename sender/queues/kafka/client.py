"""What all clients of Kafka have in common: their configuration, whether a topic is there, and what errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from sender.jobs.masking import MASK
from sender.queues.kafka.progress import PartitionProgress, is_of_another
from sender.queues.kafka.properties import read_properties, secrets_of
from sender.queues.queue import QueueError, QueueLost
from sender.queues.server_access import host_and_port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient

    from sender.queues.address import Address

PORT: Final = 9092
WITHIN: Final = 5.0
"""Seconds for one question to the cluster."""
SURELY: Final = 3 * WITHIN
"""Seconds until an answer, if only that there is none: a client must not go while it owes one, or the process dies."""
NEXT: Final = -1
FIRST: Final = -2
"""In the place of a time: the offsets at the end and at the beginning."""
NO_ID: Final = "0"
"""For the topics of a cluster that gives them none (Kafka before 2.8)."""
_ZERO: Final = "AAAAAAAAAAAAAAAAAAAAAA"
_HINTS: Final = {
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "others read in this group who share partitions in another way; give this "
                                            "consumer a group of its own",
    KafkaError.GROUP_MAX_SIZE_REACHED: "the cluster takes no more members into this group (group.max.size)",
    KafkaError.INVALID_SESSION_TIMEOUT: "the cluster takes no such session.timeout.ms; ?properties=FILE gives another",
}
"""What keeps a member out of its group until somebody acts."""
_REFUSALS: Final = frozenset((
    *_HINTS,
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION,
    KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_RECORD,
    KafkaError.TOPIC_EXCEPTION, KafkaError._INVALID_ARG, KafkaError._SSL, KafkaError.UNSUPPORTED_SASL_MECHANISM,
))
UNKNOWN: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class Topic(NamedTuple):
    """A topic as its cluster knows it."""

    id: str
    """Another one when it was made anew: its offsets begin anew with it."""
    partitions: tuple[int, ...]
    cluster: str

    @property
    def known_id(self) -> str:
        """The id; empty where the cluster gives none."""
        return "" if self.id == NO_ID else self.id


class Trouble:
    """What the library tells between calls: it mends broken connections by itself, and says so nowhere else."""

    def __init__(self) -> None:
        self.latest: KafkaError | None = None
        self.refusal: KafkaError | None = None
        """The latest that somebody has to mend; a broker has several addresses, and others may only not answer."""

    def clear(self) -> None:
        """Something was answered."""
        self.latest = self.refusal = None

    def __call__(self, error: KafkaError) -> None:
        """See the library's `error_cb`. Its first word counts: that no broker is left says nothing new."""
        if self.latest is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.latest = error
        if error.code() in _REFUSALS:
            self.refusal = error


class KafkaSettings:
    """The configuration of a client, with the properties as they stand in their file now."""

    def __init__(self, address: Address, trouble: Trouble) -> None:
        path = address.parameters.get("properties")
        self._own = read_properties(path) if path else {}
        self._base: dict[str, Any] = {
            "bootstrap.servers": ",".join(_with_port(host) for host in address.hosts),
            "client.id": "sender", "log_level": 2, "error_cb": trouble, "socket.timeout.ms": int(WITHIN * 2000),
            "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1000, "allow.auto.create.topics": False,
        }

    def of(self, kind: str, **more: Any) -> dict[str, Any]:
        """For a `consumer`, `producer` or `admin`; `more` has underscores for dots."""
        foreign = {"consumer": ("compression.type",), "producer": ("session.timeout.ms", "client.rack")}
        out = foreign.get(kind, (*foreign["consumer"], *foreign["producer"]))
        own = {name: value for name, value in self._own.items() if name not in out}
        return self._base | {name.replace("_", "."): value for name, value in more.items()} | own

    def hide(self, text: str) -> str:
        """`text` without the secrets of the properties."""
        for secret in secrets_of(self._own):
            text = text.replace(secret, MASK)
        return text


def _with_port(host: str) -> str:
    name, port = host_and_port(host, PORT)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def is_lost(error: Exception) -> bool | None:
    """See `BrokerConnection._is_lost`."""
    if isinstance(error, KafkaException):
        return error_of(error).code() not in _REFUSALS
    if isinstance(error, QueueError):
        return isinstance(error, QueueLost)
    # the library's word for a client that was closed while it was asked is RuntimeError
    return True if isinstance(error, OSError | TimeoutError | RuntimeError) else None


def refusal_of(shown: str, error: KafkaError) -> Exception:
    """What the library says is refused, with what to do about it where that is known."""
    hint = _HINTS.get(error.code())
    return QueueError(f"{shown}: {error.str()}; {hint}") if hint else KafkaException(error)


def error_of(error: KafkaException) -> KafkaError:
    """What the library says is wrong."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def find_topic(
    client: Any, shown: str, name: str, trouble: Trouble, within: float = WITHIN, *, reads: bool = False
) -> tuple[tuple[int, ...], str]:
    """Its partitions and its cluster, as any client sees them; QueueError when there is no such topic.

    KafkaException when nobody answers, with the reason that was told for it. A consumer that `reads` is not polled
    here: the message that this may give would be lost.
    """
    try:
        found = client.list_topics(name, timeout=within)
    except KafkaException:
        if not reads:
            client.poll(0)
        if trouble.refusal is not None:
            raise KafkaException(trouble.refusal) from None
        raise
    trouble.clear()
    topic = found.topics[name]
    if topic.error is not None and topic.error.code() in UNKNOWN:
        raise QueueError(f"{shown}: there is no topic {name}; make it first")
    if topic.error is not None:
        raise KafkaException(topic.error)
    return tuple(topic.partitions), str(found.cluster_id or "")


def id_of(admin: AdminClient, name: str) -> str:
    """What tells the topic from one of the same name that is made later."""
    asked = admin.describe_topics(TopicCollection([name]), request_timeout=WITHIN)[name]
    try:
        found = str(asked.result(SURELY).topic_id)
    except KafkaException as error:
        if error_of(error).code() != KafkaError._UNSUPPORTED_FEATURE:
            raise
        return NO_ID
    return NO_ID if found == _ZERO else found


def progress_of(
    consumer: Consumer, topic: str, partitions: Iterable[int], topic_id: str = ""
) -> dict[int, PartitionProgress]:
    """What the consumer's group has committed for the topic of this id; without the partitions of which nothing was."""
    found = consumer.committed([TopicPartition(topic, number) for number in partitions], timeout=WITHIN)
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    ours = [one for one in found if one.offset >= 0 and not is_of_another(one.metadata, topic_id)]
    return {one.partition: PartitionProgress.decode(one.offset, one.metadata) for one in ours}


def ends_of(consumer: Consumer, topic: str, partitions: Iterable[int], *, first: bool = False) -> dict[int, int]:
    """The offset that the next message of each gets, or that of the `first` one that is there."""
    asked = [TopicPartition(topic, number, FIRST if first else NEXT) for number in partitions]
    found = consumer.offsets_for_times(asked, timeout=WITHIN) if asked else []
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return {one.partition: one.offset for one in found}
