"""Who a message is: golden strings, which memories hold, and everything that must not be in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.jobs.identity import key_of_message
from sender.queues.address import parse
from sender.queues.message_identity import CONTENT, HEADER, carried, identity_of, queue_name, shown_id, to_header
from sender.queues.queue_url import open_publisher, open_queue
from tests.queues.brokers import KINDS, Sqs
from tests.support.messages import drain, lines, read

if TYPE_CHECKING:
    from tests.queues.brokers import Broker

GOLDEN = [
    ("redis://h/0?stream=jobs&group=senders", "", "1795218981000-0", "redis/0/jobs/1795218981000-0",
     "7N90xmKjEO8Tno8Lbwu0Rg"),
    ("redis://h/2?stream=a/b c&group=senders", "", "5-1", "redis/2/a%2Fb%20c/5-1",
     "_KLVbt_7OZTcwkufVfXqFQ"),
    ("amqp://h?queue=jobs", "", "m-1", "amqp/%2F/jobs/m-1",
     "o0DEqJ1zk1Ib_-tX85MEzg"),
    ("amqp://h/%2F?queue=jobs", "", "m/1 é", "amqp/%2F/jobs/m/1%20%C3%A9",
     "QOlr_Wd0_1x3NwwNal6xkg"),
    ("amqps://u:p@h:5671/shop?queue=jobs&priority=high", "", "m-1", "amqp/shop/jobs/m-1",
     "t2T46YK7pDLvEhbhBzXEeQ"),
    ("nats://h?stream=JOBS&consumer=c", "", "20261120T120000/17", "nats/JOBS/20261120T120000/17",
     "JVJPG2aS1v51-MH7VE7RNg"),
    ("sqs://eu-west-1/jobs.fifo", "123456789012", "9f3c", "sqs/eu-west-1/123456789012/jobs.fifo/9f3c",
     "corSiKtzfm4o4Fdc0bWlnQ"),
    ("sqs://eu-west-1/jobs?endpoint=http://h:1", "", "9f3c", "sqs/eu-west-1//jobs/9f3c",
     "AxjP5p6B9XKRYgqjapyTgQ"),
    ("postgres://u:p@h,i:5433/shop?sslmode=require", "", "1795218981000000-17",
     "postgres/shop/sender_outbox/1795218981000000-17", "beywgqD_-2Izmp40CWiP2Q"),
    ("postgresql://h/shop?table=eu.mail_outbox&name=b", "", "1-2", "postgres@b/shop/eu.mail_outbox/1-2",
     "zSOr_MmegrksGDriUOdLLg"),
    ("redis://h?stream=jobs&group=g&name=eu", "", "5-1", "redis@eu/0/jobs/5-1",
     "BhhQz7M28wKSY07jv_Vp2Q"),
    ("amqp://h/v?queue=jobs&name=a@b", "", "m", "amqp@a%40b/v/jobs/m",
     "Qf5uZP59ruXJaooYkS1LAw"),
    ("kafka://a:1,b:2/jobs?group=g&order=key", "", "vBA5bVnWTr-9KMXbB3sTcw/3/17",
     "kafka/jobs/vBA5bVnWTr-9KMXbB3sTcw/3/17", "b8zmy3FkMNBlURJagixnIQ"),
]


@pytest.mark.parametrize(("url", "account", "message_id", "identity", "key"), GOLDEN)
def test_golden(url: str, account: str, message_id: str, identity: str, key: str) -> None:
    """These strings stand in the memories of running fleets: a change of one sends its messages twice."""
    assert identity_of(queue_name(parse(url), account), message_id) == identity
    assert key_of_message(None, identity) == key


@pytest.mark.parametrize("variants", [
    ["redis://localhost:6380/0?stream=jobs&group=one", "redis://127.0.0.1?stream=jobs&group=two&priority=low",
     "rediss://u:p@other/0?group=three&stream=jobs"],
    ["amqp://guest:guest@localhost/%2F?queue=jobs", "amqps://127.0.0.1:5671?queue=jobs&priority=high"],
    ["nats://localhost?stream=JOBS&consumer=a", "tls://u:p@127.0.0.1:4222?stream=JOBS&consumer=b"],
    ["kafka://localhost/jobs?group=a", "kafka://a:1,b:2/jobs?group=b&order=key&properties=/etc/kafka&priority=low"],
    ["sqs://eu-west-1/jobs", "sqs://eu-west-1/jobs?endpoint=http://127.0.0.1:1&priority=low"],
    ["postgres://localhost/shop", "postgresql://u:p@127.0.0.1:5433,b/shop?sslmode=require&table=public.sender_outbox"],
])
def test_no_host_user_group_or_option_is_in_it(variants: list[str]) -> None:
    """`localhost` for `127.0.0.1`, another parameter, another group: 638 were accepted of 600."""
    assert len({queue_name(parse(url)) for url in variants}) == 1


def test_vhost_database_region_account_and_a_given_name_are() -> None:
    names = [
        queue_name(parse(url), account) for url, account in (
            ("redis://h/0?stream=j&group=g", ""), ("redis://h/1?stream=j&group=g", ""),
            ("redis://h/0?stream=j&group=g&name=eu", ""), ("amqp://h/a?queue=j", ""), ("amqp://h/b?queue=j", ""),
            ("sqs://eu-west-1/j", "1"), ("sqs://eu-west-2/j", "1"), ("sqs://eu-west-1/j", "2"),
        )
    ]
    assert len(set(names)) == len(names)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_people_see_the_brokers_id(message_id: str) -> None:
    for url in ("postgres://h/shop?table=a.b", "redis://h/0?stream=a/b&group=g", "amqp://h/x%2Fy?queue=a&name=n/m", "sqs://eu-west-1/jobs"):
        assert shown_id(identity_of(queue_name(parse(url)), message_id)) == message_id


@pytest.mark.parametrize("strange", ["x", "kafka/a/b", "redis/0/jobs", "", "/" * 300])
def test_an_identity_of_another_form_is_shown_as_it_is(strange: str) -> None:
    assert shown_id(strange) == strange[:256]


@pytest.mark.parametrize(("headers", "found"), [
    (None, None), ({}, None), ({HEADER: "a"}, "a"), ({b"X-Sender-Id": b"b"}, "b"), ({HEADER: 5}, None),
    ({HEADER: ""}, None), ({HEADER: "x" * 2049}, None), ({HEADER: CONTENT}, CONTENT),
])
def test_what_a_copy_carries(headers: Any, found: str | None) -> None:
    assert carried(headers) == found
    assert to_header(None) == CONTENT


@pytest.mark.parametrize("broker", list(KINDS), indirect=True)
async def test_a_letter_and_what_is_made_of_it_keep_the_identity(broker: Broker) -> None:
    """A letter that is put back under a new id of the broker's would be a new job."""
    await broker.put(*lines(1))
    queue = broker.queue()
    (message,) = await drain(queue, 1)
    assert message.identity is not None
    assert broker.name in message.identity
    sink = broker.sink()
    await sink.put(message.data, {"reason": "rejected"}, message.identity)
    await sink.put(b"{}", {"reason": "rejected"}, None)
    dead = broker.sink_url()
    more = {"redis": "&group=again", "nats": "&consumer=again", "kafka": "?group=again"}
    reader = open_queue(dead + more.get(dead.partition(":")[0], ""))
    broker._open.append(reader)
    found = {letter.data: letter.identity for letter in await drain(reader, 2)}
    assert found == {message.data: message.identity, b"{}": None}


