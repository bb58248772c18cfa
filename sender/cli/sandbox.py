"""A local stand-in for the Customer.io App API, with its limits and faults, to try and test against."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sender.errors import UsageError
from sender.sandbox.fates import ENDS, SIGNS
from sender.sandbox.sandbox_options import KINDS, Options, amount, milliseconds, port_number, share, span, whole

if TYPE_CHECKING:
    import argparse

    from sender.sandbox.server import Server

HELP = """A local stand-in for the Customer.io App API: it checks the key, the payloads and its limits, and fails on
demand. GET /_sandbox/stats tells what arrived, /_sandbox/messages, triggers, newsletters and contents what was accepted
(payload, and raw: the body byte for byte); POST /_sandbox/faults {"fault": NAME, ...} makes something go wrong while it
runs, DELETE /_sandbox/faults ends that. An id or address with "missing" in it is nobody's, an address with "shared" in
it is that of several people."""

_DEFAULT = Options(port=8025)
DEFAULT_KEY = _DEFAULT.api_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sender sandbox`."""
    _where(parser.add_argument_group("where"))
    _limits(parser.add_argument_group("limits"))
    _answers(parser.add_argument_group("answers"))
    _fates(parser.add_argument_group("what becomes of what was accepted"))
    _trouble(parser.add_argument_group("trouble"))


def _where(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", default=_DEFAULT.host, help="address to listen on (default %(default)s)")
    add("--port", type=port_number, default=_DEFAULT.port, help="0 takes a free one (default %(default)s)")
    add("--key", "--api-key", dest="api_key", metavar="KEY",
        help=f"the play key that it takes (default: SENDER_SANDBOX_API_KEY, else {DEFAULT_KEY})")
    add("--keep-alive", type=amount, default=_DEFAULT.keep_alive, metavar="SECONDS",
        help="close a connection that was idle for so long (default %(default)g)")


def _limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--limit", choices=("strict", "bucket"), default=_DEFAULT.limit,
        help="strict: a sliding window without tolerance, bucket: a token bucket; refused requests do not count"
             " towards either (default %(default)s)")
    for lane, default, unit in (
        ("send", _DEFAULT.rate_send, "sends per second"),
        ("trigger", _DEFAULT.rate_trigger, "broadcast triggers per second, 0.1 is one in 10 s"),
        ("app", _DEFAULT.rate_app, "all other requests per second"),
    ):
        add(
            f"--rate-{lane}",
            type=amount,
            default=default,
            metavar="N",
            help=f"{unit}; 0 is no limit (default {default:g})",
        )
    add("--queue", type=whole, default=_DEFAULT.queue, metavar="N",
        help="triggers that may wait to be processed (default %(default)s)")
    add("--queue-full", type=int, choices=(429, 422), default=_DEFAULT.queue_full,
        help="what one trigger more gets (default %(default)s)")
    add("--retry-after", choices=("none", "seconds", "date"), default=_DEFAULT.retry_after,
        help="what a 429 on sends and triggers carries (default %(default)s)")


def _answers(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--processing-time", type=amount, default=_DEFAULT.processing_time, metavar="SECONDS",
        help="how long a trigger takes (default %(default)g)")
    add("--pending", choices=("null", "zero", "absent"), default=_DEFAULT.pending,
        help="how processed_at of a waiting trigger looks (default %(default)s)")
    add("--visibility-lag", type=amount, default=_DEFAULT.visibility_lag, metavar="SECONDS",
        help="how long after its acceptance a delivery shows up in GETs (default %(default)g)")
    add("--show-scheduled", action="store_true", help="list sends with a future send_at before they are due")
    add("--hide-template-id", action="store_true", help="leave transactional_message_id out of listed deliveries")
    add("--no-read-scope", action="store_true", help="GETs answer 403, as for a key that may only send")
    add("--forbid", action="append", choices=KINDS, default=[], metavar="KIND",
        help=f"this kind answers 403; repeatable: {', '.join(KINDS)}")
    add("--forget", action="store_true", help="keep counts only, for runs of millions")


