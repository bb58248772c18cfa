"""Opening a state: what its URL may say, what the server must be set to, what is told."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sender.errors import UsageError
from sender.shared_state.redis.server_settings import examine
from sender.shared_state.server_clock import ServerClock
from sender.shared_state.state_url import check_state_url, open_state

if TYPE_CHECKING:
    from tests.support.servers import RedisServer

GOOD = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:hunter2@h/0", "must look like redis://"),
        ("redis://", "must look like redis://"),
        ("redis://user:hunter2@h:x/0", "not a URL"),
        ("redis://user:hunter2@h/0?stream=hunter2", "knows durable=waitaof"),
        ("redis://user:hunter2@h/0?durable=hunter2", "must be waitaof"),
        ("redis://user:hunter2@h/zero", "number of a database"),
        ("redis://[hunter2/0", "not a URL"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_state_url(url)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_url_is_taken_or_refused_in_a_sentence(url: str) -> None:
    with suppress(UsageError):
        assert len(check_state_url(url)) == 2


def test_urls_that_are_taken() -> None:
    assert check_state_url("redis://u:p@h:6380/3") == ("redis://u:p@h:6380/3", "")
    assert check_state_url("rediss://h?durable=waitaof") == ("rediss://h", "waitaof")
    assert check_state_url("redis://h?durable=wait") == ("redis://h", "wait")
    assert check_state_url("unix:///run/redis.sock")[0] == "unix:///run/redis.sock"


async def test_nobody_there(redis_server: RedisServer) -> None:
    with pytest.raises(UsageError, match="cannot be used") as caught:
        await open_state("redis://user:hunter2@127.0.0.1:1/0", host="api")
    assert "hunter2" not in str(caught.value)
    assert "***@127.0.0.1:1" in str(caught.value)


async def test_a_wrong_password(redis_server: RedisServer) -> None:
    redis_server.do("ACL", "SETUSER", "someone", "on", ">right", "~*", "+@all")
    url = redis_server.url.replace("//", "//someone:hunter2@")
    with pytest.raises(UsageError, match="refuses the user or password") as caught:
        await open_state(url, host="api")
    assert "hunter2" not in str(caught.value)


async def test_a_user_without_config_and_info_is_warned(redis_server: RedisServer) -> None:
    redis_server.do("ACL", "SETUSER", "plain", "on", ">right", "~*", "+@all", "-config", "-info")
    with capture_logs() as logs:
        state = await open_state(redis_server.url.replace("//", "//plain:right@"), host="api")
        await state.close()
    assert any("CONFIG is forbidden" in log["event"] for log in logs)
    assert "right" not in str(logs)


async def test_a_server_that_may_forget_is_refused(redis_server: RedisServer) -> None:
    redis_server.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(UsageError, match="CONFIG SET maxmemory-policy noeviction"):
            await open_state(redis_server.url, host="api")
    finally:
        redis_server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_waiting_for_the_disk_needs_a_server_that_can(redis_server: RedisServer) -> None:
    version = redis_server.do("INFO", "server")["redis_version"]
    if tuple(map(int, version.split(".")[:2])) < (7, 2):
        with pytest.raises(UsageError, match="no WAITAOF"):
            await open_state(redis_server.url + "?durable=waitaof", host="api")
    else:
        await (await open_state(redis_server.url + "?durable=waitaof", host="api")).close()


async def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sender.shared_state.redis.server", None)
    with pytest.raises(UsageError, match=r"pip install 'sender\[redis\]'"):
        await open_state("redis://h/0", host="api")


@pytest.mark.parametrize("keep", [0, -1])
async def test_keeping_nothing_is_refused(keep: float) -> None:
    with pytest.raises(UsageError, match="--keep"):
        await open_state("redis://h/0", host="api", keep=keep)


@pytest.mark.parametrize(
    ("settings", "waits", "promise", "warnings"),
    [
        (GOOD, False, "on the server's disk before the first byte", 0),
        (GOOD | {"appendfsync": "everysec"}, False, "up to two seconds", 0),
        (GOOD | {"appendfsync": "everysec"}, True, "waits for the server's disk", 0),
        (GOOD | {"appendfsync": "no"}, False, "whatever the kernel", 1),
        (GOOD | {"appendonly": "no"}, False, "none", 1),
        (None, False, "unknown", 1),
    ],
)
def test_which_guarantee_holds(settings: dict[str, str] | None, waits: bool, promise: str, warnings: int) -> None:
    finding = examine("7.2.4", settings, durable="waitaof" if waits else "", shown="redis://h")
    assert promise in finding.durability
    assert len(finding.warnings) == warnings


@pytest.mark.parametrize(("version", "waits"), [("6.0.16", False), ("7.0.15", True)])
def test_servers_that_are_too_old(version: str, waits: bool) -> None:
    with pytest.raises(UsageError, match=version):
        examine(version, GOOD, durable="waitaof" if waits else "", shown="redis://h")


@given(st.lists(st.tuples(st.floats(0, 0.05), st.floats(0, 0.05), st.floats(0, 5)), min_size=1), st.floats(-1e6, 1e6))
def test_the_server_clock_is_known_within_its_error(answers: list[tuple[float, float, float]], offset: float) -> None:
    clock, now = ServerClock(), 100.0
    for there, back, rest in answers:
        assert clock.learn(now, now + there + back, now + there + offset)
        now += there + back + rest
    assert abs(clock.to_loop(50.0 + offset) - 50.0) <= clock.error + 1e-6
    assert clock.error <= 0.05 + 1e-6
    assert not clock.learn(now, now + 0.001, now + offset + 3600)
