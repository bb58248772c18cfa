"""fastjsonschema: compiles a schema (draft 7) to Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastjsonschema
import orjson

from rivals.email_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable


def checks() -> dict[str, Callable[[bytes], object]]:
    schema = {**SCHEMA, "$schema": "http://json-schema.org/draft-07/schema"}
    validate = fastjsonschema.compile(schema)
    return {"fastjsonschema": lambda body: validate(orjson.loads(body))}
