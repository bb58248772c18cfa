"""A server that does as little as can be, so that the client is what is measured.

    python benchmarks/yardstick.py [--stall-at SECONDS --stall SECONDS] [--wrong N] [--stamps]

It answers every POST as the API answers an accepted email, and GET with the number of POSTs so far. `--stall` has it
stand still once, `--stall-at` seconds after the first POST; `--wrong` has every N-th answer be wrong: a status 500 and
a status 200 without a delivery_id in turns; `--stamps` has GET tell the instant of each POST in ns.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from array import array
from typing import Final, cast

_BODY: Final = b'{"delivery_id":"RPILAgUBcRhIBqSfeiI%010d","queued_at":1700000000}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_ACCEPTED: Final = _ANSWER % (len(_BODY % 0), _BODY)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


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


class Trouble(Yardstick):
    """Stands still, answers wrongly, and stamps."""

    stall_at = stall = 0.0
    wrong = 0
    stamps = array("q")

    def _answer(self, method: bytes) -> None:
        if method != b"POST ":
            body = str(self.stamps.tolist()).encode()
            self._transport.write(_ANSWER % (len(body), body))
            return
        now = time.monotonic_ns()
        self.stamps.append(now)
        if Trouble.stall and now - self.stamps[0] >= Trouble.stall_at * 1e9:
            seconds, Trouble.stall = Trouble.stall, 0.0
            time.sleep(seconds)  # the whole server stands still, as in a stop of its world
        count = len(self.stamps)
        if self.wrong and count % self.wrong == 0:
            self._transport.write(_FAILED if count // self.wrong % 2 else _ANSWER % (2, b"{}"))
        else:
            self._transport.write(_ACCEPTED % count)


def _end_of_request(data: bytes) -> int:
    """Bytes of the first request, 0 while its head is not complete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    length = _LENGTH.search(data, 0, head)
    return head + 4 + (int(length[1]) if length else 0)


async def serve(protocol: type[Yardstick]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def protocol_of(arguments: list[str]) -> type[Yardstick]:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stall-at", type=float, default=0.0)
    parser.add_argument("--stall", type=float, default=0.0)
    parser.add_argument("--wrong", type=int, default=0)
    parser.add_argument("--stamps", action="store_true")
    options = parser.parse_args(arguments)
    if not (options.stall or options.wrong or options.stamps):
        return Yardstick
    Trouble.stall_at, Trouble.stall, Trouble.wrong = options.stall_at, options.stall, options.wrong
    return Trouble


def main() -> None:
    work = serve(protocol_of(sys.argv[1:]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)


if __name__ == "__main__":
    main()
