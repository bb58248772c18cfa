"""The DeliveryLists of the API, asked in narrow windows of time and never twice for the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sender.doubts.listed_delivery import people_of, read_listing
from sender.doubts.matching import WIDE_SKEW, number_of
from sender.engine.api_reader import ReadingFailedError
from sender.jobs.kinds import LIST_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.listed_delivery import Listing
    from sender.engine.api_reader import ApiReader

MINUTE: Final = 60
NEIGHBOUR_PAGES: Final = 3


class DeliveryLists:
    """Every method raises ReadingRefusedError and ReadingFailedError."""

    def __init__(self, reader: ApiReader, lag: float) -> None:
        self._reader = reader
        self._lag = lag
        self._neighbours: dict[tuple[int, int], asyncio.Task[Listing]] = {}
        self._messages: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._names: asyncio.Task[dict[str, int]] | None = None

    async def deliveries(self, doubtful_jobs: Sequence[DoubtfulJob]) -> Listing:
        """What may be theirs, who are all of the first one's person, or of its kind and nobody."""
        start, end = self._window(doubtful_jobs)
        person = doubtful_jobs[0].person
        if person is None:
            kind = LIST_TYPES.get(doubtful_jobs[0].kind)
            entries = await self._reader.read_all("/v1/messages", "messages", type=kind, start_ts=start, end_ts=end)
        else:
            path = person_path(*person)
            entries = await self._reader.read_all(path, "messages", id_type=person[0], start_ts=start, end_ts=end)
        return read_listing(entries, person)

    async def with_templates(
        self, listing: Listing, doubtful_jobs: Sequence[DoubtfulJob], numbers: Mapping[str, int]
    ) -> Listing:
        """Where a list does not tell the template, ask each template's own (docs/api.md, "Reading the API")."""
        if all(listed.template is not None for listed in listing.deliveries):
            return listing
        owner: dict[str, int] = {}
        for number in {number_of(one, numbers) for one in doubtful_jobs}:
            if number is not None:
                owner |= dict.fromkeys(await self._of_template(number, doubtful_jobs), number)
        return listing._replace(deliveries=tuple(
            listed._replace(template=owner.get(listed.id)) if listed.template is None else listed
            for listed in listing.deliveries
        ))

    async def neighbours(self, number: int, instant: float) -> Listing:
        """Deliveries of one template within about a minute of that time, to anybody: the first few thousand."""
        key = number, int(instant // MINUTE)
        if key not in self._neighbours:
            self._neighbours[key] = asyncio.create_task(self._read_neighbours(*key))
        return await asyncio.shield(self._neighbours[key])

    async def identifier_of(self, delivery_id: str, id_type: str) -> str | None:
        """How the person of a known delivery is named by identifiers of that type, where the API tells it."""
        return people_of(await self._message(delivery_id) or {}).get(id_type)

    async def template_of(self, delivery_id: str) -> int | None:
        """The template of a known delivery, where the API tells it."""
        template = (await self._message(delivery_id) or {}).get("transactional_message_id")
        return template if type(template) is int else None

    async def template_named(self, name: str) -> int | None:
        """The only template with that name; the trigger name itself is in no list (docs/api.md, "Reading the API")."""
        if self._names is None:
            self._names = asyncio.create_task(self._read_names())
        return (await asyncio.shield(self._names)).get(name)

    def _window(self, doubtful_jobs: Sequence[DoubtfulJob]) -> tuple[int, int]:
        start = min(one.span[0] for one in doubtful_jobs) - WIDE_SKEW
        end = max(one.span[1] for one in doubtful_jobs) + self._lag + WIDE_SKEW
        return max(0, int(start)), int(end) + 1

    async def _of_template(self, number: int, doubtful_jobs: Sequence[DoubtfulJob]) -> set[str]:
        start, end = self._window(doubtful_jobs)
        entries = await self._reader.read_all(_template_path(number), "messages", start_ts=start, end_ts=end)
        return {entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}

    async def _read_neighbours(self, number: int, minute: int) -> Listing:
        start, end = (minute - 1) * MINUTE, (minute + 2) * MINUTE
        path = _template_path(number)
        found = await self._reader.read_some(path, "messages", NEIGHBOUR_PAGES, start_ts=start, end_ts=end)
        listing = read_listing(found)
        return listing._replace(deliveries=tuple(d._replace(template=number) for d in listing.deliveries))

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


def _template_path(number: int) -> str:
    return f"/v1/transactional/{number}/messages"
