"""The RedisServer behind a URL: one host, the master that Sentinels name, or the node of a Cluster that has the key.

All keys that belong together share one slot, so that one connection to its node is enough: where it has to lead is
asked anew for every connection, and a node that is not the right one any more ends its connection.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis.asyncio as client
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ReadOnlyError, RedisError

from sender.queues.queue import QueueError
from sender.queues.server_access import host_and_port, split_hosts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Locate = Callable[[], Awaitable[tuple[str, int]]]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379


class RedisServer(NamedTuple):
    """What a URL and its options say of where Redis is, and how to be let in."""

    url: str
    """With credentials and database, of one host."""
    hosts: tuple[str, ...]
    options: Mapping[str, str]
    """`sentinel`, `cluster`, `ca`, `cert`, `key`, `sentinel_password_file`."""

    @classmethod
    def of(cls, url: str, options: Mapping[str, str]) -> RedisServer:
        """From a URL without options, of one host or several."""
        return cls(*split_hosts(url), options)

    def open(self, key: str, **more: Any) -> client.Redis:
        """A client, not yet connected, for whatever is in the slot of this key; it tries nothing twice by itself."""
        found: dict[str, Any] = {**parse_url(self.url), **self._tls(), "retry": Retry(NoBackoff(), 0), **more}
        kind = found.pop("connection_class", Connection)
        locate = self._locator(key, found | {"connection_class": kind})
        if kind is not UnixDomainSocketConnection and locate is not None:
            kind = _located(kind, locate)
        kind = _telling_losses(kind)
        made = client.Redis(connection_pool=ConnectionPool(connection_class=kind, **found))
        made.auto_close_connection_pool = True
        return made

    def _tls(self) -> dict[str, str]:
        names = (("ca", "ssl_ca_certs"), ("cert", "ssl_certfile"), ("key", "ssl_keyfile"))
        return {theirs: self.options[ours] for ours, theirs in names if ours in self.options}

    def _locator(self, key: str, found: Mapping[str, Any]) -> Locate | None:
        if "sentinel" in self.options:
            return Sentinels(self.hosts, self.options["sentinel"], self._sentinel_options(found)).locate
        if "cluster" in self.options:
            return ClusterNodes(self.hosts, key, {name: found[name] for name in found if name != "db"}).locate
        return None

    def _sentinel_options(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Sentinels have a password of their own, or none."""
        mine = {name: value for name, value in found.items() if name not in ("db", "username", "password")}
        if path := self.options.get("sentinel_password_file"):
            mine["password"] = _password_in(path)
        return mine


def _password_in(path: str) -> str:
    """QueueError says which file is missing or cannot be read."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise QueueError(f"sentinel_password_file {path}: {why}") from None


async def answers_of(pipeline: Any) -> list[Any]:
    """What a pipeline's commands are answered; raises the first error as the server gave it: the library's own way
    quotes the command, and with it a payload."""
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for one in answers:
        if isinstance(one, Exception):
            raise one
    return answers


class Sentinels:
    """Know which server is the master."""

    def __init__(self, hosts: tuple[str, ...], master: str, options: Mapping[str, Any]) -> None:
        self._hosts = [host_and_port(host, SENTINEL_PORT) for host in hosts]
        self._master = master
        self._options = options

    async def locate(self) -> tuple[str, int]:
        """Where the master is, by the first Sentinel that says it; that one is asked first from then on."""
        why = ""
        for where in list(self._hosts):
            try:
                answer = await _ask(where, self._options, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
            except (RedisError, OSError) as error:
                why = f": {error}"
                continue
            if answer:
                self._hosts.remove(where)
                self._hosts.insert(0, where)
                return answer[0].decode(), int(answer[1])
        raise RedisConnectionError(f"no Sentinel names a master {self._master}{why}")


class ClusterNodes:
    """Know which of them has a slot."""

    def __init__(self, hosts: tuple[str, ...], key: str, options: Mapping[str, Any]) -> None:
        self._hosts = [host_and_port(host, PORT) for host in hosts]
        self._known = list(self._hosts)
        self._slot = key_slot(key.encode())
        self._options = options

    async def locate(self) -> tuple[str, int]:
        """Where the slot's master is, by the first node that says it; hosts that have moved on are not needed."""
        for where in dict.fromkeys([*self._known, *self._hosts]):
            slots: Any = None
            with suppress(RedisError, OSError):
                slots = await _ask(where, self._options, "CLUSTER", "SLOTS")
            masters = [(first, last, _node(master, where)) for first, last, master, *_ in slots or ()]
            for first, last, master in masters:
                if first <= self._slot <= last:
                    self._known = [node for *_, node in masters]
                    return master
        raise RedisConnectionError("no node of the cluster says who has the slot")


def _node(found: list[Any], asked: tuple[str, int]) -> tuple[str, int]:
    """A node without a host is the one that was asked."""
    host = (found[0] or b"").decode()
    return (host if host not in ("", "?") else asked[0]), int(found[1])


async def _ask(where: tuple[str, int], options: Mapping[str, Any], *command: str) -> Any:
    """One answer; raises RedisError or OSError when there is none."""
    given = {name: value for name, value in options.items() if name not in ("host", "port", "redis_connect_func")}
    given["connection_class"] = _telling_losses(given.get("connection_class", Connection))
    asked: Any = client.Redis(connection_pool=ConnectionPool(host=where[0], port=where[1], **given))
    try:
        return await asked.execute_command(*command)
    finally:
        await asked.aclose(close_connection_pool=True)


def _telling_losses(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    class TellingLosses(kind):  # type: ignore[misc, valid-type]
        """Says so when it is lost: uvloop answers a write to a closed transport with a bare RuntimeError."""

        async def send_packed_command(self, *arguments: Any, **more: Any) -> None:
            try:
                await super().send_packed_command(*arguments, **more)
            except RuntimeError as error:
                raise RedisConnectionError(f"the connection is closed: {error}") from None

    return TellingLosses


def _located(kind: type[Connection], locate: Locate) -> type[Connection]:
    class Located(kind):  # type: ignore[misc, valid-type]
        """Leads to where it has to lead now."""

        async def _connect(self) -> None:
            self.host, self.port = await locate()
            await super()._connect()

        async def read_response(self, *arguments: Any, **more: Any) -> Any:
            try:
                return await super().read_response(*arguments, **more)
            except (ReadOnlyError, MovedError):
                await self.disconnect()
                raise RedisConnectionError("another server is the master now") from None

    return Located
