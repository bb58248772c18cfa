"""One running server of each kind for the session, one fresh queue for each test."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from tests.queues.brokers import KINDS
from tests.support.databases import PostgresServer
from tests.support.kafka_server import KafkaServer
from tests.support.servers import NatsServer, RabbitServer, RedisServer, SqsServer, server_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

redis_server = server_fixture(RedisServer, "redis_server")
nats_server = server_fixture(NatsServer, "nats_server")
rabbit_server = server_fixture(RabbitServer, "rabbit_server")
sqs_server = server_fixture(SqsServer, "sqs_server")
kafka_server = server_fixture(KafkaServer, "kafka_server")
postgres_server = server_fixture(lambda _: PostgresServer(), "postgres_server")

shared_loader = cache(botocore.session.create_loader)
"""Each connection would read the description of all of SQS from its file anew."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that mean nothing, and no others by accident."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setattr(botocore.session, "create_loader", shared_loader)


@pytest.fixture
async def broker(request: pytest.FixtureRequest, aws: None) -> AsyncIterator[Any]:
    """The broker named by the test's parameter."""
    kind, server = KINDS[request.param]
    async with kind(request.getfixturevalue(server)).ready() as ready:
        yield ready
