"""One entry to all checks: which kind has which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sender.validation.broadcast import check_broadcast
from sender.validation.newsletter import check_content, check_newsletter_schedule, check_newsletter_send
from sender.validation.report import Report
from sender.validation.sends import check_email, check_in_app, check_inbox, check_push, check_sms, check_whatsapp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sender.jobs.kinds import Kind
    from sender.jobs.problem import Findings

RISKY: Final = frozenset({"exe", "bat", "cmd", "com", "js", "jar", "msi", "scr", "vbs", "ps1"})


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set about the checks."""

    require_identifiers: bool = True
    """Whether an email without `identifiers` is refused, or only warned of (docs/api.md, "Identifiers")."""
    risky_extensions: frozenset[str] = RISKY


DEFAULT: Final = Options()
CHECKS: Final[dict[str, Callable[[Mapping[str, Any], int, Report, float, Options], None]]] = {
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


def check(kind: Kind, payload: Mapping[str, Any], size: int, now: float, options: Options = DEFAULT) -> Findings:
    """All findings on a payload of `size` bytes at unix time `now`."""
    report = Report()
    CHECKS[kind.name](payload, size, report, now, options)
    return report.findings()
