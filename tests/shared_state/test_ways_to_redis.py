"""Sentinel, Cluster, ACL users and certificates, on real servers: for the state and for a stream."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sender.errors import StateAway, UsageError
from sender.ledger import FinalRecord
from sender.queues import QueueError
from sender.queues.queue_url import open_publisher, open_queue
from sender.shared_state.state_url import check_state_url, open_state
from tests.support.messages import drain
from tests.support.servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Extra(RedisServer):
    """A redis-server with further arguments."""

    more: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        return [*super().arguments(), *self.more]


class Sentinel(RedisServer):
    """Watches one master and takes another when it is gone for two seconds."""

    master = 0
    more = ""

    def arguments(self) -> list[str]:
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor jobs 127.0.0.1 {self.master} 1\n"
            f"sentinel down-after-milliseconds jobs 1000\nsentinel failover-timeout jobs 4000\n{self.more}"
        )
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    with ExitStack() as stack:

        def begin(kind: type[RedisServer] = Extra, **fields: Any) -> Any:
            folder = tmp_path / f"{kind.__name__}-{time.monotonic_ns()}"
            folder.mkdir()
            server = kind(folder)
            for name, value in fields.items():
                setattr(server, name, value)
            stack.callback(server.stop)
            return server.start()

        yield begin


async def eventually(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.1)


async def use(options: str, hosts: str, scheme: str = "redis") -> None:
    """A state, a stream and a dead letter behind such a URL."""
    state = await open_state(f"{scheme}://{hosts}/0{options}", host="api")
    async with asyncio.timeout(30):
        await state.ledger.finish([FinalRecord("k", "", "sent", b"{}\n")])
        assert (await state.ledger.find(["k"]))["k"].state == "sent"
        await state.pacer("send", 100).acquire()
    await state.close()
    more = options.replace("?", "&")
    sink = open_publisher(f"{scheme}://{hosts}/0?stream=jobs{more}")
    await sink.append([b"one", b"two"])
    queue = open_queue(f"{scheme}://{hosts}/0?stream=jobs&group=senders{more}")
    found = await drain(queue, 2)
    await queue.ack(found)
    assert {message.identity and message.identity.rpartition("/")[0] for message in found} == {"redis/0/jobs"}
    await queue.aclose()
    await sink.aclose()


async def test_a_cluster_is_asked_which_node_has_the_keys(start: Callable[..., Any]) -> None:
    buses = [free_port() for _ in range(3)]
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--cluster-port")
    nodes = [start(more=(*options, str(bus))) for bus in buses]
    for number, node in enumerate(nodes):
        first, last = number * 5462, min(16383, number * 5462 + 5461)
        node.do("CLUSTER", "ADDSLOTSRANGE", first, last)
        node.do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
    await eventually(lambda: all("cluster_state:ok" in _text(node.do("CLUSTER", "INFO")) for node in nodes))
    for node in nodes:
        await eventually(lambda node=node: len(node.do("CLUSTER", "SLOTS")) == 3)  # type: ignore[misc]
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{nodes[2].port},127.0.0.1:{nodes[0].port}"
    await use("?cluster=yes", hosts)
    assert sum(bool(node.do("EXISTS", "sender:{default}:meta")) for node in nodes if _owns(node)) == 1


def _owns(node: Any) -> bool:
    try:
        node.do("EXISTS", "sender:{default}:meta")
    except Exception:
        return False
    return True


async def test_a_failover_by_sentinel_is_followed(start: Callable[..., Any]) -> None:
    master = start()
    replica = start(more=("--replicaof", "127.0.0.1", str(master.port)))
    await eventually(lambda: "'master_link_status': 'up'" in _text(replica.do("INFO", "replication")))
    sentinel = start(Sentinel, master=master.port)
    await eventually(lambda: bool(sentinel.do("SENTINEL", "REPLICAS", "jobs")))
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
    await use("?sentinel=jobs", hosts)
    state = await open_state(f"redis://{hosts}/0?sentinel=jobs", host="api")
    queue = open_queue(f"redis://{hosts}/0?stream=jobs&group=senders&sentinel=jobs")
    await queue.open()
    os.kill(master._process.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        await state.ledger.finish([FinalRecord("k2", "", "sent", b"{}\n")])
        while True:
            try:
                await queue.lag()
                break
            except QueueError:
                await asyncio.sleep(0.2)
    assert "'role': 'master'" in _text(replica.do("INFO", "replication"))
    assert replica.do("HGET", "sender:{default}:j:k2", "s") == b"s"
    await queue.aclose()
    await state.close()


async def test_sentinels_have_a_password_of_their_own_in_a_file(start: Callable[..., Any], tmp_path: Path) -> None:
    master = start(password="jobs-s3cret")
    sentinel = start(
        Sentinel, master=master.port, password="watch-s3cret",
        more="requirepass watch-s3cret\nsentinel auth-pass jobs jobs-s3cret\n",
    )
    file = tmp_path / "sentinel-password"
    file.write_text("watch-s3cret\n")
    hosts = f":jobs-s3cret@127.0.0.1:{sentinel.port}"
    await use(f"?sentinel=jobs&sentinel_password_file={file}", hosts)
    file.write_text("wrong")
    for options, says in ((f"&sentinel_password_file={file}", "WRONGPASS|invalid"), ("", "Authentication required")):
        with pytest.raises(StateAway, match=rf"no Sentinel names a master jobs: .*({says})") as caught:
            await open_state(f"redis://{hosts}/0?sentinel=jobs{options}", host="api")
        assert "s3cret" not in str(caught.value)


async def test_a_sentinel_password_file_that_is_missing_is_said(tmp_path: Path) -> None:
    """It ended in the traceback of a FileNotFoundError."""
    options = f"sentinel=jobs&sentinel_password_file={tmp_path}/none"
    with pytest.raises(UsageError, match=r"sentinel_password_file .*none: No such file"):
        await open_state(f"redis://127.0.0.1:{free_port()}/0?{options}", host="api")
    queue = open_queue(f"redis://127.0.0.1:{free_port()}/0?stream=jobs&group=g&{options}")
    with pytest.raises(QueueError, match=r"sentinel_password_file .*none: No such file"):
        await queue.open()
    await queue.aclose()


async def test_an_acl_user_with_the_documented_rights_is_enough(start: Callable[..., Any]) -> None:
    server = start()
    rights = "+@read +@write +@stream +@scripting +@connection +time +info +config|get"
    keys = "~sender:* ~jobs ~{jobs}:sender-origin"
    server.do("ACL", "SETUSER", "sender", "on", ">s3cret", "-@all", *keys.split(), *rights.split())
    server.do("CONFIG", "SET", "requirepass", "other")
    await use("", f"sender:s3cret@127.0.0.1:{server.port}")


async def test_certificates_both_ways(start: Callable[..., Any], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, cert in (("server", authority.issue_cert("localhost")), ("client", authority.issue_cert("sender@x"))):
        cert.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        cert.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    port = free_port()
    start(more=("--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file",
                str(tmp_path / "server.key"), "--tls-ca-cert-file", str(tmp_path / "ca.pem")))
    known = f"?ca={tmp_path}/ca.pem&cert={tmp_path}/client.pem&key={tmp_path}/client.key"
    await use(known, f"localhost:{port}", "rediss")
    with pytest.raises(UsageError, match="cannot be used"):
        await open_state(f"rediss://localhost:{port}/0?ca={tmp_path}/ca.pem", host="api")
    with pytest.raises(UsageError, match="cannot be used"):
        await open_state(f"rediss://localhost:{port}/0", host="api")


@pytest.mark.parametrize(("rest", "says"), [
    ("h1,h2/0", "several hosts"), ("h1,h2:x/0?cluster=yes", "port"), ("h1,/0?cluster=yes", "host is missing"),
    ("h/0?cluster=yes&sentinel=m", "not both"), ("h/0?cluster=no", "cluster is yes"), ("h/0?cert=a", "go together"),
    ("h/0?ca=a", "encrypted"), ("h/0?sentinel_password_file=a", "sentinel=MASTER"),
])
def test_what_does_not_fit_is_said_of_a_state_and_of_a_queue(rest: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        check_state_url(f"redis://u:s3cret@{rest}")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match=says) as caught:
        open_queue(f"redis://u:s3cret@{rest}{'&' if '?' in rest else '?'}stream=jobs&group=g")
    assert "s3cret" not in str(caught.value)


def _text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)
