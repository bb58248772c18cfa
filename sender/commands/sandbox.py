"""`sender sandbox`: a local stand-in for the App API."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from sender.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = """A local stand-in for the App API: it checks the key (sandbox-key), validates, counts its limits strictly, and
fails on demand. GET /_sandbox/stats tells what arrived, /_sandbox/messages what was accepted; POST /_sandbox/faults
{"fault": …} adds a fault while it runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8025, help="port to listen on, 0 = any free one (default: 8025)")
    add("--key", metavar="TEXT", help="the only key that is taken (default: SENDER_SANDBOX_API_KEY or sandbox-key)")
    add("--limit", choices=("strict", "bucket"), default="strict", help="how the limits are counted (default: strict)")
    add("--rate-send", type=float, default=100, metavar="N", help="sends a second (default: 100)")
    add("--rate-trigger", type=float, default=0.1, metavar="N", help="triggers a second (default: 0.1)")
    add("--rate-app", type=float, default=10, metavar="N", help="other requests a second (default: 10)")
    add("--retry-after", choices=("none", "seconds", "date"), default="none",
        help="what a 429 on sends and triggers carries (default: none)")  # fmt: skip
    add("--queue", type=int, default=5, metavar="N", help="triggers that may wait (default: 5)")
    add("--queue-full", type=int, choices=(429, 422), default=429, help="answer to one more (default: 429)")
    add("--processing-time", type=float, default=2, metavar="SECONDS", help="of one trigger (default: 2)")
    add("--visibility-lag", type=float, default=2, metavar="SECONDS", help="until a send can be read (default: 2)")
    add("--latency", default="0", metavar="MS|MIN-MAX", help="time of an answer in ms (default: 0)")
    add("--jitter", type=float, default=0, metavar="MS", help="the wire takes 0 to this many ms each way (default: 0)")
    add("--keep-alive", type=float, default=75, metavar="SECONDS", help="life of an idle connection (default: 75)")
    add("--fault", action="append", default=[], metavar="NAME=SHARE,…",
        help="such as reset_after=0.05,hang=0.01,status_502=0.05")  # fmt: skip
    add("--no-read-scope", action="store_true", help="answer 403 to every GET")
    add("--forbid", action="append", default=[], metavar="KIND", help="answer 403 to sends of this kind")
    add("--forget", action="store_true", help="keep counts only, for runs of millions")
    add("--seed", type=int, default=0, metavar="N", help="of all chance (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        return asyncio.run(_serve(args))
    except OSError as error:
        raise UsageError(f"the sandbox cannot listen on {args.host}:{args.port}: {error.strerror}") from None


async def _serve(args: argparse.Namespace) -> int:
    from sender.sandbox.app import App
    from sender.sandbox.http import Server

    app = App(_options(args))
    server = Server(app.handle, on_head=app.on_head, keep_alive=args.keep_alive)
    server.open(args.host, args.port)
    app.kernel_stamps = server.kernel_stamps
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    sys.stdout.write(f"sandbox listening on http://{args.host}:{server.port}\n")
    sys.stdout.flush()
    await ended.wait()
    server.close_listener()
    return 0


def _options(args: argparse.Namespace) -> Any:
    from sender.sandbox.app import Options
    from sender.sandbox.faults import parse_fault

    try:
        faults = [fault for text in args.fault for fault in parse_fault(text)]
        low, _, high = args.latency.partition("-")
        latency = (float(low) / 1000, float(high or low) / 1000)
    except ValueError as error:
        raise UsageError(f"sandbox: {error}") from None
    return Options(
        api_key=args.key or os.environ.get("SENDER_SANDBOX_API_KEY") or "sandbox-key",
        limit=args.limit,
        rates={"send": args.rate_send, "trigger": args.rate_trigger, "app": args.rate_app},
        retry_after=args.retry_after,
        queue=args.queue,
        queue_full=args.queue_full,
        processing=args.processing_time,
        lag=args.visibility_lag,
        latency=latency,
        jitter=args.jitter / 1000,
        faults=faults,
        read_scope=not args.no_read_scope,
        forbidden=frozenset(args.forbid),
        seed=args.seed,
        forget=args.forget,
    )
