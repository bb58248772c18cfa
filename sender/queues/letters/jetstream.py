"""Letters of a JetStream stream: messages that are read without a consumer, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nats.js.errors

from sender.queues.jetstream import JetStreamClient, JetStreamConnection
from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried
from sender.queues.queue import QueueError

if TYPE_CHECKING:
    from collections.abc import Sequence


class JetStreamLetters(LetterBox[JetStreamClient]):
    """See `LetterBox`."""

    connection_type = JetStreamConnection
    _next = 1
    _last = 0

    async def _begin(self, client: JetStreamClient) -> None:
        stream = self.address.parameters["stream"]
        try:
            state = (await client.jetstream.stream_info(stream)).state
        except nats.js.errors.NotFoundError:
            raise QueueError(f"{self.shown}: there is no stream {stream}") from None
        self._next, self._last = max(1, state.first_seq), state.last_seq

    async def _read(self, client: JetStreamClient) -> list[Letter]:
        letters: list[Letter] = []
        while self._next <= self._last and len(letters) < PAGE:
            try:
                found = await client.jetstream.get_msg(
                    self.address.parameters["stream"], seq=self._next, subject=">", next=True
                )
            except nats.js.errors.NotFoundError:  # all that came after was deleted
                self._next = self._last + 1
                break
            sequence = found.seq or self._last
            self._next = sequence + 1
            if sequence <= self._last:
                headers = found.headers or {}
                reason = read_reason(headers.get("Sender-Reason"))
                letters.append(Letter(found.data or b"", reason, sequence, carried(headers)))
        return letters

    async def _remove(self, client: JetStreamClient, letters: Sequence[Letter]) -> None:
        for letter in letters:
            try:
                await client.jetstream.delete_msg(self.address.parameters["stream"], letter.handle)
            except nats.js.errors.APIError as error:
                if error.err_code != 10043:  # "sequence not found": it is gone already
                    raise
