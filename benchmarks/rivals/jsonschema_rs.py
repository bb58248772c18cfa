"""jsonschema-rs, the same in Rust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema_rs
import orjson

from rivals.email_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable


def checks() -> dict[str, Callable[[bytes], object]]:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    return {"jsonschema-rs": lambda body: validator.validate(orjson.loads(body))}
