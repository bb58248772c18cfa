"""One table in every form that it may come in: the same rows, and the same jobs."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import ssl
import threading
import zipfile
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import trustme
from backports import zstd

from sender.errors import InputError, UsageError
from sender.inputs import compression
from sender.inputs.input_options import InputOptions
from sender.inputs.inputs import all_lines, open_inputs
from sender.inputs.names import expanded
from sender.inputs.queries.query import query_table
from sender.inputs.row_input import TableInput
from sender.inputs.survey import Survey
from sender.inputs.tables import json_elements
from tests.support.databases import MariaServer, PostgresServer, running
from tests.support.servers import SqsServer, server_fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.databases import Database

ROWS = [(1001, "ada@example.com", Decimal("12.50"), 'says "hi", twice'), (1002, "bob@example.com", Decimal("7.00"), ""),
        (9007199254740993, "cy@example.com", Decimal("0.10"), "zwei\nZeilen 😀")]
NAMES = ["order_id", "email", "total", "note"]
MAPPING = {"id": "receipt-{{order_id}}", "payload": {
    "to": "{{email}}", "transactional_message_id": 3, "identifiers": {"id": "{{order_id:text}}"},
    "message_data": {
        "total": "{{total:text}}", "amount": "{{total:float}}", "n": "{{order_id:int}}", "note": "{{note|none}}",
    },
}}
CREATE = """
CREATE TABLE orders (order_id bigint, email text, total numeric(10, 2), note text);
INSERT INTO orders VALUES (1001, 'ada@example.com', 12.50, 'says "hi", twice'), (1002, 'bob@example.com', 7.00, ''),
(9007199254740993, 'cy@example.com', 0.10, 'zwei
Zeilen 😀');
"""
SELECT = "SELECT order_id, email, total, note FROM orders ORDER BY order_id"
s3_server = server_fixture(SqsServer, "s3_server")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    yield from running(PostgresServer())


@pytest.fixture(scope="session")
def maria() -> Iterator[Database]:
    yield from running(MariaServer())


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    (tmp_path / "map.json").write_text(json.dumps(MAPPING))
    return str(tmp_path / "map.json")


def write_csv(path: Path) -> bytes:
    rows = [",".join(NAMES), *(f'{a},{b},{c},"{d.replace(chr(34), chr(34) * 2)}"' for a, b, c, d in ROWS)]
    data = "".join(f"{row}\n" for row in rows).encode()
    path.write_bytes(data)
    return data


def write_parquet(path: Path) -> None:
    with duckdb.connect() as database:
        database.execute("CREATE TABLE orders (order_id BIGINT, email VARCHAR, total DECIMAL(10, 2), note VARCHAR)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", ROWS)
        database.execute(f"COPY orders TO '{path}' (FORMAT parquet)")


def test_times_with_a_zone_and_short_floats_of_parquet(tmp_path: Path) -> None:
    with duckdb.connect() as database:
        row = "1 id, TIMESTAMPTZ '2026-11-01 10:00:00.5+02' \"a t\", 0.1::FLOAT f, NULL::TIMESTAMPTZ n"
        database.execute(f"COPY (SELECT {row}) TO '{tmp_path}/o.parquet' (FORMAT parquet)")
    template = {"id": "{{id}}", "kind": "email", "payload": {
        "to": "a@example.com", "transactional_message_id": 3, "identifiers": {"id": "1"},
        "message_data": {"at": "{{a t}}", "f": "{{f}}", "n": "{{n}}"},
    }}
    (tmp_path / "m.json").write_text(json.dumps(template))
    (body,) = bodies(f"{tmp_path}/o.parquet", f"{tmp_path}/m.json")
    assert json.loads(body)["payload"]["message_data"] == {
        "at": "2026-11-01T08:00:00.500000+00:00", "f": 0.1, "n": None
    }


def objects() -> list[str]:
    """Each row as JSON, numbers as they are written."""
    return [f'{{"order_id": {a}, "email": "{b}",\n "total": {c}, "note": {json.dumps(d)}}}' for a, b, c, d in ROWS]


def bodies(name: str, mapping: str, **options: str) -> list[bytes]:
    return [line.data for line in all_lines((name,), InputOptions(map=mapping, **options))]


@pytest.fixture
def wanted(tmp_path: Path, mapping: str) -> list[bytes]:
    write_csv(tmp_path / "wanted.csv")
    found = bodies(str(tmp_path / "wanted.csv"), mapping)
    assert json.loads(found[0])["payload"]["message_data"]["amount"] == 12.5
    assert b'"amount":12.50,' in found[0]
    assert b'"n":9007199254740993' in found[2]
    return found


COMPRESS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("form", ["csv", "tsv", "json", "object.json", "columns.json", "ndjson", "jsonl", "parquet"])
def test_the_same_jobs_from_every_form(
    form: str, suffix: str, tmp_path: Path, mapping: str, wanted: list[bytes]
) -> None:
    path = tmp_path / f"orders.{form}"
    if form == "csv":
        write_csv(path)
    elif form == "tsv":
        lines = [NAMES, *([str(a), b, str(c), f'"{d.replace(chr(34), chr(34) * 2)}"'] for a, b, c, d in ROWS)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
    elif form == "json":
        path.write_text(f" [{', '.join(objects())}]\n")
    elif form == "object.json":
        path.write_text(f'{{"page": 1, "none": [], "orders": [{", ".join(objects())}], "more": {{"a": [1]}}}}')
    elif form == "columns.json":
        columns = [f'"{name}": [{", ".join(json.dumps(v) if isinstance(v, str) else str(v) for v in column)}]'
                   for name, column in zip(NAMES, zip(*ROWS, strict=True), strict=True)]
        path.write_text("{" + ", ".join(columns) + "}")
    elif form == "parquet":
        write_parquet(path)
    else:
        path.write_text("".join(one.replace("\n", " ") + "\n" for one in objects()))
    packed = tmp_path / f"{path.name}{suffix}"
    packed.write_bytes(COMPRESS[suffix](path.read_bytes()))
    assert bodies(str(packed), mapping) == wanted
    assert bodies(str(packed), mapping) == wanted


def test_xlsx(tmp_path: Path, mapping: str) -> None:
    write_xlsx(tmp_path / "orders.xlsx")
    found = [json.loads(data) for data in bodies(str(tmp_path / "orders.xlsx"), mapping)]
    assert [one["id"] for one in found] == ["receipt-1001", "receipt-1002"]
    assert found[0]["payload"]["message_data"] == {"total": "12.5", "amount": 12.5, "n": 1001, "note": "a & b"}
    lines = list(all_lines((str(tmp_path / "orders.xlsx"),), InputOptions(map=mapping)))
    assert [line.number for line in lines] == [1, 3]
    (tmp_path / "no.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(UsageError, match="cannot be read as an Excel workbook"):
        bodies(str(tmp_path / "no.xlsx"), mapping)


def write_xlsx(path: Path) -> None:
    """A workbook with a blank row in it, as small as the format allows."""
    def row(number: int, cells: list[Any]) -> str:
        made = [f'<c r="{"ABCD"[n]}{number}" t="inlineStr"><is><t>{cell}</t></is></c>' if isinstance(cell, str)
                else f'<c r="{"ABCD"[n]}{number}"><v>{cell}</v></c>' for n, cell in enumerate(cells)]
        return f'<row r="{number}">{"".join(made)}</row>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    rows = [row(1, NAMES), row(2, [1001, "ada@example.com", 12.5, "a &amp; b"])]
    rows.append(row(4, [1002, "bob@example.com", 7, ""]))
    relation = '<Relationship Id="r1" Type="{}" Target="{}"/>'
    types = [
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>',
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>',
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/>',
    ]
    parts = {
        "[Content_Types].xml": ("Types", f"{package}/content-types", "".join(types)),
        "_rels/.rels": ("Relationships", f"{package}/relationships",
                        relation.format(f"{office}/officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": ("workbook", main,
                            f'<sheets><sheet xmlns:r="{office}" name="S" sheetId="1" r:id="r1"/></sheets>'),
        "xl/_rels/workbook.xml.rels": ("Relationships", f"{package}/relationships",
                                       relation.format(f"{office}/worksheet", "worksheets/sheet1.xml")),
        "xl/worksheets/sheet1.xml": ("worksheet", main, f"<sheetData>{''.join(rows)}</sheetData>"),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, (tag, space, inner) in parts.items():
            archive.writestr(name, f'<{tag} xmlns="{space}">{inner}</{tag}>')


def test_postgres(postgres: PostgresServer, mapping: str, wanted: list[bytes]) -> None:
    postgres.do("DROP TABLE IF EXISTS orders;" + CREATE)
    assert bodies(postgres.url, mapping, query=SELECT) == wanted
    with pytest.raises(UsageError, match="read-only transaction"):
        bodies(postgres.url, mapping, query="WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1.*the query fails.*nowhere"):
        bodies(postgres.url, mapping, query="SELECT * FROM nowhere")
    assert bodies(postgres.url, mapping, query=SELECT) == wanted
    types = "SELECT 1 AS order_id, 'a@b.c' AS email, 1.5 AS total, '{\"n\": 1.50}'::jsonb AS note"
    (made,) = bodies(postgres.url, mapping, query=types)
    assert b'"note":{"n":1.50}' in made


def test_many_rows_of_postgres_while_a_loop_runs(postgres: PostgresServer, tmp_path: Path) -> None:
    query = "SELECT n AS id, 'a@b.c' AS \"to\" FROM generate_series(1, 20000) n"

    async def read() -> int:
        inputs = open_inputs([postgres.url], InputOptions(query=query))
        return sum(1 for _ in inputs.lines_of_files())

    import asyncio

    assert asyncio.run(read()) == 20000


def test_mysql(maria: MariaServer, mapping: str, wanted: list[bytes]) -> None:
    create = CREATE.replace("note text)", "note text) CHARACTER SET utf8mb4")
    maria.do(f"USE shop; DROP TABLE IF EXISTS orders;{create}")
    assert bodies(maria.url, mapping, query=SELECT) == wanted
    with pytest.raises(UsageError, match="READ ONLY"):
        bodies(maria.url, mapping, query="DELETE FROM orders")
    with pytest.raises(UsageError) as caught:
        bodies(maria.url.replace("a%20secret", "wrong%20secret"), mapping, query=SELECT)
    assert "wrong" not in str(caught.value)


def test_a_statement_without_columns_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.inputs.queries.query._read", lambda *_: (row for row in [()]))
    with pytest.raises(UsageError, match="gives no rows; write a SELECT"):
        query_table("postgres://127.0.0.1/shop", "BEGIN")


def test_sqlite(tmp_path: Path, mapping: str) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.executescript(CREATE)
    url = f"sqlite://{tmp_path}/shop.db"
    made = bodies(url, mapping, query=SELECT)
    assert json.loads(made[2])["payload"]["message_data"]["note"] == "zwei\nZeilen 😀"
    assert b'"n":9007199254740993' in made[2]
    for query, words in (("DELETE FROM orders", "fails"), ("", "--query"), ("SELECT 1 AS a, 2 AS a", "one column a")):
        with pytest.raises(UsageError, match=words):
            bodies(url, mapping, query=query)
    with pytest.raises(UsageError, match="column email of row 1 holds a value of a type"):
        bodies(url, mapping, query="SELECT x'00ff' AS email, 1 AS order_id")
    with pytest.raises(UsageError, match="there is no database"):
        bodies(f"sqlite://{tmp_path}/none.db", mapping, query=SELECT)


def test_s3(
    s3_server: SqsServer, tmp_path: Path, mapping: str, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = into_bucket(s3_server, monkeypatch)
    write_parquet(tmp_path / "orders.parquet")
    put("shop/orders.parquet", (tmp_path / "orders.parquet").read_bytes())
    for day in (2, 1):
        put(f"shop/day-{day}.csv.gz", gzip.compress((tmp_path / "wanted.csv").read_bytes()))
    put("shop/deep/day-3.csv.gz", b"")
    assert bodies("s3://exports/shop/orders.parquet", mapping) == wanted
    names = expanded(["s3://exports/shop/day-*.csv.gz"])
    assert names == ("s3://exports/shop/day-1.csv.gz", "s3://exports/shop/day-2.csv.gz")
    assert bodies(names[0], mapping) == wanted
    inputs = open_inputs(names, InputOptions(map=mapping))
    assert set(inputs.versions) == set(names)
    with pytest.raises(UsageError, match=r"s3://exports/none\.csv cannot be read"):
        bodies("s3://exports/none.csv", mapping)
    with pytest.raises(UsageError, match="matches nothing"):
        expanded(["s3://exports/none-*"])
    with pytest.raises(UsageError, match="names no object"):
        bodies("s3://exports", mapping, format="csv")


def test_gs(
    s3_server: SqsServer, tmp_path: Path, mapping: str, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google's XML interface is that of S3, so the same server stands in for an emulator of Google's."""
    put = into_bucket(s3_server, monkeypatch, ACL="public-read")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", s3_server.url.removeprefix("http://"))
    for day in (2, 1):
        put(f"google/day-{day}.csv.gz", gzip.compress((tmp_path / "wanted.csv").read_bytes()))
    names = expanded(["gs://exports/google/day-*.csv.gz"])
    assert names == ("gs://exports/google/day-1.csv.gz", "gs://exports/google/day-2.csv.gz")
    assert bodies(names[0], mapping) == wanted
    before = open_inputs(names, InputOptions(map=mapping)).versions
    put("google/day-2.csv.gz", gzip.compress(b"order_id,email,total,note\n"))
    after = open_inputs(names, InputOptions(map=mapping)).versions
    assert [before[name] == after[name] for name in names] == [True, False]
    with pytest.raises(UsageError, match=r"gs://exports/none\.csv cannot be read: .*404 Not Found \(NoSuchKey\)$"):
        bodies("gs://exports/none.csv", mapping)
    with pytest.raises(UsageError, match=r"gs://nowhere/\* cannot be listed: .*404 Not Found \(NoSuchBucket\)$"):
        expanded(["gs://nowhere/*"])


def into_bucket(server: SqsServer, monkeypatch: pytest.MonkeyPatch, **more: str) -> Any:
    import botocore.session

    for name, value in (
        ("AWS_ENDPOINT_URL", server.url), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true"),
    ):
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client("s3", region_name="us-east-1", endpoint_url=server.url)
    client.create_bucket(Bucket="exports")
    return lambda key, body: client.put_object(Bucket="exports", Key=key, Body=body, **more)


class Web(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/orders.csv")
            self.end_headers()
            return
        self.send_response(200 if "signature=right" in self.path else 403)
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Length", str(len(self.content) + self.path.startswith("/cut")))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_https(tmp_path: Path, mapping: str, wanted: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    Web.content = (tmp_path / "wanted.csv").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"https://127.0.0.1:{server.server_port}"
            signed = f"{url}/orders.csv?signature=right"
            assert bodies(signed, mapping) == wanted
            inputs = open_inputs([signed], InputOptions(map=mapping))
            assert inputs.versions == {f"{url}/orders.csv": '"v1"'}
            for path, words in (("orders.csv?signature=wrong", "answers 403"), ("away.csv", "without TLS"),
                                ("cut.csv?signature=right", "broke off|IncompleteRead")):
                with pytest.raises(UsageError, match=words) as caught:
                    bodies(f"{url}/{path}", mapping)
                assert "signature" not in str(caught.value)
        finally:
            server.shutdown()


@pytest.mark.parametrize("name", ["ftp://h/orders.csv", "http://127.0.0.1/orders.csv", "file:///etc/passwd"])
def test_other_places_are_no_inputs(name: str) -> None:
    with pytest.raises(UsageError, match="is no place that inputs come from"):
        open_inputs([name])


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_bombs_and_damage(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "FREE", 1 << 20)
    path = tmp_path / f"bomb.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](b"id,to\n" + b"1,a@b.c\n" * 500_000))
    with pytest.raises(InputError, match="grows more than 250 times"):
        bodies(str(path), "")
    whole = COMPRESS[suffix](b"id,to\n" + os.urandom(400_000).hex().encode() + b"\n")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((InputError, UsageError)):
        bodies(str(path), "")
    path.write_bytes(b"this is none of them, whatever its name says")
    with pytest.raises((InputError, UsageError), match=r"damaged|cut off|empty"):
        bodies(str(path), "")


def test_several_streams_in_one_compressed_file(tmp_path: Path, mapping: str, wanted: list[bytes]) -> None:
    data = (tmp_path / "wanted.csv").read_bytes()
    for suffix in (".gz", ".bz2", ".zst"):
        path = tmp_path / f"parts.csv{suffix}"
        path.write_bytes(COMPRESS[suffix](data[:40]) + COMPRESS[suffix](data[40:]))
        assert bodies(str(path), mapping) == wanted


def test_a_missing_package_is_told_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module, name, extra in (("duckdb", "a.parquet", "parquet"), ("backports.zstd", "a.csv.zst", "zstd"),
                                ("python_calamine", "a.xlsx", "xlsx"), ("obstore", "s3://b/a.csv", "objects"),
                                ("asyncpg", "postgres://h/d", "postgres"), ("pymysql", "mysql://h/d", "mysql")):
        monkeypatch.setitem(sys.modules, module, None)
        if "://" not in name:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UsageError, match=rf"pip install 'sender\[{extra}\]'"):
            open_inputs([name if "://" in name else str(tmp_path / name)], InputOptions(query="SELECT 1"))


def test_globs(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "[x].csv"):
        (tmp_path / name).write_text("id,to\n1,a@b.c\n")
    assert expanded([f"{tmp_path}/?.csv"]) == (f"{tmp_path}/a.csv", f"{tmp_path}/b.csv")
    assert expanded([f"{tmp_path}/[x].csv"]) == (f"{tmp_path}/[x].csv",)
    with pytest.raises(UsageError, match="matches nothing"):
        expanded([f"{tmp_path}/*.tsv"])


def test_an_array_of_jobs_needs_no_mapping(tmp_path: Path) -> None:
    job = '{"id": "a",\n "payload": {"to": "x@y.z", "n": 1.50}}'
    (tmp_path / "jobs.json").write_text(f"[{job},\n{job}]")
    lines = list(all_lines((str(tmp_path / "jobs.json"),)))
    assert [(line.number, line.data) for line in lines] == [(n, job.replace("\n", " ").encode()) for n in (1, 2)]


@pytest.mark.parametrize(("text", "words"), [
    ('[{"a": 1}, {"a": }]', "line 1, column 18"), ('[{"a": 1}\n {"a": 2}]', "line 2, column 2"),
    ('[{"a": 1}', "line 1, column 10"),
    ('[{"a": 1}] x', "something follows"), ("3", "neither an array"), ('{"a": [1], "b": [1, 2]}', "same length"),
    ("[NaN]", "no JSON|JSON does not have"), ("[" * 100_000, "too deep"),
])
def test_a_broken_array_is_told_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        list(all_lines((str(tmp_path / "a.json"),)))


def test_an_array_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sender.inputs import files

    monkeypatch.setattr(files.InputFile.chunks, "__defaults__", (7,))
    objects = [{"a": n, "t": "é😀" * n, "d": 1.5} for n in range(50)]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(objects, ensure_ascii=False, indent=1))
    assert [json.loads(line.data) for line in all_lines((str(tmp_path / "a.json"),))] == objects
    monkeypatch.setattr(json_elements, "MOST_ELEMENT", 1000)
    (tmp_path / "a.json").write_text('["' + "x" * 5000)
    with pytest.raises(InputError, match="no JSON"):
        list(all_lines((str(tmp_path / "a.json"),)))


