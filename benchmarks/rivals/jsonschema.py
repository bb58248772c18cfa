"""jsonschema, the reference in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from jsonschema import Draft202012Validator

from rivals.email_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable


def checks() -> dict[str, Callable[[bytes], object]]:
    validator = Draft202012Validator(SCHEMA)
    return {"jsonschema": lambda body: validator.validate(orjson.loads(body))}
