"""How fast a counter grew of late."""

from __future__ import annotations

import pytest

from sender.runtime.recent_rate import RecentRate


def test_the_recent_rate_forgets_what_is_long_ago() -> None:
    rate = RecentRate()
    assert rate.look(0.0, 0) == 0
    for second in range(1, 31):
        looked = rate.look(float(second), second * 100)
    assert looked == pytest.approx(100)
    for second in range(31, 61):
        looked = rate.look(float(second), 3000)
    assert looked == 0
    assert rate.look(60.1, 9999) == 0, "two looks together are one: a second scraper does not disturb the first"
