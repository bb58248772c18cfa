"""PostgreSQL behind TLS with an authority of one's own: queue, state, and the SQL that is applied."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from sender.cli.main import main
from sender.errors import UsageError
from sender.queues import QueueError
from sender.queues.queue_url import open_queue
from sender.shared_state.state_url import open_state
from tests.support.databases import TlsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class Tls(NamedTuple):
    """A server, and files for its clients."""

    port: int
    ca: Path
    foreign: Path
    """Another authority."""
    mine: Path
    """Certificate and key of the role shop."""

    def url(self, user: str = "tester", host: str = "localhost", mode: str = "verify-full", **files: Path) -> str:
        """With the right authority, unless another is given."""
        ways = "&".join(f"{name}={path}" for name, path in ({"sslrootcert": self.ca} | files).items())
        return f"postgres://{user}@{host}:{self.port}/postgres?sslmode={mode}&{ways}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    found = Tls(0, folder / "ca.pem", folder / "foreign.pem", folder / "shop.pem")
    authority.cert_pem.write_to_path(found.ca)
    trustme.CA().cert_pem.write_to_path(found.foreign)
    authority.issue_cert("shop", common_name="shop").private_key_and_cert_chain_pem.write_to_path(found.mine)
    found.mine.chmod(0o600)
    server = TlsServer(authority)
    try:
        server.start()
        server.do("CREATE ROLE shop LOGIN")
        yield found._replace(port=server.port)
    finally:
        server.stop()


@asynccontextmanager
async def opened(url: str, what: str) -> AsyncIterator[None]:
    if what == "queue":
        queue = open_queue(url)
        try:
            await queue.open()
            yield
        finally:
            await queue.aclose()
    else:
        state = await open_state(url, host="api")
        yield
        await state.close()


def test_a_server_that_is_who_it_says_it_is(tls: Tls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outbox", "create", "--table", "secured", "--state", "secured", "--apply", tls.url()]) == 0
    assert "secured: version 1 created" in capsys.readouterr().out
    wrong = main(["outbox", "create", "--table", "other", "--apply", tls.url(sslrootcert=tls.foreign)])
    assert wrong == 2
    assert "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["queue", "state"])
async def test_queue_and_state_by_tls(tls: Tls, what: str) -> None:
    """And a role that is known by its certificate."""
    more = {"queue": "&table=secured", "state": "&schema=secured"}[what]
    async with opened(tls.url() + more, what):
        pass
    shop = tls.url("shop", sslcert=tls.mine, sslkey=tls.mine)
    with pytest.raises((UsageError, QueueError), match=r"permission denied|no schema secured that this role may use"):
        async with opened(shop + more, what):
            pass


@pytest.mark.parametrize("what", ["queue", "state"])
@pytest.mark.parametrize(("wrong", "says"), [
    ({"host": "127.0.0.1"}, "IP address mismatch"), ({"sslrootcert": "foreign"}, "certificate verify failed"),
    ({"mode": "disable"}, "no encryption"), ({"user": "shop"}, "valid client certificate"),
    ({"sslrootcert": "none"}, "none.pem"), ({"sslcert": "none", "sslkey": "none"}, "none.pem"),
])
async def test_what_is_wrong_is_named(tls: Tls, what: str, wrong: dict[str, Any], says: str) -> None:
    files = {"foreign": tls.foreign, "none": tls.ca.with_name("none.pem")}
    url = tls.url(**{name: files.get(value, value) for name, value in wrong.items()})
    with pytest.raises((UsageError, QueueError), match=says):
        async with opened(url, what):
            pass
