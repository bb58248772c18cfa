"""Why not one request of a benchmark succeeds, in one sentence, and when that is sure enough to end it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.jobs.masking import mask
from sender.transport import Reply

if TYPE_CHECKING:
    from collections import Counter

    from sender.transport import TransportFault
    from sender.transport.verdict import Verdict

REFUSALS: Final = frozenset({401, 403, 404, 405})
"""Statuses about key or path rather than about a request's content."""
SURE: Final = 3
"""As many of the same refusal, and nothing else, before the first success."""


def is_hopeless(verdict: Verdict, answer: Reply | TransportFault, seen: Counter[int | str], *, connected: bool) -> bool:
    """Whether no further request can succeed.

    `seen` counts the failures so far by status or code; `connected` is whether the server took a connection before.
    """
    if not isinstance(answer, Reply):
        return not connected and answer.reach == "unwritten"
    if verdict.what == "halt_run":
        return True
    return answer.status in REFUSALS and seen[answer.status] >= SURE and len(seen) == 1


def reason(verdict: Verdict, answer: Reply | TransportFault, base_url: str, payload: bytes) -> str:
    """What is wrong with the request and what to look at, for people; nothing of `payload` stands in it."""
    if not isinstance(answer, Reply):
        if answer.reach == "unwritten":
            what = "nothing listens at" if answer.code == "connect_failed" else "there is no connection to"
            return f"{what} {base_url} ({answer.message}): start the server, or correct --base-url"
        return f"{base_url} gives no answer ({answer.code}: {answer.message})"
    if answer.status == 401:
        return f"{base_url} refuses the key (401): correct SENDER_API_KEY or --api-key-file"
    if answer.status in (404, 405):
        return f"{base_url} has no such path ({answer.status}): correct --base-url, --kind, or the ids in --jobs"
    return mask(verdict.message, payload)
