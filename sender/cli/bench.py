"""`sender bench`: an open-loop load benchmark, its comparison, and the proof of the pacing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.bench.bench_options import OWN, BenchOptions, own_options, read_options
from sender.cli.arguments import add_settings
from sender.config.load import load
from sender.errors import HaltError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from sender.bench.measures import Measures
    from sender.bench.plan import BenchPlan
    from sender.bench.threshold import Threshold
    from sender.config.settings import Settings

HELP: Final = """Measure an API that speaks as Customer.io's does. Requests start on schedule whatever the server does,
and latency counts from the planned start. Exit 0 if the schedule was kept and every threshold holds, 1 if not,
3 after a signal; where no request can succeed it ends at once, exit 1. `--find` searches the highest rate that holds.
`sender bench compare A B` prints two saved results side by side; of results of `--repeat` it tells whether they really
differ, and ends with 1 if B is worse. `sender bench --prove-pacing` measures how exactly the engine keeps a limit."""
SETTINGS: Final = ("base_url", "allow_http", "api_key_file", "timeout", "keep_alive", "concurrency", "kind", "memory",
                   "json", "progress", "require_identifiers", "watch", "live", "live_token_file")
TEXTS: Final = {
    "base_url": "the API to measure; required, and never the vendor's own unless --allow-vendor-host is given",
    "concurrency": "most requests under way at once, in all processes; reaching it is told",
    "kind": "kind of the generated payloads, and of bare ones in --jobs",
    "memory": "job lines held from --jobs",
    "json": "print the result as one JSON object",
    "progress": "show a live line on stderr, where that is a terminal",
}
MISSED: Final = 1
STOPPED: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", nargs="*", metavar="compare A B", help="compare two saved results")
    own_options(parser)
    add_settings(parser, SETTINGS, texts=TEXTS)


def run(args: argparse.Namespace) -> int:
    """Compare, prove, or measure; returns the exit status."""
    given = vars(args)
    options = read_options({name: given[name] for name in OWN}, os.environ)
    settings = load({name: given[name] for name in (*SETTINGS, "config")})
    if args.action:
        return _compare(args.action, options, as_json=settings.json)
    if options.prove_pacing:
        return _prove(settings, options)
    from sender.runtime.logs import set_up

    set_up(settings.log_format, settings.log_level)  # to stderr: stdout has the figures
    if options.find:
        return _find(settings, options)
    return _measure(settings, options)


def _measure(settings: Settings, options: BenchOptions) -> int:
    from datetime import UTC, datetime

    from sender.bench.bench_text import told
    from sender.bench.live import off_screen
    from sender.bench.planning import make_plan
    from sender.bench.repeats import repeated
    from sender.bench.threshold import with_default

    plan = make_plan(settings, options)
    started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    measures, result = repeated(plan, options.repeat, started_at, _measuring(settings, options))
    off_screen()
    if measures.halted and measures.succeeded:
        raise HaltError(measures.halted)
    if measures.halted:
        return _failed(measures.halted)
    thresholds = with_default(options.thresholds)
    _write(result, options, thresholds)
    if settings.json:
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    else:
        sys.stdout.write(told(result, thresholds))
    if measures.stopped:
        return STOPPED
    if not measures.ok:
        return _failed(measures.failure or "no answer was measured: ask for a longer --duration")
    return _judged(result, thresholds, reached=result["reached"]["rate_reached"])


def _measuring(settings: Settings, options: BenchOptions) -> Callable[[BenchPlan], Measures]:
    """Measures a plan, and every half second does what is asked for with where it stands."""
    from sender.bench.exports import prometheus_now, write_prometheus
    from sender.bench.live import Now, nothing, on_screen
    from sender.bench.measuring import measure

    draw = on_screen if settings.progress and not settings.watch else nothing

    def measured(plan: BenchPlan) -> Measures:
        def draw_and_write(now: Now) -> None:
            draw(now)
            if options.prometheus is not None:
                write_prometheus(options.prometheus, prometheus_now(now, plan.base_url))

        if options.prometheus is not None:  # a place that cannot be written is told before the first request
            write_prometheus(options.prometheus, prometheus_now(Now(), plan.base_url))
        return measure(plan, settings, draw_and_write)

    return measured


def _write(result: dict[str, Any], options: BenchOptions, thresholds: Sequence[Threshold]) -> None:
    """The files that were asked for."""
    from sender.bench.bench_result import save
    from sender.bench.exports import prometheus_text, write_k6, write_prometheus

    if options.save:
        save(result, options.save)
    if options.k6_summary:
        write_k6(options.k6_summary, result, thresholds)
    if options.prometheus:
        write_prometheus(options.prometheus, prometheus_text(result, thresholds))


def _find(settings: Settings, options: BenchOptions) -> int:
    from sender.bench.finding import Finder, told
    from sender.bench.live import off_screen
    from sender.bench.planning import make_plan

    plan = make_plan(settings, options)
    finder = Finder(plan, options, options.find, _measuring(settings, options))
    found = finder.run()
    off_screen()
    if finder.failure:
        return _failed(finder.failure)
    if found["result"] is not None:
        _write(found["result"], options, options.find)
    if settings.json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE))
    else:
        sys.stdout.write(told(found))
    return STOPPED if found["stopped"] else 0 if found["holds"] is not None else MISSED


def _failed(why: str) -> int:
    sys.stderr.write(f"sender: not one request succeeded: {why}\n")
    return MISSED


def _judged(result: Mapping[str, Any], thresholds: Sequence[Threshold], *, reached: bool) -> int:
    """0, or 1 with a line on stderr for each check that does not hold."""
    missed = [threshold.text for threshold in thresholds if not threshold.holds(result)]
    for text in missed:
        sys.stderr.write(f"sender: the threshold {text} does not hold\n")
    if not reached:
        share = result["reached"]["started"] / result["reached"]["planned"]
        sys.stderr.write(f"sender: the rate was not reached: {share:.2%} of the planned requests were started\n")
    return MISSED if missed or not reached else 0


def _compare(action: list[str], options: BenchOptions, *, as_json: bool) -> int:
    from pathlib import Path

    from sender.bench.bench_result import read_result
    from sender.bench.compare import rows, told, worsened

    if action[0] != "compare" or len(action) != 3:
        raise UsageError("name nothing, or `compare` and two saved results: sender bench compare A B")
    one, other = (read_result(Path(name)) for name in action[1:])
    found = rows(one, other)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE))
    else:
        sys.stdout.write(told(one, other, (action[1], action[2])))
    worse = worsened(found, options.tolerance)
    if worse:
        sys.stderr.write(f"sender: {action[2]} is worse than {action[1]}: {', '.join(worse)}\n")
    return _judged(other, options.thresholds, reached=True) or (MISSED if worse else 0)


def _prove(settings: Settings, options: BenchOptions) -> int:
    from sender.bench.proof import prove
    from sender.bench.proof_text import told

    proofs, stopped = prove(settings, options)
    if settings.json:
        sys.stdout.buffer.write(orjson.dumps([proof.document() for proof in proofs], option=orjson.OPT_APPEND_NEWLINE))
    else:
        sys.stdout.write(told(proofs))
    return STOPPED if stopped else 0 if all(proof.holds for proof in proofs) else MISSED
