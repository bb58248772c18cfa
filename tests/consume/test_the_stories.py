"""The stories of `stories` and `losses`, four at a time, each in a process that runs nothing else."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from tests.consume import losses, stories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    Began = dict[str, Future[None]]

ALL = {story.__name__: story for story in (*stories.ALL, *losses.ALL)}


@pytest.fixture(scope="module")
def began(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Began]:
    """All that are asked for begin with the first of them."""
    asked = [name for name in ALL if any(item.name == f"test_story[{name}]" for item in request.session.items)]
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        yield {name: pool.submit(ALL[name], tmp_path_factory.mktemp(name)) for name in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("story", ALL)
def test_story(began: Began, story: str) -> None:
    began[story].result()
