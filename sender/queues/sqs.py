"""Amazon SQS (aiobotocore): standard and FIFO queues; the message body is the job line.

A message in hand is invisible to others for `return_after` seconds, and for as long as it is kept, 12 hours in all.
Of a FIFO group one message is in hand at a time: messages are received one by one, and SQS holds back the rest of a
group that has one in flight. SQS counts every receive; give-backs are subtracted by what `RequeueCounts` remembers,
which a redrive policy of the queue's own does not know: its maxReceiveCount should be generous.
Credentials come as for every AWS tool: environment, profile, role of the pod or machine.
"""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import AsyncExitStack
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from aiobotocore.session import get_session  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from sender.queues import Message, QueueError, trace_context
from sender.queues.broker_connection import PATIENCE
from sender.queues.publisher import Letter, Publisher
from sender.queues.source import BrokerQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.queues import RequeueCounts
    from sender.queues.address import Address

BATCH: Final = 10
"""Messages in one call, by SQS's own limit."""
HOLD_LIMIT: Final = 11.5 * 3600
"""Seconds; SQS lets a message be invisible for 12 hours in all."""
_REFUSALS: Final = re.compile(
    "NonExistentQueue|QueueDoesNotExist|AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient"
    "|ExpiredToken|InvalidAddress|TooLong|InvalidMessageContents"
)
_NOT_TEXT: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Wire(NamedTuple):
    """A client, the queue it is for, and what closes it."""

    client: Any
    queue_url: str
    fifo: bool
    stack: AsyncExitStack


def _is_lost(error: Exception) -> bool | None:
    if isinstance(error, ClientError):
        return not _REFUSALS.search(str(error.response.get("Error", {}).get("Code", "")))
    if isinstance(error, QueueError | NoCredentialsError | PartialCredentialsError):
        return False
    return True if isinstance(error, BotoCoreError | OSError) else None


async def _dial(address: Address) -> Wire:
    stack = AsyncExitStack()
    config = AioConfig(connect_timeout=PATIENCE, read_timeout=PATIENCE, retries={"total_max_attempts": 1})
    try:
        client = await stack.enter_async_context(
            get_session().create_client(
                "sqs", region_name=address.host, endpoint_url=address.parameters.get("endpoint"), config=config
            )
        )
        found = await client.get_queue_url(QueueName=address.path)
    except BaseException:
        await stack.aclose()
        raise
    return Wire(client, found["QueueUrl"], address.path.endswith(".fifo"), stack)


