"""The stories that began with the session, and ran beside the other tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.consume import losses, stories

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.timeout(180)
@pytest.mark.parametrize("story", [story.__name__ for story in (*stories.ALL, *losses.ALL)])
def test_story(ahead: Callable[[str], None], story: str) -> None:
    ahead(story)