def test_rows_of_json_that_are_none(tmp_path: Path, mapping: str) -> None:
    first = b'{"order_id": 1, "email": "a@b.c", "total": 1, "note": ""}'
    (tmp_path / "a.ndjson").write_bytes(first + b'\n[1]\n{torn\n\xff\n\n{"order_id": 2}\n')
    lines = list(all_lines((str(tmp_path / "a.ndjson"),), InputOptions(map=mapping)))
    codes = {line.number: [one.code for one in line.row.problems] for line in lines if line.row is not None}
    assert codes == {1: [], 2: ["not_an_object"], 3: ["invalid_json"], 4: ["invalid_utf8"], 6: ["bad_cell", "bad_cell"]}


def test_a_member_that_few_rows_have(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"i": 1}, {"i": 2, "name": "Ada"}]')
    for leaf, words in (("{{x?}}", None), ("{{nmae?}}", "is name meant"), ("{{x}}", "no column x")):
        (tmp_path / "m.json").write_text(json.dumps({"id": "{{i}}", "payload": {"x": leaf, "n": "{{name?}}"}}))
        if words is None:
            made = bodies(str(tmp_path / "a.json"), str(tmp_path / "m.json"))
            assert made == [b'{"id":"1","payload":{}}', b'{"id":"2","payload":{"n":"Ada"}}']
        else:
            with pytest.raises(UsageError, match=words):
                bodies(str(tmp_path / "a.json"), str(tmp_path / "m.json"))


