"""A line as the checks read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sender.jobs.job import Line
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from sender.jobs.job import Invalid, Job

NOW = 1_800_000_000.0
SEND = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "42"}}


def parse(data: bytes | dict[str, Any], kind: str = "email") -> Job | Invalid:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Parser(kind).parse(Line("f", 1, raw), NOW)
