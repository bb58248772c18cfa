"""One contract for every kind of input: a file, a compressed one, a FIFO; and what bounds their memory."""

from __future__ import annotations

import asyncio
import gzip
import os
import tempfile
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import InputError, UsageError
from sender.inputs import files, streams
from sender.inputs.inputs import open_inputs
from sender.inputs.line_count import LineCount
from sender.inputs.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName

KINDS = ["plain", "gzip", "fifo"]


def lane_of(data: bytes) -> LaneName:
    return "trigger" if b"broadcast" in data else "send"


def make(kind: str, folder: Path, data: bytes) -> str:
    if kind == "fifo":
        path = folder / "fifo"
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
        return str(path)
    path = folder / ("f.gz" if kind == "gzip" else "f")
    path.write_bytes(gzip.compress(data) if kind == "gzip" else data)
    return str(path)


async def all_of(source: Any, lane: LaneName = "send", most: int = 7) -> list[Line]:
    feed = source.feed(lane, lane_of)
    found: list[Line] = []
    while lines := await feed.read(most, 1000):
        assert len(lines) <= most
        found += lines
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_lines(kind: str, tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}\n\xff\x00\n{"c":3}'
    source = open_inputs([make(kind, tmp_path, data)])
    lines = await all_of(source)
    assert [(line.number, line.data) for line in lines] == [
        (1, b'{"a":1}'), (4, b'{"b":2}'), (5, b"\xff\x00"), (6, b'{"c":3}'),
    ]
    await source.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_each_lane_gets_its_own_in_order(kind: str, tmp_path: Path) -> None:
    data = b"".join(b"broadcast %d\n" % n if n % 3 else b"email %d\n" % n for n in range(5000))
    source = open_inputs([make(kind, tmp_path, data)])
    send, trigger, app = await asyncio.gather(*(all_of(source, lane) for lane in ("send", "trigger", "app")))
    assert [line.number for line in send] == [n + 1 for n in range(5000) if n % 3 == 0]
    assert [line.number for line in trigger] == [n + 1 for n in range(5000) if n % 3]
    assert app == []
    await source.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lane_that_is_not_read_holds_nobody_and_costs_no_memory(kind: str, tmp_path: Path) -> None:
    data = b"".join(b"broadcast %d %s\n" % (n, b"x" * 200) for n in range(60_000)) + b"email\n" * 100
    source = open_inputs([make(kind, tmp_path, data)])
    trigger = source.feed("trigger", lane_of)
    assert len(await trigger.read(10, 10**6)) == 10
    del data
    tracemalloc.start()
    assert len(await all_of(source)) == 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    rest = 0
    while lines := await trigger.read(1000, 10**6):
        rest += len(lines)
    assert rest == 60_000 - 10
    await source.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_over_the_limit_is_told_and_passed_over(kind: str, tmp_path: Path) -> None:
    data = b"before\n" + b"x" * 3_000_000 + b"\nafter\n"
    source = open_inputs([make(kind, tmp_path, data)], most_line=1_000_000)
    tracemalloc.start()
    before, long, after = await all_of(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (before.data, after.data, after.number) == (b"before", b"after", 3)
    assert long.fault is not None
    assert long.fault.code == "line_too_long"
    assert peak < 5_000_000
    await source.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_array_is_told_as_such(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="JSON array"):
        await all_of(open_inputs([make(kind, tmp_path, b' \n[{"a":1}]')]))


async def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", 9) as file:
        for _ in range(60):
            file.write(b"x" * 1_000_000)
        file.write(b"\nafter\n")
    source = open_inputs([str(bomb)])
    tracemalloc.start()
    lines = await all_of(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [line.fault is not None for line in lines] == [True, False]
    assert peak < 60_000_000
    await source.aclose()


async def test_a_cut_off_gzip_gives_what_it_has(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(b"line %d\n" % n for n in range(100_000)))
    (tmp_path / "f.gz").write_bytes(data[:-2000])
    source = open_inputs([str(tmp_path / "f.gz")])
    feed = source.feed("send", lane_of)
    count = 0
    with pytest.raises(InputError, match="cut off"):
        while lines := await feed.read(1000, 10**6):
            count += len(lines)
    assert 50_000 < count < 100_000
    (tmp_path / "g.gz").write_bytes(b"this is not gzip")
    with pytest.raises(InputError, match="damaged"):
        await all_of(open_inputs([str(tmp_path / "g.gz")]))


def test_all_that_is_wrong_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "fine").write_text("{}\n")
    with pytest.raises(UsageError) as caught:
        open_inputs([str(tmp_path / "fine"), str(tmp_path / "none"), str(tmp_path)])
    assert "none cannot be read: No such file" in str(caught.value)
    assert "is a directory" in str(caught.value)
    with pytest.raises(UsageError, match="more than once"):
        open_inputs(["-", "-"])


async def test_stop_ends_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    source = open_inputs([str(tmp_path / "fifo")])
    feed = source.feed("send", lane_of)
    waiting = asyncio.create_task(feed.read(10, 1000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    source.stop()
    assert await asyncio.wait_for(waiting, 1) == []
    await source.aclose()
    os.close(writer)


async def test_a_line_of_a_stream_is_given_out_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    feed = open_inputs([str(tmp_path / "fifo")]).feed("send", lane_of)
    for number in range(3):
        os.write(writer, b"line %d\n" % number)
        assert [line.number for line in await asyncio.wait_for(feed.read(1000, 10**6), 2)] == [number + 1]
    os.close(writer)


async def test_lines_are_counted_ahead_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"line\n\n \r\n" * 100 + b"no end")
    (tmp_path / "g.gz").write_bytes(gzip.compress(b"line\n" * 7))
    source = open_inputs([str(tmp_path / "f"), str(tmp_path / "g.gz")])
    count = LineCount(source.files)
    assert count.countable
    assert count.total is None
    await count.run()
    assert count.total == 108
    assert len(await all_of(source)) == 108, "counting moves no reader"


async def test_what_cannot_be_counted_has_no_total(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    (tmp_path / "f").write_bytes(b"line\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"line\n" * 100)[:-9])
    for names, countable in ((["f", "fifo"], False), (["f", "cut.gz"], True)):
        source = open_inputs([str(tmp_path / name) for name in names])
        count = LineCount(source.files)
        await asyncio.wait_for(count.run(), 5)
        assert (count.countable, count.total) == (countable, None)
        await source.aclose()
    os.close(writer)


@given(
    st.lists(st.sampled_from([b"{}", b"x", b" ", b"\t", b"\r", b"\n", b"\x0b", b"\xef\xbb\xbf"]), max_size=40),
    st.integers(3, 9),
)
def test_the_count_is_what_a_reader_gives_out(pieces: list[bytes], size: int) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", size)
        file.write(b"".join(pieces))
        file.flush()
        (opened,) = open_inputs([file.name]).files
        count = LineCount([opened])
        asyncio.run(count.run())
        assert count.total == len(list(opened.lines()))
        opened.close()


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12),
       st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(1, 9))
def test_any_chunking_gives_the_same_lines(lines: list[bytes], end: bytes, ended: bool, size: int) -> None:
    data = end.join(lines) + (end if ended else b"")
    reference = [
        (number, line.removesuffix(b"\r"))
        for number, line in enumerate(data.split(b"\n"), 1)
        if line.removesuffix(b"\r") and not line.isspace()
    ]
    if reference and reference[0][0] == 1:
        first = reference[0][1].removeprefix(b"\xef\xbb\xbf")
        reference[0] = (1, first)
        reference = [entry for entry in reference if entry[1]]
    cutter = LineCutter("f")
    found = [line for at in range(0, len(data), size) for line in cutter.cut(data[at : at + size])]
    found += cutter.finish()
    assert [(line.number, line.data) for line in found] == reference


def test_chunks_are_small_enough_not_to_disturb_the_pace() -> None:
    assert files.CHUNK <= 1 << 20
    assert streams.CHUNK <= 1 << 20


def pipe_of(lines: Iterable[bytes]) -> int:
    """The reading end of a pipe that a thread fills as fast as it is read."""
    reader, writer = os.pipe()

    def fill() -> None:
        with os.fdopen(writer, "wb") as file:
            file.writelines(lines)

    threading.Thread(target=fill, daemon=True).start()
    return reader


async def test_a_stream_of_sends_alone_is_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emails were spilled to the disk, up to 4 GiB, since the other lanes could be waiting for a line."""
    monkeypatch.setattr(streams.LaneBuffer, "_spill", lambda self, line: pytest.fail("nothing is spilled"))
    stream = streams.StreamInput("-", pipe_of(b'{"to":"%07d"}\n' % number for number in range(60_000)))
    stream.use(lane_of)
    others = [asyncio.create_task(stream.read(lane, 10, 1000)) for lane in ("trigger", "app")]
    taken = 0
    while lines := await stream.read("send", 64, 10_000):
        taken += len(lines)
        assert stream.unread < 2 * streams.CHUNK / 15
        if taken % 100 == 0:
            await asyncio.sleep(0)
    assert taken == 60_000
    assert [await other for other in others] == [[], []]
    stream.close()


async def test_sends_behind_a_slow_lane_are_found_all_the_same() -> None:
    reader = pipe_of([*(b'{"broadcast":1}\n' for _ in range(20_000)), b'{"to":1}\n'])
    stream = streams.StreamInput("-", reader)
    stream.use(lane_of)
    async with asyncio.timeout(20):
        assert len(await stream.read("send", 64, 10_000)) == 1
    stream.close()


async def test_a_full_disk_for_waiting_lines_ends_no_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full TMPDIR ended the reading: lines were lost that had been read."""
    monkeypatch.setattr(streams.tempfile, "TemporaryFile", lambda **_: (_ for _ in ()).throw(OSError(28, "full")))
    monkeypatch.setattr(streams, "MOST_LINES", 50)
    kinds = (b"broadcast" if number % 3 else b"to" for number in range(30_000))
    reader = pipe_of(b'{"%s":1}\n' % kind for kind in kinds)
    stream = streams.StreamInput("-", reader)
    stream.use(lane_of)
    found: dict[LaneName, int] = {"send": 0, "trigger": 0}

    async def take(lane: LaneName, pause: float) -> None:
        while lines := await stream.read(lane, 64, 10_000):
            found[lane] += len(lines)
            await asyncio.sleep(pause)

    async with asyncio.timeout(30):
        await asyncio.gather(take("send", 0), take("trigger", 0.001))
    assert found == {"send": 10_000, "trigger": 20_000}
    assert stream.unread == 0
    stream.close()
