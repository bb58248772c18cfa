"""Letters of an SQS queue: received, hidden from others for a while, and deleted or shown again.

SQS has no order to go by: what was sent after the beginning is left alone, what was seen is not seen again.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried
from sender.queues.sqs import BATCH, SqsClient, SqsConnection, in_tens

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN: Final = 300
"""Seconds for which what was received is hidden from others."""
EMPTY: Final = 2
"""Receives without a new letter after which there are no more: one alone may miss what lies on another server."""


NOT_VISIBLE: Final = "ApproximateNumberOfMessagesNotVisible"

log = structlog.get_logger()


class SqsLetters(LetterBox[SqsClient]):
    """See `LetterBox`."""

    connection_type = SqsConnection

    async def _begin(self, client: SqsClient) -> None:
        self._began = time.time()
        self._seen: set[str] = set()
        self._held: set[str] = set()
        """What is hidden from others: shown at the end, since what is shown at once would come again and again."""
        reply = await client.client.get_queue_attributes(QueueUrl=client.queue_url, AttributeNames=[NOT_VISIBLE])
        hidden = int(reply.get("Attributes", {}).get(NOT_VISIBLE, 0))
        if hidden:  # another reader has them, or one that was killed
            log.warning("letters are hidden from us; look again in 5 minutes", letters=hidden, queue=self.shown)

    async def _read(self, client: SqsClient) -> list[Letter]:
        letters: list[Letter] = []
        empty = 0
        while empty < EMPTY and len(letters) < PAGE:
            found = await self._receive(client)
            fresh = [one for one in found if one["MessageId"] not in self._seen and _sent_at(one) <= self._began]
            self._seen.update(one["MessageId"] for one in found)
            self._held.update(one["ReceiptHandle"] for one in found)
            letters += map(_letter, fresh)
            empty = 0 if fresh else empty + 1
        return letters

    async def _receive(self, client: SqsClient) -> list[dict[str, Any]]:
        reply = await client.client.receive_message(
            QueueUrl=client.queue_url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=1, VisibilityTimeout=HIDDEN,
            AttributeNames=["All"], MessageAttributeNames=["All"],
        )
        return list(reply.get("Messages", ()))

    async def _remove(self, client: SqsClient, letters: Sequence[Letter]) -> None:
        handles = [letter.handle for letter in letters]
        await in_tens(client.client.delete_message_batch, client, handles)
        self._held.difference_update(handles)

    async def _end(self, client: SqsClient) -> None:
        await in_tens(client.client.change_message_visibility_batch, client, list(self._held), VisibilityTimeout=0)


def _sent_at(found: dict[str, Any]) -> float:
    return int(found.get("Attributes", {}).get("SentTimestamp", 0)) / 1000


def _letter(found: dict[str, Any]) -> Letter:
    attributes = {name: value.get("StringValue") for name, value in found.get("MessageAttributes", {}).items()}
    data = found["Body"].encode("utf-8", "surrogatepass")
    if attributes.get("encoding") == "base64":
        data = base64.b64decode(data) if data != b"=" else b""
    return Letter(data, read_reason(attributes.get("reason")), found["ReceiptHandle"], carried(attributes))
