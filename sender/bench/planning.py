"""Makes a BenchPlan of settings and options, and refuses what must not be measured."""

from __future__ import annotations

import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sender.bench.plan import BenchPlan
from sender.bench.request_templates import generated, read_templates, run_token
from sender.bench.schedule import Schedule
from sender.bench.stages import Stages, parse_stages
from sender.config.api_key import ApiKey
from sender.errors import UsageError
from sender.inputs.inputs import open_inputs
from sender.jobs.kinds import KINDS
from sender.transport.base_url import check_base_url
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from pathlib import Path

    from sender.bench.bench_options import BenchOptions
    from sender.bench.request_templates import Template
    from sender.config.settings import Settings

VENDOR: Final = "customer.io"
MOST_TEMPLATES: Final = 100_000
MOST_SCENARIO: Final = 2**20


def make_plan(settings: Settings, options: BenchOptions) -> BenchPlan:
    """Everything that can be known before the first request; UsageError tells what is wrong."""
    if not settings.base_url:
        raise UsageError("name the API to measure with --base-url; sender sandbox is one to try")
    base_url = check_base_url(settings.base_url, allow_http=settings.allow_http)
    refuse_vendor(base_url, allowed=options.allow_vendor_host)
    hands = options.users or settings.concurrency
    if options.processes > hands:
        raise UsageError("--processes must not be above --concurrency or --users: each needs a hand")
    schedule = _schedule(settings, options)
    api_key = ApiKey.load(settings.api_key_file)
    return BenchPlan(base_url, api_key, schedule, _templates(settings, options, schedule), options.processes,
                     hands, settings.timeout, settings.keep_alive, bool(options.users), options.think)


def _schedule(settings: Settings, options: BenchOptions) -> Schedule | Stages:
    if options.scenario is not None:
        if options.ramp or options.warm_up or options.users or options.find or math.isinf(options.rate):
            raise UsageError("--scenario says when everything starts: leave --ramp, --warm-up, --users, --find and "
                             "--rate max out")
        return parse_stages(_read(options.scenario), str(options.scenario), settings.kind)
    if options.think and not options.users:
        raise UsageError("--think is how long the users of --users N think")
    rate = math.inf if options.users else options.rate
    if math.isinf(rate) and options.find:
        raise UsageError("--find searches a rate: leave --users out, and name a --rate to begin with")
    if math.isinf(rate) and options.ramp:
        raise UsageError("--ramp has no meaning without a rate, use --warm-up")
    schedule = Schedule(rate, options.duration, options.warm_up, options.ramp)
    if not math.isinf(rate) and schedule.total < 1:
        raise UsageError("not a single request is planned: ask for a higher --rate or a longer --duration")
    return schedule


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_SCENARIO:
            raise UsageError(f"--scenario: {path} is larger than any scenario")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--scenario: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--scenario: {path} is not UTF-8") from None


def refuse_vendor(base_url: str, *, allowed: bool) -> None:
    """The vendor's hosts are no target for a benchmark: what it sends is real, and its limit is everybody's."""
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if not allowed and (host == VENDOR or host.endswith(f".{VENDOR}")):
        raise UsageError(
            f"{host} is the vendor's own API: a benchmark would send real messages there and use up its limit. "
            "Measure a sandbox, or add --allow-vendor-host"
        )


def _templates(settings: Settings, options: BenchOptions, schedule: Schedule | Stages) -> tuple[Template, ...]:
    """Those of a scenario have every kind of it: from the job file, and generated where that has none."""
    token = run_token()
    kinds = [settings.kind] if isinstance(schedule, Schedule) else schedule.kinds
    if options.jobs is None:
        return tuple(generated(KINDS[kind], token) for kind in kinds)
    found = _read_jobs(settings, options.jobs, token)
    if isinstance(schedule, Schedule):
        return found
    known = {template.kind for template in found}
    return (*found, *(generated(KINDS[kind], token) for kind in kinds if kind not in known))


def _read_jobs(settings: Settings, jobs: str, token: str) -> tuple[Template, ...]:
    parser = Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))
    inputs = open_inputs((jobs,))
    try:
        lines = islice((line for one in inputs.files for line in one.lines()), MOST_TEMPLATES)
        return read_templates(lines, parser, token, time.time(), settings.memory)
    finally:
        for one in inputs.files:
            one.close()
