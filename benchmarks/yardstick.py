"""A server that does as little as can be, so that the client is what is measured: python benchmarks/yardstick.py

It answers every POST as the API answers an accepted email, and GET with the number of POSTs so far.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Final, cast

_BODY: Final = b'{"delivery_id":"RPILAgUBcRhIBqSfeiI%010d","queued_at":1700000000}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_ACCEPTED: Final = _ANSWER % (len(_BODY % 0), _BODY)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Yardstick(asyncio.Protocol):
    """One connection; all of them count together."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        data, self._waiting = self._waiting + data, b""
        while data:
            end = _end_of_request(data)
            if not 0 < end <= len(data):
                self._waiting = data
                return
            self._answer(data[:5])
            data = data[end:]

    def _answer(self, method: bytes) -> None:
        if method == b"POST ":
            Yardstick.count += 1
            self._transport.write(_ACCEPTED % Yardstick.count)
        else:
            body = b"%d" % Yardstick.count
            self._transport.write(_ANSWER % (len(body), body))


def _end_of_request(data: bytes) -> int:
    """Bytes of the first request, 0 while its head is not complete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    length = _LENGTH.search(data, 0, head)
    return head + 4 + (int(length[1]) if length else 0)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Yardstick, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    sys.exit()
