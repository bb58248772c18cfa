"""The server of a live page: who may look, who may act, and that nobody who looks can do harm."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import UsageError
from sender.runtime.live import live_server, live_view
from sender.runtime.live.live_address import LiveAddress
from sender.runtime.live.live_server import LiveServer
from sender.runtime.live.live_view import LiveView
from sender.runtime.live.open_live import open_live
from tests.runtime.live.runs import TOKEN, Letters, Run, shown

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is a hundredth."""
    monkeypatch.setattr(live_view, "EVERY", 0.01)


async def ask(
    port: int, path: str, body: Any = None, *, method: str | None = None, host: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request, and its whole answer."""
    data = b"" if body is None else json.dumps(body).encode()
    given = {"Host": host or f"127.0.0.1:{port}", "Content-Length": str(len(data))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given.setdefault("Content-Type", "application/json")
    head = f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + data)
    answer = await asyncio.wait_for(reader.read(), SECONDS)
    writer.close()
    first, _, rest = answer.partition(b"\r\n\r\n")
    line, *lines = first.decode().split("\r\n")
    found = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    return int(line.split(" ")[1]), found, rest


def bearer(token: str = TOKEN) -> str:
    return f"Bearer {token}"


async def read_events(port: int, number: int, **headers: str) -> list[tuple[str, Any]]:
    reader, writer = await follow(port, **headers)
    events = [await next_event(reader) for _ in range(number)]
    writer.close()
    return events


async def follow(port: int, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode())
    return reader, writer


async def next_event(reader: asyncio.StreamReader) -> tuple[str, Any]:
    async with asyncio.timeout(SECONDS):
        while not (line := await reader.readline()).startswith(b"event: "):
            assert line, "it has ended"
        return line[7:].decode().strip(), json.loads((await reader.readline())[6:])


async def test_the_page_comes_from_nowhere_else_and_nothing_may_be_put_into_it() -> None:
    async with shown() as (server, _):
        for path, kind in (("/", "text/html"), ("/live.js", "text/javascript"), ("/live.css", "text/css")):
            status, headers, body = await ask(server.port, path)
            assert (status, headers["content-type"].split(";")[0]) == (200, kind)
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert b"//" not in body.replace(b"http://www.w3.org/2000/svg", b"") or path == "/live.js"
        for path in ("/x", "/page.html", "/../live_token.py", "/%2e%2e/live_token.py"):
            assert (await ask(server.port, path))[0] == 404
        assert (await ask(server.port, "/", method="DELETE"))[0] == 405
        assert (await ask(server.port, "/", method="OPTIONS"))[0] == 405


async def test_events_are_the_history_and_then_the_figures_again_and_again() -> None:
    async with shown() as (server, _):
        events = await read_events(server.port, 4)
        assert [name for name, _ in events] == ["history", "figures", "figures", "figures"]
        assert events[0][1] == {"points": events[0][1]["points"], "token": False, "personal": False}
        numbers = [one["lanes"][0]["requests"] for _, one in events[1:]]
        assert numbers == sorted(numbers)
        assert numbers[0] < numbers[-1]
        assert events[1][1]["counts"] == {"sent": 300, "invalid": 2, "in_doubt": 0}
        status, _, body = await ask(server.port, "/figures")
        assert status == 200
        assert json.loads(body)["latency"]["p99"] == 210.5


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil", ""]
)
async def test_a_name_that_a_stranger_points_here_is_refused(host: str) -> None:
    async with shown(token=TOKEN) as (server, _):
        name = host.format(port=server.port)
        for path in ("/", "/events", "/figures", "/live.js"):
            assert (await ask(server.port, path, host=name or " "))[0] == 403
        assert (await ask(server.port, "/pause", {}, host=name or " ", Authorization=bearer()))[0] == 403


async def test_a_page_from_elsewhere_may_ask_nothing() -> None:
    run = Run()
    async with shown(run, token=TOKEN) as (server, _):
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
            assert (await ask(server.port, "/pause", {}, Origin=origin, Authorization=bearer()))[0] == 403
        assert ("pause", True) not in run.asked
        own = f"http://127.0.0.1:{server.port}"
        assert (await ask(server.port, "/pause", {}, Origin=own, Authorization=bearer()))[0] == 200
        assert ("pause", True) in run.asked


async def test_without_a_token_file_the_page_only_shows() -> None:
    run = Run()
    async with shown(run) as (server, _):
        for path in ("/pause", "/resume", "/rate", "/letters", "/redrive", "/repair"):
            status, _, body = await ask(server.port, path, {}, Authorization=bearer())
            assert status == 403
            assert "--live-token-file" in json.loads(body)["error"]
        assert set(run.asked) <= {"refresh"}


async def test_what_an_operator_asks_is_done_and_what_is_wrong_is_told() -> None:
    run = Run()
    run.letters = letters = Letters()
    async with shown(run, token=TOKEN, personal=True) as (server, _):

        async def act(path: str, body: Any) -> tuple[int, Any]:
            status, _, answer = await ask(server.port, path, body, Authorization=bearer())
            return status, json.loads(answer)

        assert await act("/pause", {}) == (200, {"done": "paused"})
        assert await act("/resume", {}) == (200, {"done": "resumed"})
        assert await act("/rate", {"rate": 40}) == (200, {"done": "40 a second"})
        assert await act("/rate", {"rate": 400}) == (409, {"error": "at most 100 a second"})
        for wrong in ({}, [], {"rate": "x"}, {"rate": True}, {"rate": None}, 7, "x"):
            assert (await act("/rate", wrong))[0] == 400
        assert (await act("/letters", {}))[1]["done"][0]["line"] == "{}"
        assert await act("/redrive", {"letters": ["a1"]}) == (200, {"done": "1 api_error -> queue"})
        assert (await act("/redrive", {"letters": ["a1"] * 1001}))[0] == 400
        assert await act("/repair", {"letter": "a1", "line": "{}"}) == (200, {"done": "1 api_error -> queue"})
        assert (letters.redriven, letters.repaired) == (["a1"], [("a1", "{}")])
        assert [one for one in run.asked if one != "refresh"] == [("pause", True), ("pause", False), ("rate", 40.0)]
        plain = await ask(server.port, "/pause", {}, Authorization=bearer(), Content_Type="text/plain")
        assert plain[0] == 415
        assert (await ask(server.port, "/x", {}, Authorization=bearer()))[0] == 404


async def test_job_lines_are_shown_and_repaired_only_where_they_were_asked_for() -> None:
    run = Run()
    run.letters = letters = Letters()
    async with shown(run, token=TOKEN) as (server, _):
        _, _, body = await ask(server.port, "/letters", {}, Authorization=bearer())
        assert json.loads(body)["done"][0]["line"] is None
        status, _, body = await ask(server.port, "/repair", {"letter": "a1", "line": "{}"}, Authorization=bearer())
        assert status == 409
        assert "--live-personal" in json.loads(body)["error"]
        assert letters.repaired == []


async def test_a_wrong_token_a_thousand_times(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run()
    async with shown(run, token=TOKEN) as (server, _):
        for start in range(0, 1000, 50):
            wrong = (TOKEN[:-1] + chr(97 + n % 26) if n % 2 else f"guess-{n}" for n in range(start, start + 50))
            answers = await asyncio.gather(
                *(ask(server.port, "/pause", {}, Authorization=bearer(one)) for one in wrong if one != TOKEN)
            )
            assert {status for status, _, _ in answers} == {401}
        for scheme in ("", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN} x", "Bearer \xff\xfe"):
            assert (await ask(server.port, "/pause", {}, Authorization=scheme))[0] in (400, 401)
        assert ("pause", True) not in run.asked
        assert (await ask(server.port, "/pause", {}, Authorization=bearer()))[0] == 200, "who has it is not locked out"
    told = capsys.readouterr()
    text = told.out + told.err + caplog.text
    assert text.count("with a wrong token") == 1, "one word, however many try"
    assert "guess-" not in text
    assert TOKEN not in text


async def test_elsewhere_than_on_loopback_the_token_is_asked_for_to_look() -> None:
    async with shown(token=TOKEN, host="0.0.0.0") as (server, _):
        assert (await ask(server.port, "/"))[0] == 200, "the page itself tells nothing, and asks for the token"
        for path in ("/events", "/figures"):
            assert (await ask(server.port, path))[0] == 401
            assert (await ask(server.port, path, Authorization=bearer("wrong" * 5)))[0] == 401
        assert (await read_events(server.port, 2, Authorization=bearer()))[1][0] == "figures"


async def test_two_hundred_pages_and_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shown() as (server, view):
        pages = [await follow(server.port) for _ in range(200)]
        for reader, _ in pages:
            assert (await next_event(reader))[0] == "history"
        assert server.pages == 200
        monkeypatch.setattr(live_server, "MOST_PAGES", 200)
        assert (await ask(server.port, "/events"))[0] == 503
        assert (await ask(server.port, "/figures"))[0] == 200
        number = view.number
        for reader, _ in pages:
            await next_event(reader)
        assert await asyncio.wait_for(view.newer_than(number + 1), SECONDS)
        for _, writer in pages:
            writer.close()
        async with asyncio.timeout(SECONDS):
            while server.pages:
                await asyncio.sleep(0.01)
        assert (await read_events(server.port, 1))[0][0] == "history"


async def test_a_page_that_stops_reading_holds_up_nobody_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "STALLED", 0.2)
    run = Run()
    run.figures = run.figures.__class__("send", note="x" * 100_000, lanes=run.figures.lanes)
    async with shown(run) as (server, view):
        deaf = socket.create_connection(("127.0.0.1", server.port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        reader, writer = await follow(server.port)
        await next_event(reader)
        async with asyncio.timeout(SECONDS):
            while server.pages < 2:
                await asyncio.sleep(0.01)
            while server.pages > 1:
                await next_event(reader)
        assert view.number > 10
        deaf.close()
        writer.close()


async def test_who_holds_connections_open_keeps_nobody_out() -> None:
    async with shown() as (server, _):
        many = live_server.MOST_CONNECTIONS + 50
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(many)]
        assert (await ask(server.port, "/figures"))[0] == 200
        for _, writer in held:
            writer.close()


async def test_open_pages_are_told_of_the_end() -> None:
    async with shown() as (server, view):
        reader, writer = await follow(server.port)
        await next_event(reader)
        port = server.port
        view.end("exit 0: every job stands as sent")
        figures: Any = {}
        while figures.get("state") != "ended":
            figures = (await next_event(reader))[1]
        assert figures["note"] == "exit 0: every job stands as sent"
        assert (await asyncio.wait_for(reader.read(), SECONDS)).endswith(b"\r\n0\r\n\r\n"), "the stream has its end"
        writer.close()
        status, _, body = await ask(server.port, "/pause", {})
        assert status == 403
        assert json.loads(body)
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_told_before_anything_begins() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--live: cannot listen on 127.0.0.1 port {port}: .*Name another port"):
            await LiveServer.open(LiveView("send"), LiveAddress("127.0.0.1", port), None)


class Asked:
    live = ""
    live_token_file = ""
    live_personal = False
    watch = False


async def test_others_may_look_only_with_a_token(tmp_path: Path) -> None:
    asked = Asked()
    async with open_live("send", asked) as view:
        assert view is None
    asked.live = "0.0.0.0:0"
    with pytest.raises(UsageError, match="--live-token-file"):
        async with open_live("send", asked):
            raise AssertionError
    (tmp_path / "token").write_text("short\n")
    asked.live_token_file = str(tmp_path / "token")
    with pytest.raises(UsageError, match="16 to 4,096 signs"):
        async with open_live("send", asked):
            raise AssertionError
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with open_live("send", asked) as view:
        assert view is not None
        assert not view.draws


async def test_a_source_that_breaks_ends_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Run):
        def look(self) -> Any:
            raise RuntimeError("someone@example.com")

    asked = Asked()
    asked.live = "0"
    async with open_live("send", asked) as view:
        assert view is not None
        view.show(Broken())
        await asyncio.sleep(0.1)
    told = capsys.readouterr()
    assert "the live view stands still" in told.out + told.err
    assert "someone@example.com" not in told.out + told.err


async def test_a_second_of_looking_costs_less_than_a_hundredth_of_one() -> None:
    """CPU time of a hundred looks and their events for a page, with the page's own reading; a second each, in a run."""
    async with shown() as (server, view):
        reader, writer = await follow(server.port)
        await next_event(reader)
        first, begin = view.number, time.process_time()
        while view.number < first + 100:
            await next_event(reader)
        took = (time.process_time() - begin) / (view.number - first)
        writer.close()
    assert took < 0.01
