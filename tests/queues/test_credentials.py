"""How the brokers are told who we are: NKeys and .creds of NATS, and AWS credentials that rotate."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import nats
import nkeys
import pytest
from aiohttp import web
from nats.js.api import StreamConfig

from sender.errors import UsageError
from sender.queues import QueueError, QueueLost
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.messages import drain, lines, read
from tests.support.servers import Certificates, NatsServer, RabbitServer, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.queues.brokers import Rabbit, Sqs


class GuardedNats(NatsServer):
    """It lets in only whom its configuration names."""

    more = ""

    def arguments(self) -> list[str]:
        found = super().arguments()
        with (self.folder / "nats.conf").open("a") as file:
            file.write(self.more)
        return found


class Key:
    """An NKey pair."""

    def __init__(self, kind: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), kind)
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self.pair.public_key.decode()

    def jwt(self, subject: str, name: str, claims: dict[str, Any]) -> str:
        """A token about the subject, signed by this key."""
        body = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject, "nats": claims}
        digest = hashlib.sha256(json.dumps(body).encode()).digest()
        body["jti"] = base64.b32encode(digest).decode().rstrip("=")
        parts = [_b64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)]
        return ".".join([*parts, _b64(self.pair.sign(".".join(parts).encode()))])


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def use(server: NatsServer, known: str, **login: Any) -> None:
    """A stream is read and written by who is known, and by nobody else."""
    client = await nats.connect(server.url, **login)
    for name in ("JOBS", "DEAD"):
        await client.jetstream().add_stream(StreamConfig(name=name, subjects=[f"{name}.in"]))
    await client.jetstream().publish("JOBS.in", b"1")
    await client.close()
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{server.port}"
    queue = open_queue(f"nats://{hosts}?stream=JOBS&consumer=senders{known}")
    found = await drain(queue, 1)
    await queue.ack(found)
    assert found[0].data == b"1"
    await queue.aclose()
    sink = open_publisher(f"nats://{hosts}?stream=DEAD{known}")
    await sink.append([b"{}"])
    await sink.aclose()
    stranger = open_queue(f"nats://{hosts}?stream=JOBS&consumer=senders")
    with pytest.raises(QueueError):
        await stranger.open()
    await stranger.aclose()


async def test_an_nkey(tmp_path: Path) -> None:
    user = Key(nkeys.PREFIX_BYTE_USER)
    (tmp_path / "user.nk").write_bytes(user.seed)
    server = GuardedNats(tmp_path)
    server.more = f"authorization {{ users = [ {{ nkey: {user.public} }} ] }}\n"
    server.start()
    try:
        await use(server, f"&nkey={tmp_path}/user.nk", nkeys_seed=str(tmp_path / "user.nk"))
    finally:
        server.stop()


async def test_a_creds_file(tmp_path: Path) -> None:
    operator, system, account, user = (
        Key(kind) for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT,
                               nkeys.PREFIX_BYTE_USER)
    )
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1,
              "leaf": -1}
    store = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    kind = {"type": "account", "version": 2}
    tokens = {
        account.public: operator.jwt(account.public, "jobs", {"limits": limits | store, **kind}),
        system.public: operator.jwt(system.public, "SYS", {"limits": limits, **kind}),
    }
    about = {"type": "operator", "version": 2, "system_account": system.public}
    pass_ = account.jwt(user.public, "sender", {"subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2})
    creds = tmp_path / "sender.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{pass_}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    server = GuardedNats(tmp_path)
    server.more = (
        f"operator: {operator.jwt(operator.public, 'op', about)}\nsystem_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {', '.join(f'{name}: {token}' for name, token in tokens.items())} }}\n"
    )
    server.start()
    try:
        await use(server, f"&creds={creds}", user_credentials=str(creds))
    finally:
        server.stop()


async def is_refused(url: str, why: str) -> None:
    """Why is told: a NATS server of an unknown authority was said not to answer in time."""
    queue = open_queue(url)
    with pytest.raises(QueueError, match=why):
        await queue.open()
    await queue.aclose()


async def test_nats_by_client_certificate(tmp_path: Path) -> None:
    files = Certificates(tmp_path / "tls")
    server = GuardedNats(tmp_path)
    server.more = (
        f'tls {{ cert_file: "{files.server}", key_file: "{files.server_key}", ca_file: "{files.ca}", verify: true }}\n'
    )
    server.start()
    try:
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(files.client, files.client_key)
        client = await nats.connect(f"tls://localhost:{server.port}", tls=context)
        await client.jetstream().add_stream(StreamConfig(name="JOBS", subjects=["JOBS.in"]))
        await client.close()
        url = f"tls://localhost:{server.port}?stream=JOBS"
        sink = open_publisher(f"{url}&{files.options}")
        await sink.append([b"{}"])
        await sink.aclose()
        queue = open_queue(f"{url}&consumer=senders&{files.options}")
        (found,) = await drain(queue, 1)
        assert found.data == b"{}"
        await queue.aclose()
        await is_refused(f"{url}&consumer=senders&ca={files.ca}", "(?i)certificate|lost|reset")
        nobody = f"{url}&consumer=senders&cert={files.client}&key={files.client_key}"
        await is_refused(nobody, "unable to get local issuer|self-signed")
        other = f"{url}&consumer=senders&{files.options}".replace("localhost", "127.0.0.1")
        await is_refused(other, "IP address mismatch")
    finally:
        server.stop()


@pytest.mark.parametrize("broker", ["rabbit-classic"], indirect=True)
async def test_rabbitmq_by_client_certificate(broker: Rabbit) -> None:
    assert isinstance(broker.server, RabbitServer)
    files = broker.server.certificates
    await broker.put(b"{}")
    url = f"amqps://guest:guest@localhost:{broker.server.tls_port}/%2F?queue={broker.name}"
    sink = open_publisher(f"{url}-dead&{files.options}")
    await sink.put(b"line", {"code": "x"})
    await sink.aclose()
    queue = open_queue(f"{url}&{files.options}")
    (found,) = await drain(queue, 1)
    assert found.data == b"{}"
    await queue.aclose()
    assert [body for body, _ in await broker.letters()] == [b"line"]
    await is_refused(f"{url}&ca={files.ca}", "(?i)certificate|lost|reset")
    await is_refused(f"{url}&cert={files.client}&key={files.client_key}", "unable to get local issuer|self-signed")
    await is_refused(f"{url}&{files.options}".replace("localhost", "127.0.0.1"), "IP address mismatch")


def test_one_way_of_saying_who_we_are() -> None:
    with pytest.raises(UsageError, match="creds or nkey"):
        open_queue("nats://h?stream=J&consumer=c&creds=a&nkey=b")


@asynccontextmanager
async def guarded(broker: Sqs, valid: set[str], code: list[str]) -> AsyncIterator[str]:
    """A line to SQS that refuses keys as AWS does."""

    async def answer(request: web.Request) -> web.Response:
        body, key = await request.read(), request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        if key not in valid:
            said = {"__type": f"com.amazon.coral.service#{code[0]}", "message": "no longer"}
            return web.json_response(said, status=403)
        url = broker.server.url + request.path_qs  # type: ignore[attr-defined]
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=request.headers) as found:
            kept = {name: found.headers[name] for name in ("Content-Type", "x-amzn-requestid") if name in found.headers}
            return web.Response(body=await found.read(), status=found.status, headers=kept)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("broker", ["sqs"], indirect=True)
@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidClientTokenId", "AccessDeniedException"])
async def test_credentials_that_rotate_are_read_anew(
    broker: Sqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A client kept the credentials of its first connection for ever."""
    file = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def rotate(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    rotate("FIRST")
    valid = {"FIRST"}
    async with guarded(broker, valid, [code]) as endpoint:
        queue = open_queue(broker.url().replace(f"http://127.0.0.1:{broker.proxy.port}", endpoint), return_after=30.0)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        await broker.put(*lines(2))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        (first,) = await read(queue, 1)
        valid.clear()
        valid.add("SECOND")
        with pytest.raises(QueueError) as caught:
            await queue.read(1)
        assert isinstance(caught.value, QueueLost) == (code == "ExpiredTokenException")
        rotate("SECOND")
        async with asyncio.timeout(30):
            (second,) = await read(queue, 1)
            await queue.ack([first, second])
        assert {first.data, second.data} == set(lines(2))
        assert await queue.lag() == 0
        await queue.aclose()
