"""CPU time of a webhook from its arrival to its acknowledgement: checked, written durably, counted.

    python benchmarks/webhooks.py --events 20000 [--save]

The listener runs in a process of its own, whose CPU time (user and system) is measured; this one only posts.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from results import table, tell

KEY: Final = "a-signing-key"
CONNECTIONS: Final = 16
HEAD: Final = ("", "events", "acknowledged", "counted", "seconds", "CPU seconds", "events/s and core")
WHAT: Final = (
    f"Over {CONNECTIONS} connections, each event signed and posted when the one before was acknowledged. The "
    "listener's CPU time counts, its start and its reading of the outcome log included; the seconds are those of "
    "listener and poster together."
)


def event(number: int) -> bytes:
    data = {"delivery_id": f"delivery-{number:08}", "recipient": "ada@example.com", "transactional_message_id": 3}
    told = {"event_id": f"e{number}", "object_type": "email", "metric": "delivered", "timestamp": 1795218981}
    return json.dumps({**told, "data": data}).encode()


def request(number: int) -> bytes:
    body, stamp = event(number), str(int(time.time()))
    signature = hmac.new(KEY.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    return (f"POST / HTTP/1.1\r\nHost: x\r\nX-CIO-Timestamp: {stamp}\r\nX-CIO-Signature: {signature}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


async def post(port: int, events: int) -> int:
    """How many were acknowledged."""
    numbers = iter(range(events))
    acknowledged = 0

    async def work() -> None:
        nonlocal acknowledged
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            writer.write(request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            acknowledged += head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return acknowledged


def wait_for(port: int) -> None:
    import socket

    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the listener did not come up")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=18443)
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "jobs.outcomes.jsonl"
        with log.open("w") as file:
            for number in range(given.events):
                file.write(json.dumps({"id": f"j{number}", "kind": "email", "status": "sent", "source": "f", "line": 1,
                                       "delivery_id": f"delivery-{number:08}", "queued_at": 1795218900}) + "\n")
        listener = subprocess.Popen(
            [sys.executable, "-m", "sender", "follow", str(log), "--listen", f"127.0.0.1:{given.port}", "--json",
             "--no-progress", "--log-level", "warning"],
            env={"SENDER_WEBHOOK_KEY": KEY, "PYTHONPATH": ":".join(sys.path)}, stdout=subprocess.PIPE,
        )
        wait_for(given.port)
        begin = time.monotonic()
        acknowledged = asyncio.run(post(given.port, given.events))
        took = time.monotonic() - begin
        listener.send_signal(signal.SIGTERM)
        books = json.loads(listener.communicate(timeout=60)[0])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    row = ("`sender follow --listen`", f"{given.events:,}", f"{acknowledged:,}", f"{books['delivered']:,}",
           f"{took:.1f}", f"{cpu:.1f}", f"{given.events / cpu:,.0f}")
    tell("webhooks", "Reporting webhooks: events a second from one core", WHAT, table(HEAD, [row]))
    return 0 if acknowledged == given.events == books["delivered"] else 1


if __name__ == "__main__":
    sys.exit(main())
