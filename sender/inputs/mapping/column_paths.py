"""Without a mapping column names are paths: `to`, `identifiers.id`, `message_data.total`, `meta.batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.inputs.mapping.filters import CALL, FILTERS, to_bool, to_date, to_int
from sender.inputs.mapping.template import Expression, ObjectOfColumns
from sender.inputs.mapping.values import CellError, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATH_IDS: Final = ("broadcast_id", "newsletter_id", "transactional_id", "content_id")
ENVELOPE: Final = ("id", "kind", "priority", "workspace", "expires_at", "meta", *PATH_IDS)
"""Names that belong around the payload."""
WHY: Final = "why"
"""The column that `sender outcomes --rows` adds; it says nothing of a job."""
WHOLE_NAMES: Final = ("attachments", "headers")
"""Objects whose own names may hold points."""


def template_id(value: Any) -> Any:
    """A template is known by a number or by a name."""
    try:
        return to_int(value)
    except CellError:
        return as_text(value)


_TYPED: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys((*PATH_IDS, "expires_at", "send_at", "scheduled_at"), to_int),
    **dict.fromkeys((
        "queue_draft", "auto_create", "disable_message_retention", "send_to_unsubscribed", "fake_bcc", "tracked",
        "disable_css_preprocessing", "id_ignore_missing", "email_ignore_missing", "email_add_duplicates",
    ), to_bool),
    **dict.fromkeys(
        ("message_data", "identifiers", "custom_data", "recipients", "ids", "emails", "data", "per_user_data", "meta"),
        FILTERS["json"],
    ),
    "transactional_message_id": template_id,
}
"""Columns whose JSON type the API fixes; all others keep the table's."""


def document_of(names: Iterable[str]) -> dict[str, Any]:
    """A mapping in which each column stands at its path; an empty cell leaves its key out."""
    document: dict[str, Any] = {"payload": {}}
    for number, name in enumerate(names, 1):
        if name == WHY:
            continue
        if not name:
            raise UsageError(f"column {number} has no name; name it, or say with --map which columns are used")
        path, filters = _filters_of(name)
        keys = path.split(".", 1) if path.startswith(WHOLE_NAMES) else path.split(".")
        place = document if keys[0] in ENVELOPE else document["payload"]
        if not filters and len(keys) == 1 and keys[0] in _TYPED:
            filters = (_TYPED[keys[0]],)
        _put(place, keys, Expression(name, filters, optional=True), name)
    document["payload"] = document.pop("payload")
    return document


def _filters_of(name: str) -> tuple[str, tuple[Callable[[Any], Any], ...]]:
    """A column's name may end with filters, as in a mapping: `message_data.items:json`."""
    filters: list[Callable[[Any], Any]] = []
    while found := CALL.search(name):
        filters.insert(0, to_date(found[2]) if found[1] is None else FILTERS[found[1]])
        name = name[: found.start()]
    return name, tuple(filters)


def _put(place: dict[str, Any], keys: list[str], leaf: Expression, name: str) -> None:
    for key in keys[:-1]:
        place = place.setdefault(key, ObjectOfColumns())
        if not isinstance(place, dict):
            raise UsageError(f"the column {name} stands below a column that is a value itself; name the columns apart")
    if not all(keys):
        raise UsageError(f"the column {name} has an empty part in its path; a mapping takes columns of any name")
    if keys[-1] in place:
        raise UsageError(f"two columns stand for {name}")
    place[keys[-1]] = leaf
