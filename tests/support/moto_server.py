"""moto's server, in which a read waits for a quarter of the seconds that it was asked to wait, and looks ten times a
second: its own one spins for as long as a group of a FIFO queue is in somebody's hand, and sees what comes back late.

python -m tests.support.moto_server -H 127.0.0.1 -p PORT
"""

from __future__ import annotations

from typing import Any

from moto.server import main
from moto.sqs.models import Message, Queue, SQSBackend

LOOK_EVERY = 0.1
SECOND = 0.25

receive_message = SQSBackend.receive_message


def wait_for_messages(self: Queue, timeout: float) -> None:
    """Until a message is added, or it is time to look again."""
    with self._messages_lock:
        self._messages_lock.wait(min(timeout, LOOK_EVERY))


def receive_soon(self: SQSBackend, queue_name: str, count: int, seconds: float, *more: Any) -> list[Message]:
    return receive_message(self, queue_name, count, seconds * SECOND, *more)  # type: ignore[arg-type]


if __name__ == "__main__":
    SQSBackend.receive_message = receive_soon  # type: ignore[assignment]
    Queue.wait_for_messages = wait_for_messages  # type: ignore[method-assign]
    main()
