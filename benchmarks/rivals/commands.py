"""autocannon, hey, wrk and k6 as command lines: the same email, posted; None for what is not installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

import orjson
from common import EMAIL, KEY

AUTHORIZATION: Final = f"Authorization: Bearer {KEY}"
_WRK: Final = """wrk.method, wrk.body = "POST", [[{body}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
"""
_K6: Final = """import http from "k6/http";
export const options = {{ scenarios: {{ all: {{ executor: "constant-arrival-rate", rate: {rate}, timeUnit: "1s",
  duration: "{seconds}s", preAllocatedVUs: {connections} }} }} }};
const params = {{ headers: {{ "Content-Type": "application/json", Authorization: "Bearer {key}" }} }};
export default function () {{ http.post("{url}", '{body}', params); }}
"""


class Tools:
    """They read what they post from files in `folder`."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = f"{url}/v1/send/email"
        self._body = orjson.dumps(EMAIL).decode()
        (folder / "body.json").write_text(self._body)

    def autocannon(self, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        program = Path(sys.prefix) / "node_modules" / "autocannon" / "autocannon.js"
        node = shutil.which("node")
        if node is None or not program.exists():
            return None
        command = [node, str(program), "-n", "-c", str(connections), "-d", str(seconds), "-m", "POST"]
        command += ["-H", "Content-Type: application/json", "-H", AUTHORIZATION, "-i", str(self._folder / "body.json")]
        return [*command, *(("-R", str(rate)) if rate else ()), self._url]

    def hey(self, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        program = shutil.which("hey")
        if program is None:
            return None
        command = [program, "-z", f"{seconds}s", "-c", str(connections), "-cpus", "1", "-m", "POST"]
        command += ["-T", "application/json", "-H", AUTHORIZATION, "-D", str(self._folder / "body.json")]
        return [*command, *(("-q", f"{rate / connections:g}") if rate else ()), self._url]

    def wrk(self, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        program = shutil.which("wrk")
        if program is None or rate:
            return None
        script = self._folder / "post.lua"
        script.write_text(_WRK.format(body=self._body, key=KEY))
        return [program, "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script), self._url]

    def k6(self, seconds: int, connections: int, rate: int | None) -> list[str] | None:
        program = shutil.which("k6")
        if program is None or not rate:
            return None
        script = self._folder / "paced.js"
        script.write_text(_K6.format(rate=rate, seconds=seconds, connections=connections, key=KEY,
                                     url=self._url, body=self._body))
        return [program, "run", "--quiet", str(script)]
