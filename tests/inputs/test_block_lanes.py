"""Each lane reads a file by itself; whose lines a block holds is found out once."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.inputs import blocks
from sender.inputs.inputs import open_inputs
from sender.inputs.lines import LineCutter
from sender.jobs.kinds import LANES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.inputs.inputs import Inputs, InputsFeed
    from sender.jobs.kinds import LaneName

LINES = st.lists(st.sampled_from([
    b"a", b"trigger", b"app", b"", b" ", b"a\r", b"trigger\r", b"\x0capp", b"\xef\xbb\xbftrigger", b"d" * 20,
    b"app" + b"x" * 30, b"trigger" + b"x" * 100,
]), max_size=14)


def lane_of(data: bytes) -> LaneName:
    """Of its first letters alone: what comes before them makes it another lane's."""
    return next((lane for lane in LANES if data.startswith(lane.encode())), "send")


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SIZE", 16)
        patch.setattr(blocks, "MOST", 64)
        yield


async def numbers(feed: InputsFeed) -> list[int]:
    found: list[int] = []
    while lines := await feed.read(3, 1000):
        found += [line.number for line in lines]
    return found


@settings(max_examples=40, deadline=None)
@given(LINES, st.permutations(LANES), st.booleans())
def test_each_line_is_given_out_to_its_own_lane(lines: list[bytes], order: list[LaneName], ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    wanted: dict[LaneName, list[int]] = {lane: [] for lane in LANES}
    cutter = LineCutter("", 40)
    for line in (*cutter.cut(data), *cutter.finish()):
        wanted[lane_of(line.data)].append(line.number)

    async def read(source: Inputs) -> dict[LaneName, list[int]]:
        feeds = {lane: source.feed(lane, lane_of) for lane in order}
        found = {lane: await numbers(feed) for lane, feed in feeds.items()}
        await source.aclose()
        return found

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(data)
        assert asyncio.run(read(open_inputs([str(path)], most_line=40))) == wanted


async def test_the_lane_of_a_line_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def noted(data: bytes) -> LaneName:
        asked.append(data)
        return "send"

    (tmp_path / "f").write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    source = open_inputs([str(tmp_path / "f")])
    assert [len(await numbers(source.feed(lane, noted))) for lane in LANES] == [100, 0, 0]
    assert len(asked) == 100


@pytest.mark.parametrize("changed", [b"trigger\na\n", b"a\n", b"triggers\n", b"trigger"])
async def test_a_file_that_changes_between_two_lanes_is_looked_at_anew(tmp_path: Path, changed: bytes) -> None:
    """What was known of a block is no longer so where a program writes on."""
    path = tmp_path / "f"
    path.write_bytes(b"trigger\n")
    source = open_inputs([str(path)])
    assert await numbers(source.feed("trigger", lane_of)) == [1]
    path.write_bytes(changed)
    sends = [number for number, line in enumerate(changed.split(b"\n"), 1) if line and lane_of(line) == "send"]
    assert await numbers(source.feed("send", lane_of)) == sends
    await source.aclose()
