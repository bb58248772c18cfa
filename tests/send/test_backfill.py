"""One backfill three times: as CSV, as Parquet in a bucket and by a query; with files, faults and a kill."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import botocore.session
import duckdb
import pytest

from tests.support.databases import PostgresServer, running
from tests.support.processes import outcomes, running_sandbox, sender, start_sender
from tests.support.servers import SqsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDERS = int(os.environ.get("ORDERS", "600"))
"""`make backfill` takes 20,000."""
EXCLUDED = {f"person{number}@example.com" for number in range(50, ORDERS + 1, 50)}
COLUMNS = "order_id BIGINT, email VARCHAR, customer BIGINT, total DECIMAL(10, 2), note VARCHAR"
GENERATE = f"""SELECT n AS order_id, 'person' || n || '@example.com' AS email, 5000 + n AS customer,
    CAST(n AS DECIMAL(10, 2)) / 4 AS total, CASE WHEN n % 3 = 0 THEN '' ELSE 'He said "hi", ' || n END AS note
    FROM generate_series(1, {ORDERS}) AS g(n)"""
MAPPING = {
    "id": "receipt-{{order_id}}",
    "payload": {
        "to": "{{email}}", "transactional_message_id": 3, "identifiers": {"id": "{{customer:text}}"},
        "message_data": {"total": "{{total:float}}", "text": "{{total}} EUR", "note": "{{note?}}"},
        "attachments": {"invoice.pdf": "{{file:{order_id}.pdf}}"},
    },
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    yield from running(PostgresServer())


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the cloud's tools go by."""
    server = SqsServer(tmp_path)
    try:
        server.start()
        yield {
            "AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.stop()


def put(bucket: dict[str, str], key: str, data: bytes) -> None:
    client = botocore.session.get_session().create_client(
        "s3", region_name="us-east-1", endpoint_url=bucket["AWS_ENDPOINT_URL"], aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="exports")
    client.put_object(Bucket="exports", Key=key, Body=data)


def export(folder: Path) -> None:
    """The orders as CSV and as Parquet, and an invoice for each."""
    (folder / "map.json").write_text(json.dumps(MAPPING))
    (folder / "optouts.txt").write_text("\n".join(sorted(EXCLUDED)))
    (folder / "invoices").mkdir()
    for number in range(1, ORDERS + 1):
        (folder / "invoices" / f"{number}.pdf").write_bytes(b"%PDF " + str(number).encode() * 50)
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE orders ({COLUMNS})")
        database.execute(f"INSERT INTO orders {GENERATE}")
        database.execute(f"COPY orders TO '{folder}/orders.csv' (FORMAT csv, HEADER)")
        database.execute(f"COPY orders TO '{folder}/orders.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)")


def bodies(folder: Path, *arguments: str, bucket: dict[str, str]) -> list[str]:
    """The bodies that a run sends, by recipient, byte for byte as the sandbox got them; it is killed on its way."""
    limits, faults = ("--rate-send", "100000", "--rate-app", "1000"), ("--fault", "status_429=0.02,reset_after=0.01")
    with running_sandbox(*limits, *faults, "--seed", "3", "--visibility-lag", "0.1") as sandbox:
        common = (
            *arguments, "--map", "map.json", "--attachments", "invoices", "--exclude", "optouts.txt",
            "--base-url", sandbox.url, "--no-progress",
            "--outcomes", f"{arguments[0].partition(':')[0]}.jsonl", "--reconcile-lag", "2", "--send-again",
        )
        process = start_sender("send", *common, "--rate", "300", cwd=folder, **bucket)
        until = time.monotonic() + 40
        while len(sandbox.messages) < 100 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        process.communicate()
        for _ in range(6):
            done = sender("send", *common, "--rate", "5000", "--json", cwd=folder, timeout=250, **bucket)
            summary = json.loads(done.stdout)
            assert summary["read"] == ORDERS, done.stderr
            assert summary["skipped"] == len(EXCLUDED)
            if done.returncode == 0:
                break
        messages = sandbox.messages
        assert max(Counter(message["payload"]["to"] for message in messages).values()) == 1
        assert not EXCLUDED.intersection(message["payload"]["to"] for message in messages)
        return sorted(message["raw"] for message in messages)


@pytest.mark.slow
@pytest.mark.timeout(280 if ORDERS <= 1000 else 1800)
def test_the_same_receipts_from_all_three(postgres: PostgresServer, bucket: dict[str, str], tmp_path: Path) -> None:
    export(tmp_path)
    put(bucket, "orders.parquet", (tmp_path / "orders.parquet").read_bytes())
    postgres.do(f"CREATE TABLE orders ({COLUMNS}); INSERT INTO orders {GENERATE};")
    of_csv = bodies(tmp_path, "orders.csv", bucket=bucket)
    of_parquet = bodies(tmp_path, "s3://exports/orders.parquet", bucket=bucket)
    query = ("--query", "SELECT * FROM orders ORDER BY order_id")
    of_query = bodies(tmp_path, postgres.url, *query, bucket=bucket)
    assert len(of_csv) == len(of_parquet) == len(of_query) == ORDERS - len(EXCLUDED)
    assert of_csv == of_parquet == of_query


@pytest.mark.slow
def test_an_object_that_has_changed_is_told_on_resume(bucket: dict[str, str], tmp_path: Path) -> None:
    header = "id,to,transactional_message_id,identifiers.id\n"
    with running_sandbox() as sandbox:
        said = []
        for rows in ("a,a@b.c,3,1\n", "a,a@b.c,3,1\n", "a,a@b.c,3,1\nb,b@b.c,3,2\n"):
            put(bucket, "orders.csv", (header + rows).encode())
            done = sender("send", "s3://exports/orders.csv", "--base-url", sandbox.url, "--no-reconcile", cwd=tmp_path,
                          **bucket)
            assert done.returncode == 0, done.stderr
            said.append(b"has changed since an earlier run" in done.stderr)
        assert said == [False, False, True]
        assert len(sandbox.messages) == 2
    assert {line["source"] for line in outcomes(tmp_path / "orders.csv.outcomes.jsonl")} == {"s3://exports/orders.csv"}
