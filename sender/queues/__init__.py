"""Queues: one protocol for all brokers; each broker is one module, imported only when its URL is used."""

from sender.queues.queue import (
    DeadLetter,
    Ending,
    Message,
    OutcomeSink,
    Queue,
    QueueError,
    QueueLost,
    QueueOrigins,
    RequeueCounts,
)

__all__ = [
    "DeadLetter", "Ending", "Message", "OutcomeSink", "Queue", "QueueError", "QueueLost", "QueueOrigins",
    "RequeueCounts",
]
