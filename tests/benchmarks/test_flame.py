"""A flame graph of what ran, and time that counts for the room it was spent in."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from typing import TYPE_CHECKING

import flame

if TYPE_CHECKING:
    from pathlib import Path

STACKS = Counter({
    ("main", "sender.runtime.loop:run", "uvloop:x"): 100, ("main", "sender.engine.lane:run", "sqlite3:<x>"): 300,
    ("main", "sender.engine.pacing.pacer:acquire"): 200, ("main", "sender.engine.lane:run", "sender.jobs.job:key"): 400,
})


def test_time_counts_for_the_innermost_room() -> None:
    assert flame.rooms(STACKS) == {"engine": 300, "engine/pacing": 200, "jobs": 400, flame.OTHERS: 100}
    table = flame.table(STACKS, 1)
    assert "| jobs | 0.4 | 40.0% |" in table
    assert "| ledger | 0.0 | 0.0% |" in table
    assert "| all | 1.0 | 100% |" in table


def test_boxes_are_as_wide_as_their_part() -> None:
    root = ElementTree.fromstring(flame.svg(STACKS))
    boxes = {group[0].text: float(group[1].attrib["width"]) for group in root.iter("{http://www.w3.org/2000/svg}g")}
    assert boxes["main: 100.0%"] == flame.WIDTH
    assert boxes["sender.engine.lane:run: 70.0%"] == 0.7 * flame.WIDTH
    assert ElementTree.fromstring(flame.svg(Counter())) is not None


def test_names_are_no_markup() -> None:
    assert ElementTree.fromstring(flame.svg(Counter({("<script>&", "a"): 1}))) is not None


def test_folded_stacks_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "folded").write_text("a:b;c:d e 12\n")
    assert flame.read(tmp_path / "folded") == {("a:b", "c:d e"): 12}


def test_a_sampler_notes_who_is_busy() -> None:
    sampler = flame.Sampler()
    sampler.start()
    try:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            sum(range(1000))
    finally:
        sampler.stop()
    me = "test_a_sampler_notes_who_is_busy"
    mine = sum(spent for stack, spent in sampler.stacks.items() if stack[-1].endswith(me))
    assert 20e6 < mine < 200e6
