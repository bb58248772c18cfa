"""Letters of a RabbitMQ queue: each is taken and held, until it is acknowledged or all others return with the channel.

A quorum queue counts each return, and drops a message after its delivery limit (20 from RabbitMQ 4 on): one that came
back before is put at the end of the queue as a confirmed copy, which has no count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aio_pika
from aio_pika.exceptions import DeliveryError

from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried
from sender.queues.rabbitmq import RabbitMqClient, RabbitMqConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

REASON: Final = "x-sender-reason"
COUNT: Final = "x-delivery-count"
PROPERTIES: Final = (
    "content_type", "content_encoding", "priority", "correlation_id", "message_id", "timestamp", "type", "app_id",
)


class RabbitMqLetters(LetterBox[RabbitMqClient]):
    """See `LetterBox`."""

    connection_type = RabbitMqConnection
    _left = 0
    """Letters still to be read."""

    async def _begin(self, client: RabbitMqClient) -> None:
        declared = await client.channel.declare_queue(self.address.parameters["queue"], passive=True)
        self._left = declared.declaration_result.message_count or 0

    async def _read(self, client: RabbitMqClient) -> list[Letter]:
        letters: list[Letter] = []
        while self._left and len(letters) < PAGE:
            found = await client.queue.get(fail=False, timeout=None)
            if found is None:
                self._left = 0
                break
            self._left -= 1
            text = found.headers.get(REASON)
            reason = read_reason(text if isinstance(text, str | bytes) else None)
            letters.append(Letter(found.body, reason, found, carried(found.headers)))
        return letters

    async def _remove(self, client: RabbitMqClient, letters: Sequence[Letter]) -> None:  # noqa: ARG002
        for letter in letters:
            await letter.handle.ack()

    async def _leave(self, client: RabbitMqClient, letters: Sequence[Letter]) -> None:
        for letter in letters:
            if COUNT in letter.handle.headers and await self._copy(client, letter):
                await letter.handle.ack()

    async def _copy(self, client: RabbitMqClient, letter: Letter) -> bool:
        """Whether the queue took it: one that is full does not."""
        headers = {name: value for name, value in letter.handle.headers.items() if name != COUNT}
        more = {name: getattr(letter.handle, name) for name in PROPERTIES}
        copy = aio_pika.Message(letter.data, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **more)
        try:
            await client.publishes.publish(copy)
        except DeliveryError:
            return False
        return True
