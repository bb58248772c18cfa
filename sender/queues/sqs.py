"""Amazon SQS (aiobotocore): standard and FIFO queues; the message body is the job line.

A message in hand is invisible to others for `return_after` seconds, and for as long as it is kept, 12 hours in all.
Of a FIFO group one message is in hand at a time: messages are received one by one, and SQS holds back the rest of a
group that has one in flight. SQS counts every receive; requeues are subtracted by what `RequeueCounts` remembers,
which a redrive policy of the queue's own does not know: its maxReceiveCount should be generous.
Credentials come as for every AWS tool: environment, profile, role of the pod or machine. Those that expire or are taken
back are read anew with a new connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from contextlib import AsyncExitStack
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from aiobotocore.session import get_session  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from sender.queues.broker_connection import PATIENCE, BrokerConnection
from sender.queues.broker_queue import BrokerQueue
from sender.queues.message_identity import queue_name
from sender.queues.publisher import OutgoingLine, Publisher
from sender.queues.queue import Message, QueueError, trace_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.queues.address import Address
    from sender.queues.queue import QueueOrigins, RequeueCounts

BATCH: Final = 10
"""Messages in one call, by SQS's own limit."""
LARGEST: Final = 2**20
"""Bytes of a message, by SQS's own limit: no message is too large for a job."""
ACK_TIMEOUT: Final = 11.5 * 3600
"""Seconds; SQS lets a message be invisible for 12 hours in all."""
MORE_WITHIN: Final = 5.0
"""Seconds from the beginning of a read within which further messages are asked for: what it has waits meanwhile."""
_REFUSALS: Final = re.compile(
    "NonExistentQueue|QueueDoesNotExist|AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient"
    "|InvalidAddress|TooLong|InvalidMessageContents"
)
_CREDENTIALS: Final = re.compile("AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient")
"""What is said of credentials that were taken back; the next connection reads them anew."""
_NOT_TEXT: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SqsClient(NamedTuple):
    """A client, the queue it is for, and what closes it."""

    client: Any
    queue_url: str
    fifo: bool
    stack: AsyncExitStack


class SqsConnection(BrokerConnection[SqsClient]):
    """Each call is a request of its own; what has to be found first is the queue."""

    async def _connect(self) -> SqsClient:
        address, stack = self.address, AsyncExitStack()
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
        return SqsClient(client, found["QueueUrl"], address.path.endswith(".fifo"), stack)

    async def _disconnect(self, client: SqsClient) -> None:
        await client.stack.aclose()

    def _is_lost(self, error: Exception) -> bool | None:
        if isinstance(error, ClientError):
            return not _REFUSALS.search(_code_of(error))
        if isinstance(error, QueueError | NoCredentialsError | PartialCredentialsError):
            return False
        return True if isinstance(error, BotoCoreError | OSError) else None

    def _is_outdated(self, error: Exception) -> bool:
        return isinstance(error, ClientError) and bool(_CREDENTIALS.search(_code_of(error)))


def _code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


