"""Lines that an earlier run sent are passed over by the bytes of their block, and no others."""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sender.inputs import blocks
from sender.inputs.blocks import BlockReader
from sender.inputs.inputs import open_inputs
from sender.inputs.sent_lines import SentLines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName
    from sender.jobs.sent_block import SentBlock

LINES = st.lists(st.sampled_from([b"a", b"bb", b"", b" ", b"broadcast", b"c\r", b"d" * 30, b"e" * 90]), max_size=12)


def lane_of(data: bytes) -> LaneName:
    return "trigger" if b"broadcast" in data else "send"


class Notes:
    """What runs noted, with the run that did."""

    def __init__(self) -> None:
        self.run = 0
        self.blocks: dict[bytes, tuple[int, SentBlock]] = {}

    async def sent_block(self, digest: bytes) -> SentBlock | None:
        run, block = self.blocks.get(digest, (self.run, None))
        return block if run < self.run else None

    async def put_sent_blocks(self, sent: Sequence[SentBlock]) -> None:
        self.blocks.update((block.digest, (self.run, block)) for block in sent)


class Pieces:
    """Gives some bytes in pieces."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def read(self) -> bytes:
        return self._data.read(self._size)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SIZE", 16)
        patch.setattr(blocks, "MOST", 64)
        yield


@given(LINES, st.integers(1, 40), st.integers(1, 40))
@example([b"e" * 90, b"a"], 31, 1)
def test_a_file_is_cut_at_the_same_places_whatever_it_is_read_in(lines: list[bytes], one: int, other: int) -> None:
    data = b"\n".join(lines)

    def cut(size: int) -> list[tuple[bytes, bool]]:
        reader = BlockReader(Pieces(data, size))
        found = []
        while (block := reader.read()).data:
            found.append((block.data, block.whole))
        return found

    found = cut(one)
    assert b"".join(block for block, _ in found) == data
    assert all(block.endswith(b"\n") for block, whole in found[:-1] if whole)
    if all(whole for _, whole in found):
        assert found == cut(other)


async def one_run(
    path: Path, notes: Notes, fates: dict[int, str], judged_by: str = ""
) -> tuple[dict[int, bytes], set[int]]:
    """The lines that are given out, by number, and the numbers of those that are passed over."""
    notes.run += 1
    counted: list[int] = []
    sent = SentLines(notes, judged_by, counted.append)
    source = open_inputs([str(path)])
    given: dict[int, bytes] = {}
    passed: set[int] = set()
    blank = {number for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if not line.strip()}
    for lane in ("send", "trigger"):
        feed = source.feed(lane, lane_of, sent)
        while lines := await feed.read(3, 1000):
            for line in lines:
                if line.passed:
                    assert lane == "send"
                    numbers = [n for n in range(line.number, 0, -1) if n not in blank and n not in given][: line.passed]
                    passed.update(numbers)
                else:
                    given[line.number] = line.data
                    take_up(sent, line, fates, lane)
    await sent.close()
    await source.aclose()
    return given, passed


def take_up(sent: SentLines, line: Line, fates: dict[int, str], lane: str) -> None:
    """As the send lane's intake does."""
    fate = fates.get(line.number, "failed")
    if lane != "send" or fate == "expires":
        return
    if fate == "known":
        sent.known(line.source, line.number)
    else:
        sent.follow(line.source, line.number)
        if fate == "sent":
            sent.ended(line.source, line.number)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(LINES, st.lists(st.sampled_from(["sent", "failed", "known", "expires"]), max_size=14)),
                min_size=2, max_size=4), st.booleans())
def test_only_what_was_sent_is_passed_over(runs: list[tuple[list[bytes], list[str]]], grow: bool) -> None:
    """Any file in any run, its lines ending in any way: what is passed over stood as sent, in the same place."""
    notes, stands = Notes(), set()
    with tempfile.TemporaryDirectory() as folder:
        path, data = Path(folder) / "f", b""
        for lines, fates in runs:
            data = (data if grow else b"") + b"".join(line + b"\n" for line in lines)
            path.write_bytes(data)
            found, passed = asyncio.run(one_run(path, notes, dict(enumerate(fates, 1))))
            text = dict(enumerate(data.split(b"\n"), 1))
            assert found.keys() | passed == {number for number, line in text.items() if line.strip()}
            assert not found.keys() & passed
            assert {(number, text[number]) for number in passed} <= stands
            stands |= {
                (number, text[number]) for number, fate in enumerate(fates, 1)
                if number in found and fate in ("sent", "known") and lane_of(found[number]) == "send"
            }


async def test_the_same_file_is_passed_over_and_a_longer_one_but_for_its_end(tmp_path: Path) -> None:
    path, notes = tmp_path / "f", Notes()
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(1, 101)))
    all_sent = dict.fromkeys(range(1, 200), "sent")
    given, passed = await one_run(path, notes, all_sent)
    assert (len(given), passed) == (100, set())
    given, passed = await one_run(path, notes, all_sent)
    assert (given, len(passed)) == ({}, 100)
    with path.open("ab") as file:
        file.write(b"one more\n")
    given, passed = await one_run(path, notes, all_sent)
    assert given[101] == b"one more"
    assert len(given) < 10
    given, passed = await one_run(path, notes, all_sent, "another kind")
    assert (len(given), passed) == (101, set()), "what is made of a line is no longer the same"


async def test_a_line_that_was_changed_is_read_anew_with_its_block(tmp_path: Path) -> None:
    path, notes = tmp_path / "f", Notes()
    lines = [b"line %d\n" % number for number in range(1, 101)]
    path.write_bytes(b"".join(lines))
    await one_run(path, notes, dict.fromkeys(range(1, 101), "sent"))
    lines[49] = b"LINE 50\n"
    path.write_bytes(b"".join(lines))
    given, passed = await one_run(path, notes, {})
    assert given[50] == b"LINE 50"
    assert len(passed) > 90


async def test_what_this_run_has_sent_is_no_earlier_runs(tmp_path: Path) -> None:
    """The same lines in a second file are duplicates of this run, each with its outcome."""
    notes = Notes()
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"line 1\nline 2\nline 3\n")
    sent = SentLines(notes, "", lambda _: None)
    notes.run = 1
    source = open_inputs([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")])
    feed = source.feed("send", lane_of, sent)
    found: list[Line] = []
    while lines := await feed.read(3, 1000):
        for line in lines:
            sent.follow(line.source, line.number)
            sent.ended(line.source, line.number)
        found += lines
    assert [line.passed for line in found] == [0] * 9
    await sent.close()
    await source.aclose()
