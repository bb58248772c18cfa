"""Messages that carry a number, and the clusters that they are put into: the real one, or the library's mock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection

    from sender.queues import Message

real = pytest.mark.parametrize("cluster", ["real"], indirect=True)
mock = pytest.mark.parametrize("cluster", ["mock"], indirect=True)
"""It gives no partition to the second reader of a group."""


def bodies(number: int, start: int = 0) -> list[bytes]:
    return [b'{"id": "job-%d"}' % one for one in range(start, start + number)]


def numbers(messages: Collection[Message]) -> list[int]:
    return sorted(int(one.data[12:-2]) for one in messages)