class SqsQueue(BrokerQueue[SqsClient]):
    """One queue of an account and region."""

    ack_timeout = ACK_TIMEOUT
    counts_returns = True
    connection_type = SqsConnection

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self.keep_every = return_after / 3
        self._seconds = max(1, round(return_after))

    async def _prepare(self, client: SqsClient) -> None:
        self._queue_name = queue_name(self.address, _account_of(client.queue_url))

    async def _read(self, client: SqsClient, room: int) -> list[Message]:
        ends = asyncio.get_running_loop().time() + MORE_WITHIN
        found = more = await self._receive(client, min(room, self.read_bytes // LARGEST), wait=self._wait)
        while more and len(found) < room and (left := self.read_bytes - sum(len(one["Body"]) for one in found)) > 0:
            if asyncio.get_running_loop().time() > ends:
                break
            more = await self._receive_more(client, min(room - len(found), left // LARGEST))
            found = found + more
        again = [one["MessageId"] for one in found if _received(one) > 1]
        counts = await self._requeue_counts.find(again) if again and self._requeue_counts else {}
        return [self._message(one, counts.get(one["MessageId"], 0)) for one in found]

    async def _receive_more(self, client: SqsClient, most: int) -> list[dict[str, Any]]:
        """What is there now; nothing when SQS does not tell, so that what came before is not lost with it.

        It would be hidden from everybody for its time, and counted as delivered.
        """
        try:
            return await self._receive(client, most, wait=0)
        except (BotoCoreError, ClientError, OSError):
            return []

    async def _receive(self, client: SqsClient, most: int, *, wait: float) -> list[dict[str, Any]]:
        """One long poll, for one message at least; of a FIFO queue for one, since a batch may hold two of a group."""
        reply = await client.client.receive_message(
            QueueUrl=client.queue_url, MaxNumberOfMessages=1 if client.fifo else max(1, min(BATCH, most)),
            WaitTimeSeconds=ceil(wait), VisibilityTimeout=self._seconds,
            AttributeNames=["All"], MessageAttributeNames=["All"],
        )
        return list(reply.get("Messages", ()))

    def _message(self, found: dict[str, Any], requeues: int) -> Message:
        attributes = {name: one.get("StringValue") for name, one in found.get("MessageAttributes", {}).items()}
        return Message(
            source=self.source, id=found["MessageId"], identity=self._identity(found["MessageId"], attributes),
            data=found["Body"].encode("utf-8", "surrogatepass"),
            deliveries=max(1, _received(found) - requeues), handle=found["ReceiptHandle"],
            priority=self.address.priority, group=found.get("Attributes", {}).get("MessageGroupId"),
            headers=trace_context(attributes),
        )

    async def _ack(self, client: SqsClient, batch: list[Message]) -> None:
        await in_tens(client.client.delete_message_batch, client, [message.handle for message in batch])
        if self._requeue_counts:
            await self._requeue_counts.forget([message.id for message in batch])

    async def _requeue(self, client: SqsClient, batch: list[Message], delay: float) -> None:
        if self._requeue_counts:
            await self._requeue_counts.add([message.id for message in batch])
        call = client.client.change_message_visibility_batch
        await in_tens(call, client, [message.handle for message in batch], VisibilityTimeout=ceil(delay))

    async def _keep(self, client: SqsClient, batch: list[Message]) -> None:
        call = client.client.change_message_visibility_batch
        await in_tens(call, client, [message.handle for message in batch], VisibilityTimeout=self._seconds)

    async def _lag(self, client: SqsClient) -> int | None:
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        reply = await client.client.get_queue_attributes(QueueUrl=client.queue_url, AttributeNames=names)
        return sum(int(reply["Attributes"].get(name, 0)) for name in names)


async def in_tens(call: Callable[..., Any], client: SqsClient, handles: Sequence[str], **more: Any) -> None:
    """A batch call for all of these; handles that SQS no longer knows belong to messages that came back to it."""
    for start in range(0, len(handles), BATCH):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, **more}
            for number, handle in enumerate(handles[start : start + BATCH])
        ]
        reply = await call(QueueUrl=client.queue_url, Entries=entries)
        failed = [one["Code"] for one in reply.get("Failed", ()) if not one.get("SenderFault")]
        if failed:
            raise OSError(f"SQS could not do its part for {len(failed)} messages: {failed[0]}")


def _account_of(queue_url: str) -> str:
    """The account in a queue's URL at AWS, `https://HOST/ACCOUNT/QUEUE`; empty where a server has none."""
    account = urlsplit(queue_url).path.strip("/").partition("/")[0]
    return account if account.isdecimal() else ""


def _received(found: dict[str, Any]) -> int:
    return int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1))


class SqsPublisher(Publisher[SqsClient]):
    """SendMessage, which SQS answers when it has stored the message; what is not text goes as base64."""

    connection_type = SqsConnection

    async def _publish(self, client: SqsClient, lines: list[OutgoingLine]) -> None:
        for number, one in enumerate(lines):
            body, attributes = _body(one)
            more: dict[str, Any] = {}
            if client.fifo:
                # A job that comes again on purpose is no repetition, which SQS would drop without a word.
                nonce = secrets.token_hex(8) if one.marks else ""
                token = hashlib.sha256(one.line + f"{number}{one.reason}{nonce}".encode()).hexdigest()
                # Of a group one message is in hand at a time: jobs and letters need no order, and hold up no other.
                more = {
                    "MessageGroupId": "sender" if one.field == "outcome" else token, "MessageDeduplicationId": token,
                }
            await client.client.send_message(
                QueueUrl=client.queue_url, MessageBody=body, MessageAttributes=attributes, **more
            )


def _body(one: OutgoingLine) -> tuple[str, dict[str, dict[str, str]]]:
    """Text as it is, anything else as base64 with an attribute that says so."""
    attributes = one.headers | ({"reason": one.reason} if one.reason else {})
    try:
        text = one.line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text or _NOT_TEXT.search(text):
        text = base64.b64encode(one.line).decode() or "="
        attributes["encoding"] = "base64"
    return text, {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