@pytest.mark.parametrize("broker", ["redis", "rabbit-quorum", "jetstream", "sqs", "postgres"], indirect=True)
async def test_every_reader_finds_the_same_server_and_claims_it(broker: Broker) -> None:
    claimed: list[tuple[str, str]] = []

    class Origins:
        async def claim(self, name: str, origin: str, *, instead_of: str | None = None) -> None:
            claimed.append((name, origin))

    readers = [broker.queue(origins=Origins()) for _ in range(2)]
    for reader in readers:
        await reader.read(1)
        await reader.read(1)
    if isinstance(broker, Sqs):
        assert claimed == [], "its ids are unique everywhere"
    else:
        assert len(claimed) == 2, "once in a while, and not with every read"
        assert len(set(claimed)) == 1
        assert all(claimed[0])


@pytest.mark.parametrize("broker", ["redis", "rabbit-classic", "jetstream", "sqs", "postgres"], indirect=True)
async def test_another_way_to_the_same_queue_finds_the_same_identity(broker: Broker) -> None:
    await broker.put(*lines(1))
    first = broker.queue()
    (message,) = await read(first, 1)
    await first.requeue([message])
    url = broker.url(port=broker.server.port, more="&priority=low").replace("127.0.0.1", "localhost", 1)
    other = open_queue(url, return_after=broker.return_after)
    broker._open.append(other)
    (again,) = await drain(other, 1)
    assert other.source != first.source
    assert (again.identity, again.id) == (message.identity, message.id)


def test_publishers_have_no_name() -> None:
    with pytest.raises(UsageError, match="no parameter name"):
        open_publisher("redis://h/0?stream=dead&name=eu")
