"""`sender consume`: the same engine on queues."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.cli.send import SUFFIX
from sender.config.api_key import ApiKey
from sender.config.load import load, state_of, text_of, url_in, workspaces_of
from sender.config.settings import DEFAULTS, SETTINGS
from sender.consume.consume_plan import ConsumePlan, WorkspaceConfig
from sender.errors import UsageError
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

    from sender.config.settings import Settings
    from sender.queues.address import Address

HELP: Final = """Send jobs from queues: redis://HOST/DB?stream=jobs&group=senders, amqp://HOST/VHOST?queue=jobs,
nats://HOST?stream=JOBS&consumer=senders, sqs://REGION/QUEUE, kafka://BROKERS/TOPIC?group=senders,
postgres://HOST/DB?table=sender_outbox; each with its own ?priority=high|normal|low. A message is acknowledged when its
outcome is durable. SIGTERM drains and exits 0; SIGHUP reads the rates of --config again, SIGUSR1 pauses, SIGUSR2
resumes."""
NOT_FOR_QUEUES: Final = ("limit", "dry_run", "progress", "json", "broadcast_wait", "max_outage", "manifest")
RETRIED: Final = {"rejected", "failed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("urls", metavar="URL", nargs="*", help="a queue; or SENDER_SOURCE, or --source-file")
    add_settings(
        parser,
        (name for name, setting in SETTINGS.items()
         if setting.table not in ("safety", "follow") and name not in NOT_FOR_QUEUES),
        texts={
            "outcomes": "outcome log: a path, - for stdout, or a queue's URL",
            "ledger": "the memory of one consumer alone; else --state",
            "retry": "rejected: try jobs that the API refused once more when their messages come again, on your word",
        },
    )


def run(args: argparse.Namespace) -> int:
    """Consume, and return the exit status."""
    plan = make_plan(args)
    from sender.consume.consume_run import consume
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    set_up(plan.settings.log_format, plan.settings.log_level)
    return run_loop(consume(plan))


def make_plan(args: argparse.Namespace) -> ConsumePlan:
    """Resolve everything that can be known before the run; UsageError tells what is wrong."""

    def read_settings() -> Settings:
        return replace(load(vars(args)), max_outage=math.inf)  # a consumer waits for the API

    settings = read_settings()
    config = args.config or os.environ.get("SENDER_CONFIG", "")
    urls = _urls(args.urls, settings)
    _refuse_safety(settings)
    state = state_of(settings)
    if not state and not settings.ledger:
        raise UsageError(
            "consume needs a memory: --state redis://HOST/DB or postgres://HOST/DB for replicas that share the limit, "
            "or --ledger PATH for one consumer alone"
        )
    if not set(settings.retry) <= RETRIED:
        raise UsageError(
            "consume can --retry only rejected: what failed is tried again anyway, what is in doubt by --in-doubt "
            "resend-if-absent"
        )
    from sender.queues.address import parse
    from sender.session.stores import check_shared

    for url in urls:
        parse(url)
    if state:
        check_shared(state)
    dead_letter = settings.dead_letter or url_in(settings.dead_letter_file)
    retry_to = settings.retry_to or url_in(settings.retry_to_file)
    if retry_to:
        _check_retries(parse(retry_to, writes=True), [parse(url) for url in urls], dead_letter)
    return ConsumePlan(
        settings, urls, _workspaces(settings, config, shared=bool(state)), settings.outcomes or f"sender{SUFFIX}",
        state, dead_letter, retry_to, config, read_settings,
    )


def _check_retries(target: Address, sources: list[Address], dead_letter: str) -> None:
    """UsageError where jobs that failed would not come back, or come back at once though they need not."""
    from sender.queues.address import parse
    from sender.queues.message_identity import are_one

    if "://" in dead_letter and are_one(target, parse(dead_letter, writes=True)):
        raise UsageError("--retry-to and --dead-letter name the same queue; give each its own")
    for source in sources:
        if source.broker == "kafka" and are_one(target, source) and "delay" not in source.parameters:
            raise UsageError(
                f"{source.shown} is --retry-to and a source: a job that fails would be tried again at once, and fail; "
                "name a topic of its own, and read it with ?delay=SECONDS"
            )


def _refuse_safety(settings: Settings) -> None:
    """What would keep people out of a run of `send` must not be passed over in silence."""
    given = [name for name, one in SETTINGS.items() if one.table == "safety"
             and getattr(settings, name) != getattr(DEFAULTS, name)]
    if given:
        raise UsageError(f"consume does not know {', '.join(given)}: they are for sender send; take them out of its "
                         "settings")
    if settings.ramp and not settings.ledger:
        raise UsageError("--ramp is for one consumer alone, with --ledger: the rate of a shared state belongs to all")


def _urls(given: list[str], settings: Settings) -> tuple[str, ...]:
    text = os.environ.get("SENDER_SOURCE", "")
    if settings.source_file and not text:
        text = text_of(settings.source_file)
    urls = tuple(given) or tuple(text.split())
    if not urls:
        raise UsageError("name the URL of a queue, set SENDER_SOURCE, or name a file with --source-file")
    return urls


def _workspaces(settings: Settings, config: str, *, shared: bool) -> tuple[WorkspaceConfig, ...]:
    """The workspace of jobs that name none, and those of the settings file."""
    ledger = None if shared else Path(settings.ledger)
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    workspaces = [WorkspaceConfig(None, base_url, ApiKey.follow(settings.api_key_file), ledger)]
    for one in workspaces_of(config):
        url = one.base_url or (REGIONS[one.region] if one.region else base_url)
        path = None if ledger is None else ledger.with_name(f"{ledger.name}.{one.name}")
        key = ApiKey.follow(one.api_key_file)
        workspaces.append(WorkspaceConfig(one.name, check_base_url(url, allow_http=settings.allow_http), key, path))
    return tuple(workspaces)
