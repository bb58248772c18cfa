"""The short way from a line to its job, for an email with an id and nothing to be told of: most lines of most files.

It says what the long way in `parser` says, or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.jobs.identity import canonical, content_of, key_of_id
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.jobs.payload import MOST_READ, TRAITS
from sender.validation.envelope import MOST_ID
from sender.validation.plain_email import is_plain_email
from sender.validation.repeated_keys import is_plain, may_repeat_keys

if TYPE_CHECKING:
    from sender.jobs.job import Line
    from sender.validation.line import Document

_KIND: Final = KINDS["email"]
_MEMBERS: Final = {"id", "kind", "payload"}


def plain_job(line: Line, document: Document) -> Job | None:
    """The job of such a line; None of every other."""
    members, body = document.members, document.body
    if body is None or len(body) > MOST_READ or members.keys() != _MEMBERS or members["kind"] != "email":
        return None
    job_id, payload = members["id"], members["payload"]
    if type(job_id) is not str or not 0 < len(job_id) <= MOST_ID or not is_plain_email(payload):
        return None
    text, whole = canonical(payload, body)
    if not (whole and is_plain(line.data, members, body)) and may_repeat_keys(line.data, members, text):
        return None
    return Job(
        job_id, key_of_id(None, job_id), content_of("email", (), text), _KIND, _KIND.path, body, line.source,
        line.number, line.priority, None, line.expires_at, None, (), None,
        {name: payload[name] for name in TRAITS if name in payload},
    )
