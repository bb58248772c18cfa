"""What may stand in a queue's URL, and what is said when something else does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.queues.address import parse, shown
from sender.queues.queue_url import open_publisher, open_queue

GOOD = [
    "redis://HOST/0?stream=jobs&group=senders",
    "rediss://user:p%40ss@host:6380/2?stream=jobs&group=senders&priority=high",
    "amqp://user:pass@host/vhost?queue=jobs",
    "amqps://host/%2F?queue=jobs&priority=low",
    "nats://host?stream=JOBS&consumer=senders",
    "sqs://eu-west-1/jobs.fifo",
    "sqs://eu-west-1/jobs?endpoint=http://127.0.0.1:5000&priority=normal",
    "postgres://user:p%40ss@host/shop?table=sender_outbox&priority=low&name=eu",
    "postgresql://a:5432,b:5433/shop?sslmode=verify-full&sslrootcert=ca.pem&passfile=p&table=mail.outbox",
    "postgres:///shop?host=/var/run/postgresql",
    "kafka://a:9092,b,[::1]:9093/jobs.v1_x-y?group=senders&order=key&delay=60&name=eu&priority=high",
]


@pytest.mark.parametrize("url", GOOD)
def test_good(url: str) -> None:
    queue = open_queue(url)
    assert queue.source == shown(url)
    assert not queue.alive
    assert "ss@" not in queue.source


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://host/0?stream=jobs&groop=senders", "is group meant?"),
        ("redis://host/0?stream=jobs&group=senders&priorty=high", "is priority meant?"),
        ("redis://host/0?stream=jobs", "lacks group"),
        ("redis://host/0", "lacks stream and group"),
        ("redis://host/0?stream=jobs&stream=jobs&group=x", "once"),
        ("redis://host/0?stream=&group=x", "with a value"),
        ("redis://host/jobs?stream=jobs&group=x", "a number"),
        ("redis://host/0?stream=jobs&group=x&priority=urgent", "high, normal, low"),
        ("redis:///0?stream=jobs&group=x", "must look like"),
        ("amqp://host/vhost?queu=jobs", "is queue meant?"),
        ("nats://host/path?stream=J&consumer=c", "no path"),
        ("nats://host?stream=J&consumr=c", "is consumer meant?"),
        ("sqs://eu-west-1", "lacks the queue"),
        ("sqs://key:secret@eu-west-1/jobs", "must not hold a user"),
        ("sqs://eu-west-1/jobs?endpoint=ftp://host", "endpoint"),
        ("sqs://eu-west-1/jobs?endpont=http://host", "is endpoint meant?"),
        ("redis://host:99999/0?stream=j&group=g", "not a URL"),
        ("reddis://host/0?stream=j&group=g", "is redis:// meant?"),
        ("pulsar://host/topic", "no queue URL"),
        ("kafka://host/topic", "lacks group"),
        ("kafka://host?group=g", "lacks a topic"),
        ("kafka://host/a/b?group=g", "lacks a topic"),
        ("kafka://host/..?group=g", "lacks a topic"),
        ("kafka://user:secret@host/topic?group=g", "properties"),
        ("kafka://host/topic?group=g&order=time", "order is key"),
        ("kafka://host/topic?group=g&delay=0", "whole number of seconds"),
        ("kafka://host/topic?group=g&delay=1.5", "whole number of seconds"),
        ("kafka://host/topic?group=g&delay=604801", "from 1 to 604,800"),
        ("redis://host/0?stream=s&group=g&delay=5", "no parameter delay"),
        ("kafka://b,host:a/topic?group=g", "a port is no number"),
        ("postgres://host", "lacks the database"),
        ("postgres:///shop", "must look like"),
        ("postgres://host/shop?tabel=x", "is table meant?"),
        ("postgres://host/shop?table=Orders", "no name for an outbox table"),
        ("postgres://host/shop?table=a;b", "no name for an outbox table"),
        ("postgres://host/shop?password=s3cret", "no parameter password"),
        ("redis://host/0?stream=j&group=g#x", "%23"),
    ],
)
def test_bad(url: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_queue(url)
    assert says in str(caught.value)


@pytest.mark.parametrize("url", ["redis://:s3c/ret@host/0?stream=j&group=g", "redis://u:s3cret@host/0?password=s3cret",
                                 "postgres:///shop?password=s3cret",
                                 "kafka://u:s3cret@host", "amqp://u:s3cret@/x?queue=q", "u:s3cret@host"])
def test_no_secret_in_an_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_queue(url)
    assert "s3c" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/?#[]"), min_size=4), st.integers(0, 4))
def test_a_password_is_never_shown(password: str, which: int) -> None:
    url = GOOD[which].replace("user:pass@", "").replace("user:p%40ss@", "").replace("://", f"://u:{password}@", 1)
    if password not in shown(GOOD[which]):
        assert password not in shown(url)
        assert password not in _told(url)


def _told(url: str) -> str:
    try:
        return repr(parse(url))
    except UsageError as error:
        return str(error)


def test_a_publisher_needs_no_group() -> None:
    assert open_publisher("redis://host/0?stream=dead").shown == "redis://host/0?stream=dead"
    with pytest.raises(UsageError, match="no parameter group"):
        open_publisher("redis://host/0?stream=dead&group=senders")


@pytest.mark.parametrize(("url", "library", "extra"), [
    (GOOD[0], "redis", "redis"), (GOOD[2], "aio_pika", "amqp"), (GOOD[4], "nats", "nats"),
    (GOOD[5], "aiobotocore", "sqs"), (GOOD[7], "asyncpg", "postgres"),
    (GOOD[-1], "confluent_kafka", "kafka"),
])
def test_a_missing_client_names_its_extra(url: str, library: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from sender.queues.queue_url import open_queue\n"
        f"try: open_queue({url!r})\nexcept Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("UsageError")
    assert f"pip install 'sender[{extra}]'" in told


def test_no_client_is_imported_before_its_url() -> None:
    libraries = ("redis", "aio_pika", "nats", "aiobotocore", "asyncpg", "confluent_kafka")
    code = f"import sys, sender.queues.queue_url; print([name for name in {libraries} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
