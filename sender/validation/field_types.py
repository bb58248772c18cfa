"""Whether each field of an object is known and has the right JSON type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.nearest import nearest
from sender.validation.fields import DEVICE, ENVELOPE, IDENTIFIERS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from sender.validation.fields import Shape, Types
    from sender.validation.findings import Report

NAMES: Final[dict[type, str]] = {
    str: "a text", int: "an integer", float: "a number", bool: "true or false", dict: "an object", list: "an array",
    type(None): "null",
}
NO_TYPES: Final[Types] = frozenset()
OTHER_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "plaintext": ("body_plain",), "plain_text": ("body_plain",), "plain_body": ("body_plain",),
    "plaintext_body": ("body_plain",), "text": ("body_plain", "message"), "html": ("body",), "html_body": ("body",),
    "template": ("transactional_message_id",), "template_id": ("transactional_message_id",),
    "data": ("message_data", "custom_data"), "message_data": ("data",), "variables": ("message_data", "data"),
    "recipient": ("to",), "recipients": ("to",), "sender": ("from",), "device": ("custom_device",),
    "schedule_at": ("scheduled_at", "send_at"),
}
"""What the field is called that people mean by such a name: the first one that the kind has."""
_KNOWN_TO: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(shape.kind for shape in SHAPES if name in shape.fields)
    for name in {name for shape in SHAPES for name in shape.fields}
}


def check_types(shape: Shape, values: Mapping[str, Any], report: Report, told: Container[str] = ()) -> None:
    """Check the type of each known field, warn of each unknown one but those that were `told` of before."""
    fields = shape.fields
    for name, value in values.items():
        if type(value) in fields.get(name, NO_TYPES):
            continue
        if name in fields:
            _tell_wrong_type(shape.prefix + name, value, fields[name], report)
        elif name not in told:
            field, message = _unknown(shape, name, values) if report.takes_warnings else (None, "")
            report.warn("unknown_field", field, message)


def is_ours(name: str) -> bool:
    """Whether a field of this name is known anywhere, so that it can be told without telling anything personal."""
    return name in _KNOWN_TO or name in ENVELOPE or name in IDENTIFIERS or name in DEVICE.fields


def _tell_wrong_type(field: str, value: Any, allowed: Types, report: Report) -> None:
    if value is None:
        report.warn("null_field", field, f"{field} is null; leave it out to use the API's default")
        return
    wanted = " or ".join(NAMES[kind] for kind in sorted(allowed, key=lambda kind: kind.__name__, reverse=True))
    report.problem("wrong_type", field, f"{field} is {NAMES.get(type(value), 'something else')}; it must be {wanted}")


def _unknown(shape: Shape, name: str, values: Mapping[str, Any]) -> tuple[str | None, str]:
    """Field and sentence. A name that is in none of our tables may be anybody's address: its number stands for it."""
    meant = next((other for other in OTHER_NAMES.get(name, ()) if other in shape.fields), None)
    if meant is not None:
        return shape.prefix + name, f"{shape.prefix}{name} is ignored by the API; the field is called {meant}"
    place = _where_known(name, shape)
    if place is not None:
        return shape.prefix + name, f"{shape.prefix}{name} is no field of {shape.kind} and is ignored here; {place}"
    number = list(values).index(name) + 1
    where = f"of {shape.prefix.rstrip('.')}" if shape.prefix else "of the payload"
    near = nearest(name, shape.fields)
    if near is None:
        home = next((home for home in ("message_data", "data", "attributes") if home in shape.fields), None)
        hint = f"; values of your own belong into {shape.prefix}{home}" if home else ""
        return shape.prefix.rstrip(".") or None, f"field {number} {where} is unknown to the API, which ignores it{hint}"
    near = OTHER_NAMES.get(near, (near,))[0] if near == "plaintext_body" else near
    return (
        shape.prefix + near,
        f"field {number} {where} is misspelt and ignored by the API; is {shape.prefix}{near} meant?",
    )


def _where_known(name: str, shape: Shape) -> str | None:
    if name in IDENTIFIERS and "identifiers" in shape.fields:
        return f"it belongs into identifiers, as identifiers.{name}"
    if name in DEVICE.fields and "custom_device" in shape.fields:
        return f"it belongs into custom_device, as custom_device.{name}"
    if name in ENVELOPE:
        return "it belongs into the envelope, beside payload"
    kinds = _KNOWN_TO.get(name)
    return f"it is a field of {', '.join(kinds)}" if kinds else None
