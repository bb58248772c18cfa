"""moto's server, in which a read that waits looks ten times a second: its own one spins for as long as a group of a FIFO
queue is in somebody's hand, and sees what comes back up to a second late.

python -m tests.support.moto_server -H 127.0.0.1 -p PORT
"""

from __future__ import annotations

from moto.server import main
from moto.sqs.models import Queue

LOOK_EVERY = 0.1


def wait_for_messages(self: Queue, timeout: float) -> None:
    """Until a message is added, or it is time to look again."""
    with self._messages_lock:
        self._messages_lock.wait(min(timeout, LOOK_EVERY))


if __name__ == "__main__":
    Queue.wait_for_messages = wait_for_messages  # type: ignore[method-assign]
    main()