def survey(*names: str, **options: Any) -> Survey:
    found = Survey(open_inputs(names, InputOptions(**options)).files)
    while found.step():
        pass
    found.close()
    return found


@pytest.mark.parametrize("in_memory", [True, False])
def test_repeated_ids_are_found_over_all_inputs(
    in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sender.inputs import repeated_ids

    monkeypatch.setattr(repeated_ids, "MOST_IN_MEMORY", 1 << 21 if in_memory else 1000)
    rows = [f"{n},a@b.c\n" for n in range(30_000)]
    rows[20_000] = "7,a@b.c\n"
    rows[20_001] = '"8",a@b.c\n'
    (tmp_path / "a.csv").write_text("id,to\n" + "".join(rows))
    (tmp_path / "b.csv").write_text("to,id\nx@y.z,9\n\nx@y.z,-1\n")
    found = survey(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert (found.rows, found.repeated) == (30_002, 3)
    assert [(one.row, one.first_row) for one in found.examples] == [(20_001, 8), (20_002, 9), (1, 10)]
    assert found.examples[2].told() == f"row 1 of {tmp_path}/b.csv has the id of row 10 of {tmp_path}/a.csv"


def test_repeated_ids_are_those_of_the_jobs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n01,x\n1,y\n")
    for job_id, repeated in (("{{a:int}}", 2), ("{{a}}", 1), (["a", "b"], 0), ("{{a}}-{{b}}", 0)):
        (tmp_path / "m.json").write_text(json.dumps({"id": job_id, "payload": {}}))
        assert survey(str(tmp_path / "a.csv"), map=str(tmp_path / "m.json")).repeated == repeated


def test_what_a_pipe_gives_can_be_read_twice(tmp_path: Path, mapping: str, wanted: list[bytes]) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes((tmp_path / "wanted.csv").read_bytes()))
    writer.start()
    inputs = open_inputs([str(tmp_path / "fifo")], InputOptions(map=mapping, format="csv"))
    writer.join()
    for _ in range(2):
        assert [line.data for line in inputs.lines_of_files()] == wanted
    (one,) = inputs.files
    assert isinstance(one, TableInput)
    assert one.columns == tuple(NAMES)
    assert [line.data for line in one.lines_from(2)] == wanted[1:]


def test_a_second_array_of_objects_is_refused_and_arrays_of_values_are_no_rows(tmp_path: Path) -> None:
    """Rows of {"orders": [...], "refunds": [...]} all got receipts."""
    (tmp_path / "two.json").write_text('{"orders": [{"id": "1"}], "refunds": [{"id": "2"}]}')
    with pytest.raises((InputError, UsageError), match="refunds is a second array of objects, beside orders"):
        list(all_lines([str(tmp_path / "two.json")], InputOptions(by_content=True)))
    (tmp_path / "tags.json").write_text('{"orders": [{"id": "1"}], "tags": ["a", "b"]}')
    assert len(list(all_lines([str(tmp_path / "tags.json")], InputOptions(by_content=True)))) == 1
