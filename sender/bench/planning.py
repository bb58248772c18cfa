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
from sender.config.api_key import ApiKey
from sender.errors import UsageError
from sender.inputs.inputs import open_inputs
from sender.jobs.kinds import KINDS
from sender.transport.base_url import check_base_url
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from sender.bench.bench_options import BenchOptions
    from sender.bench.request_templates import Template
    from sender.config.settings import Settings

VENDOR: Final = "customer.io"
MOST_TEMPLATES: Final = 100_000


def make_plan(settings: Settings, options: BenchOptions) -> BenchPlan:
    """Everything that can be known before the first request; UsageError tells what is wrong."""
    if not settings.base_url:
        raise UsageError("name the API to measure with --base-url; sender sandbox is one to try")
    base_url = check_base_url(settings.base_url, allow_http=settings.allow_http)
    refuse_vendor(base_url, allowed=options.allow_vendor_host)
    if options.processes > settings.concurrency:
        raise UsageError("--processes must not be above --concurrency: each needs a hand")
    schedule = Schedule(options.rate, options.duration, options.warm_up, options.ramp)
    if math.isinf(options.rate) and options.ramp:
        raise UsageError("--ramp has no meaning with --rate max, use --warm-up")
    if not math.isinf(options.rate) and schedule.total < 1:
        raise UsageError("not a single request is planned: ask for a higher --rate or a longer --duration")
    api_key = ApiKey.load(settings.api_key_file)
    return BenchPlan(base_url, api_key, schedule, _templates(settings, options), options.processes,
                     settings.concurrency, settings.timeout, settings.keep_alive)


def refuse_vendor(base_url: str, *, allowed: bool) -> None:
    """The vendor's hosts are no target for a benchmark: what it sends is real, and its limit is everybody's."""
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if not allowed and (host == VENDOR or host.endswith(f".{VENDOR}")):
        raise UsageError(
            f"{host} is the vendor's own API: a benchmark would send real messages there and use up its limit. "
            "Measure a sandbox, or add --allow-vendor-host"
        )


def _templates(settings: Settings, options: BenchOptions) -> tuple[Template, ...]:
    token = run_token()
    if options.jobs is None:
        return (generated(KINDS[settings.kind], token),)
    parser = Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))
    inputs = open_inputs((options.jobs,))
    try:
        lines = islice((line for one in inputs.files for line in one.lines()), MOST_TEMPLATES)
        return read_templates(lines, parser, token, time.time(), settings.memory)
    finally:
        for one in inputs.files:
            one.close()
