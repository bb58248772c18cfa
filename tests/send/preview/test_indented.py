"""A body for people: a line for each member, and not a digit changed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sender.send.preview.indented import MOST, indented

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=10,
)


@given(values, st.booleans())
def test_it_is_the_same_json(value: Any, ascii_only: bool) -> None:
    text = indented(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert json.loads(text) == value
    assert text == json.dumps(value, ensure_ascii=ascii_only, indent=2)


def test_digits_stay() -> None:
    assert indented(b'{"a":12.50,"b":[1e3 , 12345678901234567890123]}') == (
        '{\n  "a": 12.50,\n  "b": [\n    1e3,\n    12345678901234567890123\n  ]\n}'
    )


def test_a_long_text_is_cut_and_says_so() -> None:
    text = indented(json.dumps({"file": "A" * 5000, "x": 1}).encode())
    assert '"file": "AAAA' in text
    assert '…" (5,000 characters),\n  "x": 1' in text
    assert len(text) < MOST
