"""What docs/outbox.md shows is run as it stands, on a real PostgreSQL and against a sandbox."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.docs.markdown import DOCS, ROOT, blocks
from tests.support.databases import PostgresServer, find
from tests.support.fleet import Consumer
from tests.support.processes import environment, running_sandbox
from tests.support.servers import server_fixture

if TYPE_CHECKING:
    from pathlib import Path

PAGE = DOCS / "outbox.md"
SHOP = "postgres://localhost/shop"

postgres_server = server_fixture(lambda _: PostgresServer(), "postgres_server")


def run(text: str, folder: Path) -> str:
    script = f'set -e; sender() {{ "{sys.executable}" -m sender "$@"; }}\n{text}'
    where = environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(["sh", "-c", script], cwd=folder, env=where, capture_output=True, text=True, timeout=50,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_does_what_it_says(postgres_server: PostgresServer, tmp_path: Path) -> None:
    postgres_server.do("CREATE DATABASE shop;")
    postgres_server.do("CREATE ROLE shop; CREATE ROLE sender;")
    url = postgres_server.url.replace("/postgres", "/shop")

    def here(text: str) -> str:
        return text.replace(SHOP, url)

    def ask(sql: str) -> str:
        command = [find("psql", "postgresql"), url, "-qAt", "-v", "ON_ERROR_STOP=1"]
        return subprocess.run(command, input=sql.encode(), check=True, capture_output=True).stdout.decode()

    make, send, refused, rights = blocks(PAGE, "sh")
    show, take_back, other = blocks(PAGE, "sql")
    (python,) = blocks(PAGE, "python")
    assert "CREATE TABLE sender_outbox (" in run(here(make), tmp_path)
    exec(compile(here(python), str(PAGE), "exec"), {})
    with running_sandbox() as sandbox:
        lines = here(send).replace("http://127.0.0.1:8025", sandbox.url).replace("\\\n", "").splitlines()
        assert lines[:2] == ["sender sandbox --port 8025 &", "export SENDER_API_KEY=sandbox-key"]
        words = [word.strip("'") for word in lines[2].removesuffix("&").split()]
        assert words[:2] == ["sender", "consume"]
        consumer = Consumer(tmp_path, "consumer", *words[2:])
        try:
            until = time.monotonic() + 30
            ask(other)
            while ask("SELECT count(*) FROM sender_outbox WHERE status = 'waiting'") != "0\n":
                assert time.monotonic() < until, consumer.told
                time.sleep(0.1)
            assert consumer.end() == 0
        finally:
            consumer.kill()
        accepted = {message["payload"]["identifiers"]["id"]: message["delivery_id"] for message in sandbox.messages}
    assert accepted.keys() == {"1", "3", "4"}, "the second order was rolled back"
    assert ask(show) == f"1|sent|{accepted['1']}|\n3|sent|{accepted['3']}|\n"
    ask(take_back)
    assert run(here(refused), tmp_path) == "0 left\n"
    assert 'TO "shop";' in run(rights, tmp_path)
    ask(run(f"{rights.strip()} --table another", tmp_path))