def _fates(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--fate", action="append", default=[], metavar="NAME=RATE[:domain=DOMAIN]",
        help="how often this happens, like bounced=2%% or opened=30%%:domain=example.org; repeatable:"
             f" {', '.join((*ENDS, *SIGNS))}")
    add("--deliver-after", type=span, default=_DEFAULT.deliver_after, metavar="SECONDS|MIN-MAX",
        help="how long a message is on its way, or until it comes back (default 1)")
    add("--webhook", default=_DEFAULT.webhook, metavar="URL",
        help="post reporting webhooks there, signed with SENDER_SANDBOX_WEBHOOK_KEY"
             f" (default {_DEFAULT.webhook_key})")
    add("--webhook-repeats", type=share, default=_DEFAULT.webhook_repeats, metavar="SHARE",
        help="share of the webhooks that are posted twice, like 10%% (default 0)")
    add("--webhook-ca", default=_DEFAULT.webhook_ca, metavar="PATH", help="authority behind an https URL, as PEM")


def _trouble(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--latency", type=milliseconds, default=_DEFAULT.latency_ms, metavar="MS|MIN-MAX",
        help="how long an answer takes, in milliseconds (default 0)")
    add("--jitter", type=amount, default=_DEFAULT.jitter_ms, metavar="MS",
        help="a wire with 0 to MS milliseconds each way, independent per request (default 0)")
    add("--fault", action="append", default=[], metavar="SPEC",
        help="NAME=PROBABILITY[:KEY=VALUE...],... for example reset_after=0.05,status_429=0.1:retry_after=date;"
             " repeatable; it meets the requests of jobs, and reads only with :lane=app or :path=/v1/...;"
             " an unknown name lists all")
    add("--seed", type=int, metavar="N", help="make chance, and the ids given out, repeatable")


def _options(args: argparse.Namespace) -> Options:
    return Options(
        host=args.host, port=args.port,
        api_key=args.api_key or os.environ.get("SENDER_SANDBOX_API_KEY") or DEFAULT_KEY,
        limit=args.limit, rate_send=args.rate_send, rate_trigger=args.rate_trigger, rate_app=args.rate_app,
        queue=args.queue, queue_full=args.queue_full, processing_time=args.processing_time, pending=args.pending,
        visibility_lag=args.visibility_lag, show_scheduled=args.show_scheduled,
        hide_template_id=args.hide_template_id, latency_ms=args.latency, jitter_ms=args.jitter,
        retry_after=args.retry_after, keep_alive=args.keep_alive, forget=args.forget,
        no_read_scope=args.no_read_scope, forbid=frozenset(args.forbid),
        fates=tuple(args.fate), deliver_after=args.deliver_after, webhook=args.webhook,
        webhook_key=os.environ.get("SENDER_SANDBOX_WEBHOOK_KEY") or _DEFAULT.webhook_key,
        webhook_repeats=args.webhook_repeats, webhook_ca=args.webhook_ca,
        faults=tuple(args.fault), seed=args.seed,
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, then 0; raises UsageError for a bad fault or an address that cannot be had."""
    import asyncio

    from sender.sandbox.fates import FateError
    from sender.sandbox.faults import FaultError
    from sender.sandbox.server import Server

    try:
        server = Server(_options(args))
    except FaultError as problem:
        raise UsageError(f"--fault: {problem}") from problem
    except FateError as problem:
        raise UsageError(f"--fate: {problem}") from problem
    except (OSError, ValueError) as problem:
        raise UsageError(f"--webhook: the URL or --webhook-ca cannot be used: {problem}") from problem
    return asyncio.run(_serve(server))


async def _serve(server: Server) -> int:
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        server.start()
    except OSError as problem:
        where = f"{server.options.host}:{server.options.port}"
        raise UsageError(f"cannot listen on {where}: {problem.strerror}; choose another --host or --port") from problem
    sys.stdout.write(f"sandbox listening on {server.url}\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        server.close()
    return 0
