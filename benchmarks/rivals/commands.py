"""Load generators as command lines: the same email, posted; None for what is not installed or cannot do it.

`tools.py` installs them. Each is given as many connections, and where there is a rate, the option that its own manual
names for one: those that count from the planned start only when asked are asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import orjson
from common import EMAIL, KEY
from tools import found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[[int, int, int | None], list[str] | None]
    """(seconds, connections, requests a second or None for as many as go)"""

AUTHORIZATION: Final = f"Authorization: Bearer {KEY}"
TYPE: Final = "Content-Type: application/json"
MOST: Final = 1024
"""Connections of those that open more of them when answers are late."""
_WRK: Final = """wrk.method, wrk.body = "POST", [[{body}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
"""
_K6: Final = """import http from "k6/http";
import {{ check }} from "k6";
export const options = {{ summaryTrendStats: ["p(50)", "p(99)", "max"], scenarios: {{ all: {scenario} }} }};
const params = {{ headers: {{ "Content-Type": "application/json", Authorization: "Bearer {key}" }} }};
export default function () {{
  const answer = http.post("{url}", '{body}', params);
  {check}
}}
"""
_K6_CHECK: Final = 'check(answer, { accepted: (one) => one.status === 200 && !!one.json("delivery_id") });'


class Tools:
    """They read what they post from files in `folder`, and write what they found to files there or to stdout."""

    def __init__(self, folder: Path, url: str, *, checked: bool = False) -> None:
        self._folder = folder
        self._base = url
        self._url = f"{url}/v1/send/email"
        self._body = orjson.dumps(EMAIL).decode()
        self._checked = checked
        self._file = folder / "body.json"
        self._file.write_text(self._body)

    def command(self, name: str, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        """By the program's name."""
        if name == "sender":
            return self.sender(seconds, connections, rate)
        program = found(name)
        if program is None:
            return None
        tool: Callable[[str, int, int, int | None], list[str] | None] = getattr(self, name)
        return tool(program, seconds, connections, rate)

    def sender(self, seconds: int, connections: int, rate: int | None, processes: int = 1) -> list[str]:
        limit = ("--rate", str(rate)) if rate else ("--rate", "max", "--concurrency", str(connections))
        return [sys.executable, "-m", "sender", "bench", "--base-url", self._base, *limit, "--duration", str(seconds),
                "--processes", str(processes), "--json"]

    def autocannon(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        limit = ("-R", str(rate)) if rate else ()
        return [program, "-n", "-j", "-c", str(connections), "-d", str(seconds), "-m", "POST", "-H", TYPE,
                "-H", AUTHORIZATION, "-i", str(self._file), *limit, self._url]

    def hey(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        limit = ("-q", f"{rate / connections:g}") if rate else ()
        return [program, "-z", f"{seconds}s", "-c", str(connections), "-cpus", "1", "-m", "POST",
                "-T", "application/json", "-H", AUTHORIZATION, "-D", str(self._file), *limit, self._url]

    def wrk(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        if rate:
            return None
        script = self._folder / "post.lua"
        script.write_text(_WRK.format(body=self._body, key=KEY))
        return [program, "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", str(script),
                self._url]

    def h2load(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        limit = ("--rps", f"{rate / connections:g}") if rate else ()
        return [program, "--h1", "-t", "1", "-c", str(connections), "-D", f"{seconds}", "-d", str(self._file),
                "-H", TYPE, "-H", AUTHORIZATION, *limit, self._url]

    def oha(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        limit = ("-q", str(rate), "--latency-correction") if rate else ()
        return [program, "-z", f"{seconds}s", "-c", str(connections), "--no-tui", "--output-format", "json",
                "-m", "POST", "-T", "application/json", "-H", AUTHORIZATION, "-D", str(self._file), *limit, self._url]

    def vegeta(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        targets = self._folder / "targets.txt"
        targets.write_text(f"POST {self._url}\n{TYPE}\n{AUTHORIZATION}\n@{self._file}\n")
        workers = MOST if rate else connections
        return [program, "-cpus", "1", "attack", "-targets", str(targets), "-rate", str(rate or 0),
                "-duration", f"{seconds}s", "-workers", str(connections), "-max-workers", str(workers),
                "-connections", str(workers), "-output", str(self._folder / "vegeta.bin")]

    def k6(self, program: str, seconds: int, connections: int, rate: int | None) -> list[str]:
        scenario: dict[str, object] = {"executor": "constant-vus", "vus": connections, "duration": f"{seconds}s"}
        if rate:
            scenario = {"executor": "constant-arrival-rate", "rate": rate, "timeUnit": "1s",
                        "duration": f"{seconds}s", "preAllocatedVUs": connections, "maxVUs": MOST}
        script = self._folder / "post.js"
        script.write_text(_K6.format(scenario=orjson.dumps(scenario).decode(), key=KEY, url=self._url, body=self._body,
                                     check=_K6_CHECK if self._checked else ""))
        return [program, "run", "--quiet", "--no-usage-report", "--summary-export", str(self._folder / "k6.json"),
                str(script)]
