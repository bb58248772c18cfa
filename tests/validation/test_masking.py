from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.jobs import masking
from sender.jobs.masking import MASK, mask, mask_words, words_of
from sender.runtime.long_step import LONG, run_step

WORDS = st.text(st.sampled_from('abcÄ "<&%\\\'\n/+@'), max_size=8)


def body_of(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()


def test_what_is_longer_than_the_text_is_not_turned_into_other_writings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An email with a large attachment took 160 ms of the event loop for each failure."""
    looked_at: list[int] = []
    real = masking.quote

    def quote(value: str, safe: str = "/") -> str:
        looked_at.append(len(value))
        return real(value, safe=safe)

    monkeypatch.setattr(masking, "quote", quote)
    body = body_of({"to": "ada", "attachments": {"a.pdf": base64.b64encode(b"x" * 100_000).decode()}})
    assert mask("no such person: ada", body) == f"no such person: {MASK}"
    assert set(looked_at) == {3}


@given(st.lists(WORDS, min_size=1, max_size=5), st.data())
def test_every_writing_of_a_payload_string_is_masked(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    if len(word.strip()) < 3:
        return
    forms = (word, word.upper(), masking.html.escape(word), masking.quote(word), masking.quote(word, safe=""),
             repr(word)[1:-1], json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1])
    form = data.draw(st.sampled_from(forms))
    if form.lower() == word.upper().lower() != word.lower():
        return  # small letters of capitals that have others
    masked = mask(f"error 7: {form}!", body_of({"message_data": {"list": words}}))
    assert form.lower() not in masked.lower().replace(MASK, "\0")


def test_a_payload_too_large_to_look_through_leaves_only_the_words_of_the_api() -> None:
    for payload in ({"data": {"x": "secret", "y": "z" * masking.MOST_BODY}},
                    {"ids": ["secret"] * (masking.MOST_VALUES + 1)}):
        assert mask("The broadcast does not exist: secret (12)", body_of(payload)) == (
            f"The broadcast does not exist: {MASK} {MASK}"
        )


def plain_words_of(body: bytes) -> bytes:
    """As it is defined, at any length."""
    words = re.findall(r"\S+", " ".join(json.loads(body).values()))
    edges = "\"'`.,;:()[]{}<>=!?"
    sums = {crc32(word.strip(edges).lower().encode()) for word in words if 3 <= len(word) <= 500}
    return b"".join(sorted(one.to_bytes(4, "big") for one in sums))


@given(st.dictionaries(st.text(max_size=3), st.text(st.sampled_from("ab Ä\n.,"), max_size=30), max_size=5))
def test_the_words_of_a_payload(payload: dict[str, str]) -> None:
    body = body_of(payload)
    assert words_of(body) == plain_words_of(body)


def test_words_of_a_long_text_are_not_cut() -> None:
    text = " ".join(f"word{number % 40_000}" for number in range(60_000))
    for one in (text, "x" * 200_000 + " " + text, text.replace(" ", "\n")):
        body = body_of({"body": one})
        assert words_of(body) == plain_words_of(body)


def test_too_many_words_are_not_collected() -> None:
    """22 MB of text became megabytes in the ledger's note, and 1.3 s of the event loop."""
    body = body_of({"ids": [f"person-{number}" for number in range(masking.MOST_WORDS + 1)]})
    assert words_of(body) is None


def test_a_word_too_long_to_be_known_is_masked() -> None:
    words = words_of(body_of({"a": "x" * 501}))
    assert words is not None
    assert mask_words("line 3: " + "x" * 501, words) == f"line 3: {MASK}"


def test_half_an_emoji_in_the_payload_does_not_stop_the_masking() -> None:
    body = b'{"to": "ada lovelace", "subject": "\\ud83d"}'
    assert mask("nobody is called ada lovelace", body) == f"nobody is called {MASK}"
    words = words_of(body)
    assert words is not None
    assert mask_words("nobody is called lovelace", words) == f"nobody is called {MASK}"


def test_long_steps_are_taken_in_a_thread() -> None:
    async def both() -> tuple[int, int]:
        return await run_step(LONG, threading.get_ident), await run_step(LONG + 1, threading.get_ident)

    short, long = asyncio.run(both())
    assert short == threading.get_ident() != long


@pytest.mark.parametrize("text", ["1" * 300 + "x", "a" * 500, "://" * 160, "@" * 500, "1.) " * 120, "\\u" * 250])
def test_texts_of_the_api_may_be_anything(text: str) -> None:
    mask(text, body_of({"to": text}))
