"""The RetryQueue: where jobs go that were given up and surely not accepted; whoever reads it tries them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.consume.dead_letters import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.queues import Message, RetryTarget


class RetryQueue(DeadLetters):
    """Of one consumer. A job comes here `most` times; then it goes to the dead letter like any other."""

    name = "retry queue"

    def __init__(self, queue: RetryTarget, most: int) -> None:
        super().__init__(queue)
        self._target = queue
        self._most = most

    def takes(self, message: Message, reason: Mapping[str, Any]) -> bool:
        """Whether the job of a message that ended so has a retry left."""
        return reason["reason"] == "failed" and not message.unread and message.retries < self._most

    async def _put(self, message: Message, about: Mapping[str, Any]) -> None:
        await self._target.retry(message, {**about, "retry": message.retries + 1})
