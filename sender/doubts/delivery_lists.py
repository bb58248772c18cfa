"""The Lists of the API that show deliveries, asked in narrow windows of time and never twice for the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sender.doubts.matching import WIDE_SKEW, listed_deliveries
from sender.engine.api_reader import ReadingFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.known_deliveries import KnownDelivery
    from sender.doubts.matching import ListedDelivery
    from sender.engine.api_reader import ApiReader

_LIST_TYPES: Final = {"email": "email", "sms": "twilio", "whatsapp": "whatsapp", "push": "push", "in_app": "in_app"}


class DeliveryLists:
    """Reads them; every method raises ReadingRefusedError and ReadingFailedError."""

    def __init__(self, reader: ApiReader, lag: float) -> None:
        self._reader = reader
        self._lag = lag
        self._shown: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._messages: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._names: asyncio.Task[dict[str, int]] | None = None

    async def deliveries(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[ListedDelivery]:
        """What may be theirs, who are of one person, or of one kind and nobody."""
        start, end = self._window(doubtful_jobs)
        person = doubtful_jobs[0].person
        if person is None:
            kind = _LIST_TYPES.get(doubtful_jobs[0].kind)
            path, query = "/v1/messages", {"type": kind, "start_ts": start, "end_ts": end}
        else:
            path, query = person_path(*person), {"id_type": person[0], "start_ts": start, "end_ts": end}
        return listed_deliveries(await self._reader.read_all(path, "messages", **query))

    async def of_template(self, number: int, doubtful_jobs: Sequence[DoubtfulJob]) -> set[str]:
        """Ids of the deliveries of one template."""
        start, end = self._window(doubtful_jobs)
        path = f"/v1/transactional/{number}/messages"
        items = await self._reader.read_all(path, "messages", start_ts=start, end_ts=end)
        return {item["id"] for item in items if isinstance(item.get("id"), str)}

    async def shows(self, witness: KnownDelivery, id_type: str) -> bool:
        """Whether the list of the witness's person shows it."""
        key = (witness.delivery_id, id_type)
        if key not in self._shown:
            self._shown[key] = asyncio.create_task(self._look_for(witness, id_type))
        return await asyncio.shield(self._shown[key])

    async def template_of(self, witness: KnownDelivery) -> int | None:
        """The template of a known delivery, where the API tells it."""
        template = (await self._message(witness.delivery_id) or {}).get("transactional_message_id")
        return template if type(template) is int else None

    async def template_named(self, name: str) -> int | None:
        """The only template with that name; the trigger name itself is in no list (docs/api.md, "Reading the API")."""
        if self._names is None:
            self._names = asyncio.create_task(self._read_names())
        return (await asyncio.shield(self._names)).get(name)

    def _window(self, doubtful_jobs: Sequence[DoubtfulJob]) -> tuple[int, int]:
        start = min(one.since for one in doubtful_jobs) - WIDE_SKEW
        end = max(one.until for one in doubtful_jobs) + self._lag + WIDE_SKEW
        return max(0, int(start)), int(end) + 1

    async def _look_for(self, witness: KnownDelivery, id_type: str) -> bool:
        message = await self._message(witness.delivery_id)
        people = (message or {}).get("customer_identifiers") or (message or {}).get("identifiers")
        value = people.get(id_type) if isinstance(people, dict) else None
        if not isinstance(value, str | int) or value == "":
            return False
        start, end = int(witness.at - WIDE_SKEW), int(witness.at + self._lag + WIDE_SKEW)
        items = await self._reader.read_all(
            person_path(id_type, str(value)), "messages", id_type=id_type, start_ts=start, end_ts=end
        )
        return any(item.get("id") == witness.delivery_id for item in items)

    async def _message(self, delivery_id: str) -> dict[str, Any] | None:
        if delivery_id not in self._messages:
            self._messages[delivery_id] = asyncio.create_task(self._read_message(delivery_id))
        return await asyncio.shield(self._messages[delivery_id])

    async def _read_message(self, delivery_id: str) -> dict[str, Any] | None:
        try:
            document = await self._reader.read(f"/v1/messages/{quote(delivery_id, safe='')}")
        except ReadingFailedError:  # not visible yet is a 404
            return None
        message = document.get("message")
        return message if isinstance(message, dict) else None

    async def _read_names(self) -> dict[str, int]:
        document = await self._reader.read("/v1/transactional")
        found: dict[str, int] = {}
        twice: set[str] = set()
        for entry in document.get("messages") or ():
            if isinstance(entry, dict) and isinstance(entry.get("name"), str) and type(entry.get("id")) is int:
                name = entry["name"].lower()
                if name in found:
                    twice.add(name)
                found[name] = entry["id"]
        return {name: number for name, number in found.items() if name not in twice}


def person_path(id_type: str, value: str) -> str:
    """The path of one person's deliveries: percent-encoded, a cio_id with its prefix.

    See docs/api.md, "Reading the API".
    """
    text = f"cio_{value}" if id_type == "cio_id" and not value.startswith("cio_") else value
    return f"/v1/customers/{quote(text, safe='')}/messages"
