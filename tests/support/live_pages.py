"""The live page of a process, as scripts and browsers ask it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TOKEN = "0123456789abcdef-token"
ROOT = Path(__file__).parents[2]


class LivePage:
    """At this URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def figures(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}figures", timeout=10) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def ask(self, path: str, token: str = TOKEN, **body: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)["done"]
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return error.code, json.loads(text)["error"] if text.startswith(b"{") else text.decode()


def url_in(log: str) -> str | None:
    """Where the page is, as the log (JSON) tells it."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}"))
    return next((str(line["url"]) for line in lines if line["event"] == "live page"), None)


def write_token(folder: Path) -> str:
    (folder / "token").write_text(f"{TOKEN}\n")
    return str(folder / "token")


def picture(page: Any, name: str, *, height: int | None = None) -> None:
    """Of a page, or of its uppermost part, into docs/pictures, where somebody asks for it (`make pictures`)."""
    if os.environ.get("SENDER_PICTURES"):
        width = page.evaluate("innerWidth")
        clip = None if height is None else {"x": 0, "y": 0, "width": width, "height": height}
        page.screenshot(path=str(ROOT / "docs" / "pictures" / f"{name}.png"), full_page=True, clip=clip)


def table(page: Any, name: str) -> list[list[str]]:
    """The cells of the table in the part with this id."""
    rows = page.locator(f"#{name} tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]
