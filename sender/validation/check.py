"""One entry to all checks: which kind has which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.problem import CLEAN
from sender.validation.broadcast import check_broadcast
from sender.validation.check_options import DEFAULT
from sender.validation.email import check_email
from sender.validation.findings import Report
from sender.validation.newsletter import check_content, check_newsletter_schedule, check_newsletter_send
from sender.validation.plain_email import is_plain_email
from sender.validation.sends import check_in_app, check_inbox, check_push, check_sms, check_whatsapp
from sender.validation.sizes import LARGE_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sender.jobs.kinds import Kind
    from sender.jobs.problem import Findings
    from sender.validation.check_options import Options

CHECKS: Final[dict[str, Callable[[Mapping[str, Any], bytes, Report, float, Options], None]]] = {
    "email": check_email,
    "sms": check_sms,
    "whatsapp": check_whatsapp,
    "push": check_push,
    "in_app": check_in_app,
    "inbox_message": check_inbox,
    "broadcast": check_broadcast,
    "newsletter_send": check_newsletter_send,
    "newsletter_schedule": check_newsletter_schedule,
    "content": check_content,
}


def check(kind: Kind, payload: Mapping[str, Any], body: bytes, now: float, options: Options = DEFAULT) -> Findings:
    """All findings on a payload at unix time `now`; `body` are the bytes in which it stands."""
    if kind.name == "email" and len(body) <= LARGE_BODY and is_plain_email(payload):
        return CLEAN
    report = Report()
    CHECKS[kind.name](payload, body, report, now, options)
    return report.findings()
