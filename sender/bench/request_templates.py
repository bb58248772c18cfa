"""The requests of a benchmark: generated ones, or those of a job file in a circle.

`{{bench.n}}` in a job line stands for the request's number, always seven digits and never twice in a run, in texts as
well as in a number's place; `{{bench.run}}` stands for eight signs that differ from run to run.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from sender.errors import UsageError
from sender.jobs.job import Invalid, Line
from sender.jobs.kinds import KINDS
from sender.transport import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.jobs.kinds import Kind
    from sender.validation.parser import Parser

NUMBER: Final = b"{{bench.n}}"
RUN: Final = b"{{bench.run}}"
FIRST_NUMBER: Final = 1_000_000

_NOTE: Final = {"identifiers": {"id": "{{bench.n}}"},
                "message_data": {"run": "{{bench.run}}", "n": "{{bench.n}}", "total": "12.50"}}
_PAYLOADS: Final[dict[str, dict[str, object]]] = {
    "email": {"transactional_message_id": 1, "to": "bench-{{bench.n}}@example.com"},
    "sms": {"transactional_message_id": 2, "to": "+1555{{bench.n}}"},
    "whatsapp": {"transactional_message_id": 3, "to": "+1555{{bench.n}}"},
    "push": {"transactional_message_id": 4},
    "in_app": {"transactional_message_id": 5},
    "inbox_message": {"transactional_message_id": 6},
}
"""A message belongs to one channel, so each kind has one of its own."""


@dataclass(frozen=True, slots=True)
class Template:
    """A request with gaps for its number."""

    kind: str
    method: str
    path: tuple[str, ...]
    body: tuple[bytes, ...]

    def request(self, number: int) -> Request:
        """The request with this number, counted from 0."""
        text = str(FIRST_NUMBER + number)
        return Request(self.method, text.join(self.path), text.encode().join(self.body))


def run_token() -> str:
    """Eight signs that no other run has."""
    return secrets.token_hex(4)


def generated(kind: Kind, token: str) -> Template:
    """A small payload that the API would take, each with a recipient of its own."""
    content = _PAYLOADS.get(kind.name)
    payload = {**_NOTE, **content} if content is not None else {}
    body = orjson.dumps(payload).replace(RUN, token.encode())
    path = kind.path.format(**dict.fromkeys(kind.path_ids, 1))
    return Template(kind.name, kind.method, (path,), tuple(body.split(NUMBER)))


def read_templates(lines: Iterable[Line], parser: Parser, token: str, now: float, memory: int) -> tuple[Template, ...]:
    """The job lines as templates, up to `memory` bytes of them; UsageError for the first one that is invalid."""
    found: list[Template] = []
    size = 0
    for line in lines:
        size += len(line.data) + 500
        if size > memory and found:
            break
        found.append(_template(line, parser, token, now))
    if not found:
        raise UsageError("--jobs names a file without any job")
    return tuple(found)


def _template(line: Line, parser: Parser, token: str, now: float) -> Template:
    data = line.data.replace(RUN, token.encode())
    mark = _absent_number(data)
    job = parser.parse(Line(line.source, line.number, data.replace(NUMBER, mark.encode()), line.fault), now)
    if isinstance(job, Invalid):
        raise UsageError(f"{line.source}:{line.number}: {job.problems[0].message}; sender validate tells all of it")
    kind = KINDS[job.kind.name]
    return Template(kind.name, kind.method, tuple(job.path.split(mark)), tuple(job.body.split(mark.encode())))


def _absent_number(data: bytes) -> str:
    """Seven digits that do not stand in the line, to find again where the number goes."""
    return next(text for text in map(str, range(7_304_651, 9_999_999)) if text.encode() not in data)
