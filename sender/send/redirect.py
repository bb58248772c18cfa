"""`--redirect-to`: a rehearsal sends every message to one recipient of the user's own (docs/guard-rails.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson

from sender.errors import UsageError
from sender.jobs.job import REHEARSAL, Invalid
from sender.jobs.payload import read_payload
from sender.jobs.payload_span import with_members
from sender.jobs.problem import Problem
from sender.validation.headers import RECIPIENTS, header_names
from sender.validation.message import PHONE
from sender.validation.recipients import PLAIN

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.jobs.job import FilesToRead, Job

BY_PHONE: Final = ("sms", "whatsapp")
IDENTIFIERS: Final = ("id", "email", "cio_id")
USAGE: Final = "--redirect-to takes an address, a phone number in E.164 form like +15551234567, or both with a comma"


class RedirectedFiles(NamedTuple):
    """See `FilesToRead`: the files have their places in the body as it was."""

    files: FilesToRead
    body: bytes
    members: dict[str, bytes | None]

    def problems(self) -> tuple[Problem, ...]:
        """See `FilesToRead.problems`."""
        return self.files.problems()

    def read_into(self, body: bytes) -> bytes | Problem:
        """See `FilesToRead.read_into`."""
        del body
        made = self.files.read_into(self.body)
        return made if isinstance(made, Problem) else with_members(made, self.members)


class Redirect(NamedTuple):
    """Who gets every message of a rehearsal."""

    address: str | None
    phone: str | None
    person: dict[str, str] | None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """What the settings ask for; None for a run in earnest, UsageError for what nobody can be reached by."""
        if not settings.redirect_to:
            return None
        found: dict[str, str] = {}
        for text in map(str.strip, settings.redirect_to.split(",")):
            form = "phone" if PHONE.fullmatch(text) else "address" if PLAIN.fullmatch(text) else None
            if form is None or form in found:
                raise UsageError(USAGE)
            found[form] = text
        address, phone = found.get("address"), found.get("phone")
        return cls(address, phone, _person(settings.redirect_identifiers, address))

    def apply(self, job: Job) -> Job | Invalid:
        """The job for that recipient, its other bytes as they were; Invalid where it cannot be redirected."""
        reason = self._refusal(job)
        payload = read_payload(job.body) if reason is None else {}
        if RECIPIENTS.intersection(header_names(payload.get("headers"))):
            reason = "its headers name recipients of their own (To, Cc, Bcc or the like); take them out"
        if reason is not None:
            problem = Problem("cannot_redirect", None, reason)
            return Invalid(job.id, job.kind.name, job.source, job.line, (problem,), job.warnings, _marked(job.meta))
        members = self._members(job.kind.name, payload)
        files = None if job.files is None else RedirectedFiles(job.files, job.body, members)
        return job._replace(body=with_members(job.body, members), files=files, meta=_marked(job.meta), traits=None)

    def mark(self, bad: Invalid) -> Invalid:
        """The same, told as one of a rehearsal."""
        return bad._replace(meta=_marked(bad.meta))

    def _refusal(self, job: Job) -> str | None:
        kind = job.kind.name
        if job.kind.lane != "send":
            return f"a rehearsal sends no {kind}: it goes to an audience or changes the workspace, and has no recipient"
        if kind == "email" and self.address is None:
            return "a rehearsal of an email needs an address in --redirect-to"
        if kind in BY_PHONE and self.phone is None:
            return f"a rehearsal of {kind} needs a phone number in --redirect-to, like +15551234567"
        if self.person is None:
            return "a rehearsal needs a person: --redirect-identifiers id=…, or an address in --redirect-to"
        return None

    def _members(self, kind: str, payload: dict[str, Any]) -> dict[str, bytes | None]:
        """What stands in the payload instead; None: nothing does."""
        members: dict[str, bytes | None] = {"identifiers": orjson.dumps(self.person)}
        if kind == "email":
            for field in ("to", "cc", "bcc"):
                if field == "to" or payload.get(field):
                    members[field] = orjson.dumps(self.address)
        elif kind in BY_PHONE:
            members["to"] = orjson.dumps(self.phone)
        else:
            members |= {"to": None, "custom_device": None}
        return members


def _person(given: str, address: str | None) -> dict[str, str] | None:
    if not given:
        return None if address is None else {"email": address.rpartition("<")[2].rstrip(">")}
    name, equals, value = given.partition("=")
    if name.strip() not in IDENTIFIERS or not equals or not value.strip():
        raise UsageError("--redirect-identifiers takes id=…, email=… or cio_id=…")
    return {name.strip(): value.strip()}


def _marked(meta: bytes | None) -> bytes:
    own = {} if meta is None else orjson.loads(meta)
    return orjson.dumps({REHEARSAL: True, **(own if isinstance(own, dict) else {"meta": own})})
