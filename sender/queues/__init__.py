"""Queues: one protocol for all brokers; each broker is one module, imported only when its URL is used."""

from sender.queues.queue import (
    DatabaseQueue,
    DeadLetter,
    Ending,
    Message,
    OutcomeSink,
    Queue,
    QueueError,
    QueueLost,
    QueueOrigins,
    RequeueCounts,
    RetryTarget,
    StatementPart,
)

__all__ = [
    "DatabaseQueue", "DeadLetter", "Ending", "Message", "OutcomeSink", "Queue", "QueueError", "QueueLost",
    "QueueOrigins", "RequeueCounts", "RetryTarget", "StatementPart",
]
