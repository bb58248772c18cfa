"""Scenarios: stages that follow each other without a gap, kinds by their weights, and files that are wrong."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.bench.stages import Stage, Stages, evenly, parse_stages
from sender.errors import UsageError

DAY = """
[[stage]]
name = "rise"
seconds = 10
from_rate = 0
rate = 100
warm_up = true

[[stage]]
seconds = 20
rate = 100
mix = { email = 8, sms = 1, push = 1 }

[[stage]]
seconds = 10
from_rate = 100
rate = 0
mix = { sms = 1 }
"""
RATES = st.floats(0, 300)
STAGES = st.lists(st.builds(Stage, st.just("s"), st.floats(0.01, 20), RATES, RATES, st.just((("email", 1),))),
                  min_size=1, max_size=5)


@given(STAGES)
def test_requests_keep_their_order_and_their_rates(stages: list[Stage]) -> None:
    found = Stages(tuple(stages))
    planned = [found.at(number) for number in range(found.total)]
    assert all(before <= after + 1e-6 for before, after in pairwise(planned))
    assert all(0 <= one <= found.end for one in planned)
    begin = 0.0
    for stage in stages:
        here = sum(begin <= one < begin + stage.seconds for one in planned)
        assert here == pytest.approx(stage.requests, abs=2.01)
        begin += stage.seconds


def test_a_day() -> None:
    found = parse_stages(DAY, "day.toml", "email")
    assert found.total == 500 + 2000 + 500
    assert (found.end, found.measured_from, found.duration, found.rate) == (40.0, 10.0, 30.0, 75.0)
    assert found.at(500) == pytest.approx(10.0)
    assert found.at(1500) == pytest.approx(20.0)
    assert found.at(125) == pytest.approx(5.0), "a quarter of them in the first half of a rise"
    assert found.at(2999) < 40.0
    assert not found.measured(9.9)
    assert found.measured(10.0)
    assert Counter(map(found.kind_of, range(500))) == {"email": 500}
    assert Counter(map(found.kind_of, range(500, 2500))) == {"email": 1600, "sms": 200, "push": 200}
    assert Counter(map(found.kind_of, range(2500, 3000))) == {"sms": 500}
    assert [found.stage_at(offset) for offset in (0, 9.99, 10, 29.99, 30, 40)] == [0, 0, 1, 1, 2, 2]
    assert found.kinds == ["email", "sms", "push"]
    again = pickle.loads(pickle.dumps(found))
    assert again.at(1234) == found.at(1234)


def test_kinds_are_spread() -> None:
    order = evenly({"a": 8, "b": 1, "c": 1})
    assert Counter(order) == {"a": 8, "b": 1, "c": 1}
    assert abs(order.index("b") - order.index("c")) >= 3
    assert math.isclose(order.count("a") / len(order), 0.8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "stages"), ("stage = 1", "stages"), ("[[stage", "not TOML"), ("[[stage]]\nrate = 1", "seconds must"),
        ("[[stage]]\nseconds = 1", "rate must"), ("[[stage]]\nseconds = 1\nrate = -1", "rate must"),
        ("[[stage]]\nseconds = 0\nrate = 1", "seconds must"), ("[[stage]]\nseconds = true\nrate = 1", "seconds must"),
        ("[[stage]]\nseconds = 1\nrate = nan", "rate must"), ("[[stage]]\nseconds = 1\nrate = inf", "rate must"),
        ("[[stage]]\nseconds = 1\nrate = 1\nspeed = 2", "speed is not known"), ("x = 1\n[[stage]]\n", "x is not known"),
        ("[[stage]]\nseconds = 1\nrate = 1\nmix = {}", "mix names"),
        ("[[stage]]\nseconds = 1\nrate = 1\nmix = { fax = 1 }", "no kind 'fax'"),
        ("[[stage]]\nseconds = 1\nrate = 1\nmix = { sms = 0 }", "weight of sms"),
        ("[[stage]]\nseconds = 1\nrate = 1\nwarm_up = true", "at least one"),
        ("[[stage]]\nseconds = 1\nrate = 1\n[[stage]]\nseconds = 1\nrate = 1\nwarm_up = true", "stand first"),
        ("[[stage]]\nseconds = 1\nrate = 0", "at least one request"),
        ("[[stage]]\nseconds = 1\nrate = 1\nname = 5", "name is"),
    ],
)
def test_what_is_no_scenario(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as wrong:
        parse_stages(text, "day.toml", "email")
    assert str(wrong.value).startswith("day.toml")
