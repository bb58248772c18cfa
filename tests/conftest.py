"""What the whole suite has: its servers, its settings, a loop on virtual time."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.fleet import Consumer
from tests.support.fork_server import popen
from tests.support.processes import running_sandbox, sender, start_sender
from tests.support.servers import Server, begin_notes, install_missing, pytest_terminal_summary
from tests.support.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_terminal_summary"]

# How quick the machine is says nothing about the code.
settings.register_profile("sender", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sender")


SERVER_FIXTURES = {
    "redis_server", "shared_redis", "nats_server", "rabbit_server", "sqs_server", "kafka_server", "mock_kafka",
    "broker", "fleet", "new_fleet", "postgres", "maria", "s3_server", "postgres_server", "shared_postgres",
    "state_server", "cluster", "outbox", "browser",
}
SERVER_FILES = {"test_the_stories.py", "test_completion.py", "test_deployment.py"}
"""Tests that start a broker or a foreign shell without a fixture."""
SERVER_STARTERS = {"browser", "fleet", "kafka_server", "outbox_fleet", "replica", "state_servers"}
"""Modules of tests/support: a module of tests that has something of these, or a server's class, starts one."""


STARTERS = {id(one) for one in (subprocess, popen, sender, start_sender, running_sandbox)}
"""A module that has one of these starts programs."""
SLOW_FOLDERS = {"benchmarks"}
SLOW_FILES = {
    "test_schedule.py", "test_histories.py", "test_unsent_and_doubts.py", "test_figures.py", "test_house.py",
    "test_row_inputs.py",
}
"""Long histories on virtual time, large logs and inputs, and what reads all of the code."""


def pytest_configure(config: pytest.Config) -> None:
    """Before there are workers."""
    if not hasattr(config, "workerinput"):
        begin_notes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What `--dist loadfile` means here; without pytest-xdist nobody asks."""
    if config.option.dist != "loadfile":
        return None
    from tests.support.scheduler import Scheduler

    return Scheduler(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The whole suite gets its servers at once, and in one process."""
    options = session.config.option
    if not hasattr(session.config, "workerinput") and not options.file_or_dir and "not server" not in options.markexpr:
        install_missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make unit` leaves out: tests with a broker, a browser or a foreign shell, or with whole programs."""
    for item in items:
        found = {id(one) for one in vars(item.module).values()}  # type: ignore[attr-defined]
        if STARTERS & found or item.path.parent.name in SLOW_FOLDERS or item.path.name in SLOW_FILES:
            item.add_marker("slow")
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())) or item.path.name in SERVER_FILES or any(
            starts_server(one) for one in vars(item.module).values()  # type: ignore[attr-defined]
        ):
            item.add_marker("server")


def starts_server(one: object) -> bool:
    """Whether this name of a module is a server's class, or something that starts one or a browser."""
    module = getattr(one, "__module__", None) or ""
    return (isinstance(one, type) and issubclass(one, Server)) or (
        module.startswith("tests.support.") and module.rpartition(".")[2] in SERVER_STARTERS
    )


@pytest.fixture(autouse=True)
def no_consumer_runs_on() -> Iterator[None]:
    """One whose test failed would run beside the tests that follow."""
    yield
    while Consumer.started:
        Consumer.started.pop().kill()


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A virtual loop for `virtual.run_until_complete(...)`."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)
