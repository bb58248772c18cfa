"""The Queue: one protocol for all brokers.

    read --> in hand --ack--> gone from the queue
               |  |
               |  keep (still working: nobody else gets it)
               |
               +--requeue--> visible to every reader at once, not counted as a delivery

What a reader neither acknowledged, kept nor put back returns to the queue by itself: it may be read twice, never not
at all. The ledger knows the job by its identity, so that a second reading sends nothing.

**A lost broker.** `read` raises QueueLost; calling it again connects anew. `ack`, `requeue` and `keep` never raise
QueueLost: acknowledgements are remembered and repeated until the broker took them; what could not be put back or
kept returns by itself. Where the handle dies with its connection (RabbitMQ), late acknowledgements are dropped: the
message is read again.

**Deliveries** count how often a message was given out for work:

| broker | counted by | put back without counting by |
|---|---|---|
| Redis Streams | the group's pending list | setting its count back |
| RabbitMQ, quorum | `x-delivery-count` + header `x-sender-deliveries` | a confirmed copy with that header, then ack |
| RabbitMQ, classic | header `x-sender-deliveries`, written anew when a message comes redelivered | the same |
| JetStream | its number of deliveries - requeues | a key-value bucket beside the stream |
| SQS | ApproximateReceiveCount - requeues | the `RequeueCounts` handed in |
| Kafka | the metadata of the group's offset | the same |
| PostgreSQL | the row's `deliveries` | setting it back |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from sender.errors import SenderError
from sender.jobs.masking import mask_credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from sender.jobs.job import Priority

TRACE_HEADERS: Final = ("traceparent", "tracestate", "baggage")
REDRIVE: Final = "x-sender-redrive"
"""Marks a message that an operator took out of the dead letter: a job that was refused may be tried again."""
RETRY: Final = "x-sender-retry"
"""On a message of a retry queue: which retry of its job this is, from 1 on."""
EXPIRES: Final = "x-sender-expires-at"
"""On the same, where it is not the job line that tells: unix seconds after which the job is not started."""
KEPT_HEADERS: Final = (*TRACE_HEADERS, REDRIVE, RETRY, EXPIRES)
MOST_RETRIES: Final = 1000


class QueueError(SenderError):
    """The broker refuses: no such queue, a wrong password, a missing right; trying again does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(mask_credentials(message))


class QueueLost(QueueError):  # noqa: N818 - said as it is meant
    """The broker cannot be reached or does not answer; the next call connects anew."""


class Ending(NamedTuple):
    """What became of a message's job, for a queue that keeps it beside the job."""

    status: str
    delivery_id: str | None = None
    error: Mapping[str, Any] | None = None
    """As in the outcome."""
    key: str | None = None
    """The job's identity."""


@dataclass(slots=True, eq=False, kw_only=True)
class Message:
    """One message in hand."""

    source: str
    """The queue's URL as shown to people: without credentials."""
    id: str
    """The broker's own message id, the same over redeliveries."""
    data: bytes = field(repr=False)
    """The job line; empty when the message has none."""
    deliveries: int
    """How often it was given out for work, this time included; without the times it was put back."""
    handle: Any = field(repr=False)
    """What the broker knows it by, until it is acknowledged."""
    connection: Any = field(default=None, repr=False)
    priority: Priority | None = None
    """From the URL's `?priority=`, for jobs that name none."""
    expires_at: float | None = None
    """Unix seconds, for jobs that name none."""
    ending: Ending | None = None
    """What became of its job, from when that is durable."""
    gone: bool = False
    """Whether it was taken out of its queue in the transaction that made its end durable."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those of `KEPT_HEADERS`, by lower-case name."""
    identity: str | None = None
    """Who it is, on whatever way it was read (`sender.queues.message_identity`); None: it is known by its content."""
    group: str | None = None
    """The SQS FIFO group: only one message of it is in hand at a time."""
    key: bytes | None = field(default=None, repr=False)
    """The Kafka key."""
    unread: int = 0
    """Its size in bytes where it is larger than any job: `data` is its beginning then, and the rest was not kept."""
    entry: bytes | None = field(default=None, repr=False)
    """All fields of a stream entry that has no job line, as JSON."""

    @property
    def retries(self) -> int:
        """How often its job was put to a retry queue; anyone may have written that, and what is no number is 0."""
        text = self.headers.get(RETRY, "")
        return min(int(text), MOST_RETRIES) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    @property
    def is_copy(self) -> bool:
        """Whether its job was tried before, as another message."""
        return REDRIVE in self.headers or RETRY in self.headers


