"""Fleets for the tests, each in a folder of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.consume import losses, stories
from tests.support.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def ahead(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """The stories that are asked for begin with the session, beside the other tests; call it with a name to have one's
    result."""
    told = (*stories.ALL, *losses.ALL)
    asked = [story for story in told if any(story.__name__ in item.name for item in request.session.items)]
    with ThreadPoolExecutor(4) as pool:
        futures = {story.__name__: pool.submit(story, tmp_path_factory.mktemp(story.__name__)) for story in asked}
        yield lambda name: futures[name].result()


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes a fleet that ends with the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(Fleet(tmp_path, *arguments, **more))


@pytest.fixture
def fleet(new_fleet: Callable[..., Fleet]) -> Fleet:
    """A fleet beside a sandbox without limits."""
    return new_fleet("--rate-send", "100000")
