"""Lines that are handed on a block at a time are those that are given out one by one."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.inputs import blocks, duplicate_index
from sender.inputs.duplicate_index import DuplicateIndex
from sender.inputs.inputs import all_batches
from sender.inputs.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = st.sampled_from([b"a", b"bb\r", b"", b" ", b"\xef\xbb\xbf", b"d" * 30, b"e" * 90, b"f" * 300])


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SIZE", 16)
        patch.setattr(blocks, "MOST", 64)
        patch.setattr(duplicate_index, "MOST_RECENT", 3)
        patch.setattr(duplicate_index, "MARKS", 32)
        yield


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, max_size=12), st.booleans(), st.booleans())
def test_batches_hold_the_same_lines(parts: list[bytes], ended: bool, compressed: bool) -> None:
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("f.gz" if compressed else "f")
        path.write_bytes(gzip.compress(data) if compressed else data)
        found = [line for batch in all_batches((str(path),)) for line in batch.cut()]
    cutter = LineCutter(str(path))
    assert found == [*cutter.cut(data), *cutter.finish()]


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("xy")), max_size=40))
def test_an_identity_is_known_by_its_first_content_in_memory_and_in_the_file(seen: list[tuple[str, str]]) -> None:
    index, first = DuplicateIndex(), dict[str, str]()
    for key, content in seen:
        assert index.add(key, content) == first.get(key)
        first.setdefault(key, content)