class Queue(Protocol):
    """A source of messages (docs/queues-and-state.md, "Queues")."""

    source: str
    """Its URL as shown to people."""
    alive: bool
    """Whether the broker answered the last call."""
    keep_every: float | None
    """Seconds between two `keep` of a message in hand; None when the broker needs none."""
    return_after: float
    """Seconds after which a message that nobody keeps returns to the queue, where `keep` is needed."""
    returned_at: float | None
    """Loop time of the first read that found any, if some of them had been given out before, where a message returns
    at once and to the queue's head; else None."""
    ack_timeout: float | None
    """Seconds after which a message in hand has to be put back, whatever is done with it; None without a limit."""
    counts_returns: bool
    """Whether it costs a message to be put back: the broker counts it, and may drop it for that; or only this reader
    gets it again."""
    on_revoked: Callable[[Collection[Message]], Awaitable[None]] | None
    """Awaited before messages in hand become another reader's (Kafka): none of them starts any more, and those whose
    jobs are under way end. Set by whoever reads."""
    read_bytes: int
    """Bytes after which a read takes no further message; the reader sets it as memory allows."""
    redeliveries: int
    """Messages read so far that had been given out before."""
    give_backs: int
    """Messages put back so far."""

    async def open(self) -> None:
        """Connect and check that the queue is there: QueueError if it is not, QueueLost if nobody answers."""

    async def read(self, most: int) -> Sequence[Message]:
        """Up to `most` messages, waiting about a second for the first; empty when there is none.

        They are fewer where they are large: a read holds no more than `read_bytes` and one message.
        Also takes over what a dead reader left. A cancelled read loses nothing: the next one returns what it got.
        """

    async def ack(self, messages: Iterable[Message]) -> None:
        """Done: take these out of the queue. Repeating it does no harm."""

    async def requeue(self, messages: Iterable[Message], delay: float = 0.0) -> None:
        """Not started: let other readers have these, uncounted; after `delay` seconds if the broker knows a delay."""

    async def keep(self, messages: Iterable[Message]) -> None:
        """Still working on these: the time until they return to the queue begins anew."""

    async def amend(self, ending: Ending) -> None:
        """What became later of a job whose message had another end, where the queue keeps it beside the job."""

    async def lag(self) -> int | None:
        """How many messages have no end yet, where the broker tells: those that wait, and those in a reader's hand."""

    async def left_since(self, seconds: float) -> bool:
        """Whether a message was given out longer ago than this and has no end yet; False where the broker is silent."""

    async def aclose(self) -> None:
        """Disconnect; what is still in hand returns to the queue by itself."""


class StatementPart(NamedTuple):
    """What somebody puts into a statement of another's, which is a whole transaction."""

    expressions: Callable[[int], tuple[str, Sequence[Any]]]
    """Common table expressions whose parameters are numbered from there on, and their values."""
    done: Callable[[], None]
    """Called once that is durable."""


@runtime_checkable
class DatabaseQueue(Protocol):
    """A queue that is a table: its messages can end in a statement of somebody else's, and what became of their jobs
    stands there."""

    source: str
    """See `Queue.source`."""
    database: str | None
    """Names the database on its server, for all that look at it; None until it was opened."""

    def ending(self, messages: Sequence[Message], first: int) -> tuple[str, Sequence[Any]]:
        """See `StatementPart`: take these out of the queue, with what became of them."""

    async def in_doubt(self, after: str, most: int) -> Sequence[str]:
        """A page of the identities, in order, of jobs whose messages are gone and that stand as in doubt."""

    async def amend(self, ending: Ending) -> None:
        """See `Queue.amend`."""


class RequeueCounts(Protocol):
    """Remembers requeues for a broker that counts every delivery; shared by all replicas to be exact."""

    async def add(self, ids: Sequence[str]) -> None:
        """Each of these was put back once more."""

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """How often each of these was put back; those that never were are left out."""

    async def forget(self, ids: Sequence[str]) -> None:
        """These are done."""


class QueueOrigins(Protocol):
    """Remembers which server a queue's name stands for, so that two of them are not taken for one."""

    async def claim(self, name: str, origin: str, *, instead_of: str | None = None) -> None:
        """This queue is on this server; QueueError when another server's queue is in use under the same name.

        `instead_of` is what this reader found behind the same URL before: a server that was made anew is no second one.
        """


class DeadLetter(Protocol):
    """Where jobs go that nobody will try again."""

    async def put(self, line: bytes, reason: Mapping[str, object], identity: str | None = None) -> None:
        """Durably keep the job line with the reason and its message's identity; raises QueueError when the broker has
        not confirmed it."""

    async def aclose(self) -> None:
        """Disconnect."""


class RetryTarget(DeadLetter, Protocol):
    """Where jobs go that are tried again later, by whoever reads it."""

    async def retry(self, message: Message, reason: Mapping[str, object]) -> None:
        """Durably keep the message for its job's next retry, with what came of the last try; QueueError as above."""


class OutcomeSink(Protocol):
    """Outcome lines to a queue or stream."""

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably append these lines in order; raises QueueError when the broker has not confirmed all of them."""

    async def aclose(self) -> None:
        """Disconnect."""


def trace_context(headers: Mapping[Any, Any] | None) -> dict[str, str]:
    """The trace context and our own marks among a message's headers, whatever case and type they come in."""
    found = {}
    for name, value in (headers or {}).items():
        key = _text(name).lower()
        if key in KEPT_HEADERS and isinstance(value, str | bytes):
            found[key] = _text(value)
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
