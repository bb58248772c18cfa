"""The parts of a live view, each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.runtime.live.figures import Condition, Queue, Replica
from sender.runtime.live.history import MOST, History
from sender.runtime.live.live_address import LiveAddress
from sender.runtime.live.live_token import LiveToken
from sender.runtime.live.observed import LATEST, MOST_PROBLEMS, Observed, latency_of, problems_of
from sender.runtime.live.watch import watch_lines
from tests.runtime.live.runs import FIGURES, LANE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("8090", "127.0.0.1", 8090), ("0", "127.0.0.1", 0), ("0.0.0.0:8090", "0.0.0.0", 8090), ("[::1]:1", "::1", 1),
     ("box.local:65535", "box.local", 65535)],
)
def test_an_address(text: str, host: str, port: int) -> None:
    assert LiveAddress.parse(text) == (host, port)


@pytest.mark.parametrize("text", ["x", "", ":8090", "65536", "-1", "1.5", "127.0.0.1", "127.0.0.1:", "٣", "9" * 400])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="--live: must be a port"):
        LiveAddress.parse(text)


def test_loopback() -> None:
    assert all(LiveAddress(host, 1).is_loopback for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"))
    assert not any(LiveAddress(host, 1).is_loopback for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"))


@given(st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z][a-z0-9-]{0,9}){1,3}(:[0-9]{1,5})?", fullmatch=True))
def test_no_name_but_those_of_this_machine_is_taken(header: str) -> None:
    """A name is what DNS rebinding needs: addresses and localhost cannot be pointed elsewhere."""
    assert not LiveAddress("127.0.0.1", 8090).takes(header)


def test_names_of_this_machine() -> None:
    address = LiveAddress("Box.local", 8090)
    for header in ("127.0.0.1:8090", "localhost:8090", "localhost", "[::1]:8090", "box.local:8090", "10.1.2.3:8090"):
        assert address.takes(header)


def test_a_token_is_one_word_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for wrong in (b"", b"short", b"two words " * 3, b"\xff" * 20, b"x" * 5000, b"line\nline\nline\nline"):
        path.write_bytes(wrong)
        with pytest.raises(UsageError, match="does not hold a token"):
            LiveToken.read(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        LiveToken.read(str(tmp_path))
    path.write_text(f"{TOKEN}\n")
    token = LiveToken.read(str(path))
    assert token.is_in(f"Bearer {TOKEN}")
    assert token.is_in(f"bearer {TOKEN}")
    assert TOKEN not in repr(token) + str(vars(token))


@given(st.text(max_size=60))
def test_no_other_header_holds_the_token(text: str) -> None:
    assert LiveToken(TOKEN).is_in(text) is False
    assert LiveToken(TOKEN).is_in(f"Bearer {text}") is (text.strip() == TOKEN)


def test_what_is_observed_is_bounded() -> None:
    observed = Observed()
    for number in range(LATEST * 3):
        observed.observe_attempt("send", "email", 200, number / 1000)
    for number in range(MOST_PROBLEMS * 3):
        observed.observe_outcome("rejected", f"code_{number}")
    observed.observe_outcome("sent")
    observed.observe_outcome("duplicate")
    latency = latency_of([observed], "send")
    assert latency is not None
    assert (latency.count, latency.most) == (LATEST, 2999.0)
    assert 2490 <= latency.p50 <= 2510
    assert latency_of([observed], "app") is None
    assert len(problems_of([observed])) == MOST_PROBLEMS
    assert observed.outcomes == {"rejected": 300, "sent": 1, "duplicate": 1}


def test_problems_of_all_workspaces_are_one_list() -> None:
    one, other = Observed(), Observed()
    one.observe_outcome("rejected", "api_error")
    other.observe_outcome("rejected", "api_error")
    other.observe_outcome("in_doubt", None)
    found = {problem.code: problem.count for problem in problems_of([one, other])}
    assert found == {"api_error": 2, "in_doubt": 1}


def test_the_history_has_a_point_for_each_second_and_an_end() -> None:
    history = History()
    assert history.add(FIGURES, 0.0) is None
    for second in range(1, MOST + 100):
        figures = replace(FIGURES, lanes=[replace(LANE, requests=300 + second * 100)])
        point = history.add(figures, float(second))
        assert point is not None
        assert point.rate == 100.0
        assert point.limit == 100.0
    assert len(history.points) == MOST
    assert history.add(FIGURES, 1e6) is None, "a lane that was opened anew begins anew"


def test_the_lines_of_the_terminal() -> None:
    app = replace(LANE, name="app", requests=2, breaker="open", waits=4.0)
    figures = replace(
        FIGURES, elapsed=65.0, in_doubt=3, lanes=[LANE, app],
        conditions=[Condition("state", ""), Condition("queue x", "it is away")], queues=[Queue("x", None, 1, 0)],
        replicas=[Replica(1, 0.5, 2, True), Replica(2, 3.0, 0, False)],
        dead_letters={"written": 4, "waiting": 0, "refused": 0},
    )
    assert watch_lines(figures) == [
        "sender send · running · 1:05 · ━━━━━━━················· 30 %  302 of 1,000 · 0:07 left",
        "  rate     99.5/s of 100/s, shared by 2 · 12 in hand · 88 wait",
        "  latency  p50 100 ms · p99 210 ms · most 240 ms",
        "  books    300 sent · 2 invalid",
        "  ledger   3 in doubt",
        "  lane     send: 300 requests · at most 100 in a window",
        "  lane     app: 2 requests · at most 100 in a window · waits 4 s · breaker open",
        "  problem  2 bad_recipient (invalid)",
        "  not met  queue x: it is away",
        "  queue    x: not known wait there · 1 came again",
        "  replicas 2, last seen 0 s, 3 s ago",
        "  dead     4 letters written · 0 wait",
    ]