class MemoryGiveBacks:
    """Give-backs as this process remembers them: exact for what it gave back itself."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    async def add(self, ids: Sequence[str]) -> None:
        """Each of these was given back once more."""
        for one in ids:
            self._counts[one] = self._counts.pop(one, 0) + 1
        while len(self._counts) > 100_000:  # the oldest: bounded memory is worth a count too high
            del self._counts[next(iter(self._counts))]

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """How often each of these was given back."""
        return {one: self._counts[one] for one in ids if one in self._counts}

    async def forget(self, ids: Sequence[str]) -> None:
        """These are done."""
        for one in ids:
            self._counts.pop(one, None)


class Source(BrokerQueue[Wire]):
    """One queue of an account and region."""

    hold_limit = HOLD_LIMIT

    def __init__(self, address: Address, in_hand: int, return_after: float, given_back: RequeueCounts | None) -> None:
        super().__init__(address, in_hand, return_after, given_back)
        self.keep_every = return_after / 3
        self._seconds = max(1, round(return_after))
        self._back = given_back or MemoryGiveBacks()

    async def _connect(self) -> Wire:
        return await _dial(self.address)

    async def _disconnect(self, client: Wire) -> None:
        await client.stack.aclose()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        await self._lag(client)

    async def _read(self, client: Wire, room: int) -> list[Message]:
        found = await self._receive(client, room, wait=self._wait)
        while found and len(found) < room:
            more = await self._receive(client, room - len(found), wait=0)
            if not more:
                break
            found += more
        again = [one["MessageId"] for one in found if _received(one) > 1]
        back = await self._back.find(again) if again else {}
        return [self._message(one, back.get(one["MessageId"], 0)) for one in found]

    async def _receive(self, wire: Wire, most: int, *, wait: float) -> list[dict[str, Any]]:
        """One long poll; of a FIFO queue one message, since a batch may hold several of one group."""
        reply = await wire.client.receive_message(
            QueueUrl=wire.queue_url, MaxNumberOfMessages=1 if wire.fifo else min(BATCH, most),
            WaitTimeSeconds=ceil(wait), VisibilityTimeout=self._seconds,
            AttributeNames=["All"], MessageAttributeNames=["All"],
        )
        return list(reply.get("Messages", ()))

    def _message(self, found: dict[str, Any], given_back: int) -> Message:
        attributes = found.get("MessageAttributes", {})
        return Message(
            source=self.source, id=found["MessageId"], data=found["Body"].encode("utf-8", "surrogatepass"),
            deliveries=max(1, _received(found) - given_back), handle=found["ReceiptHandle"],
            priority=self.address.priority, group=found.get("Attributes", {}).get("MessageGroupId"),
            headers=trace_context({name: value.get("StringValue") for name, value in attributes.items()}),
        )

    async def _ack(self, client: Wire, batch: list[Message]) -> None:
        await self._in_tens(client.client.delete_message_batch, client, batch)
        await self._back.forget([message.id for message in batch])

    async def _give_back(self, client: Wire, batch: list[Message]) -> None:
        await self._back.add([message.id for message in batch])
        await self._in_tens(client.client.change_message_visibility_batch, client, batch, VisibilityTimeout=0)

    async def _keep(self, client: Wire, batch: list[Message]) -> None:
        call = client.client.change_message_visibility_batch
        await self._in_tens(call, client, batch, VisibilityTimeout=self._seconds)

    @staticmethod
    async def _in_tens(call: Callable[..., Any], wire: Wire, batch: list[Message], **more: Any) -> None:
        """A batch call for all of these; handles that SQS no longer knows belong to messages that came back to it."""
        for start in range(0, len(batch), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.handle, **more}
                for number, message in enumerate(batch[start : start + BATCH])
            ]
            reply = await call(QueueUrl=wire.queue_url, Entries=entries)
            failed = [one["Code"] for one in reply.get("Failed", ()) if not one.get("SenderFault")]
            if failed:
                raise OSError(f"SQS could not do its part for {len(failed)} messages: {failed[0]}")

    async def _lag(self, client: Wire) -> int | None:
        name = "ApproximateNumberOfMessages"
        reply = await client.client.get_queue_attributes(QueueUrl=client.queue_url, AttributeNames=[name])
        return int(reply["Attributes"][name])


def _received(found: dict[str, Any]) -> int:
    return int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1))


class Sink(Publisher[Wire]):
    """SendMessage, which SQS answers when it has stored the message; what is not text goes as base64."""

    async def _connect(self) -> Wire:
        return await _dial(self.address)

    async def _disconnect(self, client: Wire) -> None:
        await client.stack.aclose()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        """Connecting has asked for the queue."""

    async def _publish(self, client: Wire, letters: list[Letter]) -> None:
        for number, letter in enumerate(letters):
            body, attributes = _body(letter)
            more: dict[str, Any] = {}
            if client.fifo:
                token = hashlib.sha256(letter.line + f"{number}{letter.reason}".encode()).hexdigest()
                more = {"MessageGroupId": "sender", "MessageDeduplicationId": token}
            await client.client.send_message(
                QueueUrl=client.queue_url, MessageBody=body, MessageAttributes=attributes, **more
            )


def _body(letter: Letter) -> tuple[str, dict[str, dict[str, str]]]:
    """Text as it is, anything else as base64 with an attribute that says so."""
    attributes = {"reason": letter.reason} if letter.reason else {}
    try:
        text = letter.line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text or _NOT_TEXT.search(text):
        text = base64.b64encode(letter.line).decode() or "="
        attributes["encoding"] = "base64"
    return text, {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
