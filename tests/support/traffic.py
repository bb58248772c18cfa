"""What metrics look at of queues and dead letters, with figures that can be told apart."""

from __future__ import annotations

from collections import Counter


class Letters:
    def __init__(self) -> None:
        self.written, self.refused, self.waiting = Counter({"in_doubt": 2}), 3, 1


class Traffic:
    redeliveries, give_backs = 4, 5
