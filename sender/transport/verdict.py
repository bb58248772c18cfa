"""What an answer, or the lack of one, means for a job (docs/delivery-semantics.md, "What is retried"). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from sender.transport import Reply, TransportFault
from sender.transport.error_body import ApiError, parse_error

if TYPE_CHECKING:
    from sender.jobs.kinds import Kind

What = Literal["sent", "rejected", "retry", "ambiguous", "accepted_id_unknown", "halt_run", "kind_refused"]

SAFE: Final = frozenset({429})
AMBIGUOUS: Final = frozenset({408, 500, 502, 504})
KEPT_RESULTS: Final = ("delivery_id", "queued_at", "send_at")
NO_ERROR: Final = ApiError("")
MOST_RETRY_AFTER: Final = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Which statuses surely mean that nothing was accepted, and which may mean anything."""

    safe: frozenset[int] = SAFE
    ambiguous: frozenset[int] = AMBIGUOUS


class Verdict(NamedTuple):
    """The meaning of one attempt."""

    what: What
    code: str = ""
    """From the list in `codes`; empty for `sent`."""
    message: str = ""
    """For people; may hold the API's own words, which have to be masked."""
    field: str | None = None
    http_status: int | None = None
    result: tuple[tuple[str, Any], ...] = ()
    retry_after: float | None = None
    """Seconds."""
    throttled: bool = False
    """It was a 429: it never counts against the job."""
    doubtful: bool = False
    """Whether the API may have done what this attempt asked for, though it did not say so."""
    queue_full: bool = False
    """A refused trigger that names neither field nor trigger: the queue of waiting ones may be full."""
    error: ApiError = NO_ERROR


def judge(kind: Kind, answer: Reply | TransportFault, rules: Rules, *, wall: float = 0.0) -> Verdict:
    """The verdict on one attempt; `wall` is the unix time that a Retry-After date is held against."""
    if isinstance(answer, TransportFault):
        safe = answer.reach == "unwritten" or kind.repeatable
        doubtful = answer.reach == "written"
        return Verdict("retry" if safe else "ambiguous", answer.code, answer.message, doubtful=doubtful)
    if 200 <= answer.status < 300:
        return _judge_success(kind, answer)
    return _judge_refusal(kind, answer, rules, wall)


def parse_retry_after(text: str | None, wall: float) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110 10.2.3); None when it is absent or makes no sense."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(text).timestamp() - wall)
        except (ValueError, TypeError, OverflowError):
            return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, MOST_RETRY_AFTER)


def _judge_success(kind: Kind, reply: Reply) -> Verdict:
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return _accepted_unknown(kind, reply, "an answer that is not JSON")
    if kind.answer_id is None:
        return Verdict("sent", http_status=reply.status, result=_own_id(document))
    value = document.get(kind.answer_id) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return _accepted_unknown(kind, reply, f"an answer without {kind.answer_id}")
    if kind.answer_id == "id":
        return Verdict("sent", http_status=reply.status, result=(("trigger_id", value),))
    kept = tuple((name, document[name]) for name in KEPT_RESULTS if name in document)
    return Verdict("sent", http_status=reply.status, result=kept)


def _own_id(document: Any) -> tuple[tuple[str, Any], ...]:
    if isinstance(document, dict) and isinstance(document.get("newsletter"), dict):
        number = document["newsletter"].get("id")
        return (("newsletter_id", number),) if isinstance(number, int) else ()
    return ()


def _accepted_unknown(kind: Kind, reply: Reply, what: str) -> Verdict:
    if kind.repeatable:
        return Verdict("retry", "answer_unreadable", f"the API gave {what}", http_status=reply.status, doubtful=True)
    message = f"the API accepted the job with {what}; its id is not known, and it is never sent again"
    return Verdict("accepted_id_unknown", "accepted_id_unknown", message, http_status=reply.status)


def _judge_refusal(kind: Kind, reply: Reply, rules: Rules, wall: float) -> Verdict:
    status = reply.status
    error = parse_error(reply.content_type, reply.body)
    wait = parse_retry_after(reply.retry_after, wall)
    if status == 429:
        return Verdict("retry", "rate_limited", _said(reply, error), http_status=429, retry_after=wait,
                       throttled=True, error=error)
    if status == 401 or 300 <= status < 400 or (status in (404, 405) and _is_page(reply)):
        return Verdict("halt_run", "api_error", _why_halt(reply), http_status=status, error=error)
    if status == 403 and not _about_content(error):
        return Verdict("kind_refused", "api_error", _said(reply, error), http_status=status, error=error)
    if status in rules.safe or (status == 503 and (wait is not None or error.structured)):
        return Verdict("retry", "server_error", _said(reply, error), http_status=status, retry_after=wait, error=error)
    if status in rules.ambiguous or status >= 500:
        what: What = "retry" if kind.repeatable else "ambiguous"
        return Verdict(what, "server_error", _said(reply, error), http_status=status, retry_after=wait, doubtful=True,
                       error=error)
    full = kind.lane == "trigger" and status == 422 and error.pointer is None and error.trigger_id is None
    return Verdict("rejected", "api_error", _said(reply, error), _field(error), http_status=status,
                   queue_full=full, error=error)


def _is_page(reply: Reply) -> bool:
    return "html" in reply.content_type or reply.body.lstrip()[:1] == b"<"


def _about_content(error: ApiError) -> bool:
    """A 403 for this job's content, such as a forbidden attachment (docs/api.md, "Email")."""
    return "forbidden file type" in error.message.lower()


def _said(reply: Reply, error: ApiError) -> str:
    return f"the API answered {reply.status}: {error.message}" if error.message else f"the API answered {reply.status}"


def _field(error: ApiError) -> str | None:
    return error.pointer.removeprefix("/data/attributes/").replace("/", ".") if error.pointer else None


def _why_halt(reply: Reply) -> str:
    if reply.status == 401:
        return (
            "the API refuses the key (401): check that it is an App API key of this workspace, and that --region "
            "names the workspace's region"
        )
    if 300 <= reply.status < 400:
        return f"the API answered with a redirect ({reply.status}), which is never followed: check --base-url"
    return f"there is no such endpoint ({reply.status}, not in JSON): check --base-url and --region"
