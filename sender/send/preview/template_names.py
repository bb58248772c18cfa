"""Names of the workspace's templates, for people who know them by name (docs/api.md, "Reading the API")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.engine.preflight import TEMPLATES
from sender.engine.workspace import Workspace

if TYPE_CHECKING:
    from sender.send.send_plan import SendPlan

log = structlog.get_logger()


async def template_names(plan: SendPlan) -> dict[int, str]:
    """Number and name of each; none without a key, or where the API does not tell them."""
    if plan.api_key is None:
        return {}
    workspace = Workspace(plan.base_url, plan.api_key, plan.settings, time.time)
    try:
        entries = (await workspace.reader.read(TEMPLATES.path)).get("messages")
    except ReadingRefusedError:
        log.warning("the key may not read the templates: their names are left out")
        return {}
    except ReadingFailedError as error:
        log.warning("the templates cannot be read: their names are left out", because=str(error))
        return {}
    finally:
        await workspace.transport.aclose()
    return {entry["id"]: str(entry["name"]) for entry in entries or () if isinstance(entry, dict) and _is_named(entry)}


def _is_named(entry: dict[str, object]) -> bool:
    return isinstance(entry.get("id"), int) and isinstance(entry.get("name"), str)
