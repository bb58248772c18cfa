"""Fleets for the tests, each in a folder of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Makes a fleet that ends with the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(Fleet(tmp_path, *arguments, **more))


@pytest.fixture
def fleet(new_fleet: Callable[..., Fleet]) -> Fleet:
    """A fleet beside a sandbox without limits."""
    return new_fleet("--rate-send", "100000")
