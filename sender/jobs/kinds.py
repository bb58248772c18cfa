"""The kinds of job, one table: which request each makes, in which lane (docs/job-format.md, "Kinds")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LaneName = Literal["send", "trigger", "app"]
LANES: Final[tuple[LaneName, ...]] = ("send", "trigger", "app")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job and its request."""

    name: str
    lane: LaneName
    method: str
    path: str
    path_ids: tuple[str, ...] = ()
    """The ids that stand in the path, all positive integers."""
    needs_id: bool = False
    """Whether the job must carry an `id`, since repeating the same content can be meant."""
    repeatable: bool = False
    """Whether doing it twice is the same as once, so that everything transient about it is safe."""
    answer_id: str | None = None
    """The key of a 2xx answer that proves acceptance; None where any JSON 2xx does."""

    def ids_in(self, path: str) -> tuple[str, ...]:
        """The ids of a request's path, in the order of `path_ids`."""
        pairs = zip(self.path.split("/"), path.split("/"), strict=True)
        return tuple(part for name, part in pairs if name.startswith("{"))


def _send(name: str) -> Kind:
    return Kind(name, "send", "POST", f"/v1/send/{name}", answer_id="delivery_id")


SEND_KINDS: Final = ("email", "sms", "whatsapp", "push", "in_app", "inbox_message")
LIST_TYPES: Final = {"email": "email", "sms": "twilio", "whatsapp": "whatsapp", "push": "push", "in_app": "in_app"}
"""The `type` by which the API lists the deliveries of a kind; others are listed among all (docs/api.md)."""

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        *(_send(name) for name in SEND_KINDS),
        Kind("broadcast", "trigger", "POST", "/v1/campaigns/{broadcast_id}/triggers", ("broadcast_id",),
             needs_id=True, answer_id="id"),
        Kind("newsletter_send", "app", "POST", "/v1/newsletters/{newsletter_id}/send", ("newsletter_id",)),
        Kind("newsletter_schedule", "app", "POST", "/v1/newsletters/{newsletter_id}/schedule", ("newsletter_id",),
             needs_id=True, repeatable=True),
        Kind("content", "app", "PUT", "/v1/transactional/{transactional_id}/content/{content_id}",
             ("transactional_id", "content_id"), needs_id=True, repeatable=True),
    )
}
