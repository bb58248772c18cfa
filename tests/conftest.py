"""What the whole suite has: its servers, its settings, a loop on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import install_missing, pytest_terminal_summary
from tests.support.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_terminal_summary"]

# How quick the machine is says nothing about the code.
settings.register_profile("sender", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sender")


def pytest_sessionstart(session: pytest.Session) -> None:
    """The whole suite gets its servers at once, and in one process."""
    if not hasattr(session.config, "workerinput") and not session.config.option.file_or_dir:
        install_missing()


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A virtual loop for `virtual.run_until_complete(...)`."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)
