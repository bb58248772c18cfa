"""`sender send` from buckets of stand-ins for Google's and Microsoft's clouds: patterns, gzip, changes and refusals.

    python -m tests.campaigns.clouds

Needs `fake-gcs-server` (Go) and `azurite-blob` (npm, azurite) on the PATH; `make clouds` installs both.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import sys
import tempfile
import urllib.request
from email.utils import formatdate
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import obstore
from obstore.store import AzureStore

from tests.support.processes import running_sandbox, sender
from tests.support.servers import Server

if TYPE_CHECKING:
    from tests.support.processes import Sandbox

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's account and key are the same everywhere, and published with it."""
WRONG = base64.b64encode(b"a secret of somebody else").decode()
MAPPING = {"id": "{{order_id}}", "payload": {
    "to": "{{email}}", "transactional_message_id": 3, "identifiers": {"id": "{{order_id}}"}, "message_data": {},
}}


class GoogleBucket(Server):
    """fake-gcs-server: any credentials will do, so none are refused."""

    name = "fake-gcs-server"
    scheme = "gs"

    def arguments(self) -> list[str]:
        own = ["-host", "127.0.0.1", "-port", str(self.port), "-public-host", f"127.0.0.1:{self.port}"]
        return ["-scheme", "http", "-backend", "memory", *own]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make(self) -> None:
        self._post("/storage/v1/b?project=p", b'{"name": "exports"}')

    def put(self, key: str, content: bytes) -> None:
        self._post(f"/upload/storage/v1/b/exports/o?uploadType=media&name={key}", content)

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).close()

    def ways(self) -> list[dict[str, str]]:
        """Environments that open the bucket."""
        token = {"GOOGLE_BASE_URL": self.url, "GOOGLE_BEARER_TOKEN": WRONG, "GOOGLE_ALLOW_HTTP": "true"}
        return [{"STORAGE_EMULATOR_HOST": self.url}, token]

    def wrong_ways(self) -> list[dict[str, str]]:
        account = {"client_email": "a@example.com", "private_key_id": "1", "private_key": WRONG}
        return [{"GOOGLE_BASE_URL": self.url, "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}]


def signed(text: str) -> str:
    return base64.b64encode(digest(base64.b64decode(KEY), text.encode(), sha256)).decode()


def shared_access() -> str:
    """The token of a shared access signature that may read and list."""
    until, version = "2099-01-01T00:00:00Z", "2021-12-02"
    signature = signed("\n".join([ACCOUNT, "rl", "b", "sco", "", until, "", "", version, "", ""]))
    return urlencode({"sv": version, "ss": "b", "srt": "sco", "sp": "rl", "se": until, "sig": signature})


class AzureContainer(Server):
    """Azurite: it checks signatures."""

    name = "azurite-blob"
    scheme = "az"
    patience = 60.0

    def arguments(self) -> list[str]:
        own = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [*own, "--silent", "--inMemoryPersistence", "--disableTelemetry"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def make(self) -> None:
        """A container; the object_store library makes none."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())]
        text = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/exports", "restype:container"])
        headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signed(text)}", "Content-Length": "0"}
        request = urllib.request.Request(f"{self.url}/exports?restype=container", None, headers, method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def put(self, key: str, content: bytes) -> None:
        store = AzureStore(
            "exports", account_name=ACCOUNT, account_key=KEY, endpoint=self.url, client_options={"allow_http": True}
        )
        obstore.put(store, key, content)

    def ways(self) -> list[dict[str, str]]:
        """Environments that open the container."""
        return [
            self._connection(f"AccountKey={KEY}"), self._connection(f"SharedAccessSignature=?{shared_access()}"),
            {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": shared_access(),
             "AZURE_STORAGE_SERVICE_ENDPOINT": self.url},
            {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": KEY, "AZURE_STORAGE_SERVICE_ENDPOINT": self.url},
        ]

    def wrong_ways(self) -> list[dict[str, str]]:
        shared = f"sv=2022-11-02&ss=b&srt=sco&sp=rl&se=2099-01-01&sig={WRONG}"
        return [self._connection(f"AccountKey={WRONG}"), self._connection(f"SharedAccessSignature={shared}")]

    def _connection(self, access: str) -> dict[str, str]:
        return {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};{access};BlobEndpoint={self.url};"}


def rows(first: int, end: int) -> bytes:
    return b"order_id,email\n" + b"".join(b"%d,p%d@example.com\n" % (number, number) for number in range(first, end))


def try_out(bucket: GoogleBucket | AzureContainer, folder: Path, sandbox: Sandbox) -> None:
    """Each row once over all runs; what cannot be read stops before the first request."""
    (folder / "map.json").write_text(json.dumps(MAPPING))
    place = f"{bucket.scheme}://exports"
    first, *others = bucket.ways()

    def send(url: str, environment: dict[str, str], status: int = 0) -> str:
        memory = {"XDG_STATE_HOME": str(folder / "state")}
        done = sender("send", url, "--map", "map.json", "--base-url", sandbox.url, cwd=folder, **memory, **environment)
        told = (done.stdout + done.stderr).decode()
        assert done.returncode == status, told
        assert WRONG not in told, "a secret is told"
        return told

    bucket.make()
    bucket.put("orders.csv", rows(0, 3))
    for day in (1, 2):
        bucket.put(f"day-{day}.csv.gz", gzip.compress(rows(day * 10, day * 10 + 3)))
    bucket.put("deep/day-3.csv.gz", gzip.compress(rows(30, 33)))
    assert "has changed" not in send(f"{place}/orders.csv", first)
    bucket.put("orders.csv", rows(0, 5))
    assert "an input has changed" in send(f"{place}/orders.csv", first)
    assert "has changed" not in send(f"{place}/orders.csv", first)
    send(f"{place}/day-*.csv.gz", first)
    for way in others:
        assert "duplicate" in send(f"{place}/orders.csv", way)
    assert "404 Not Found" in send(f"{place}/none.csv", first, 2)
    assert "matches nothing" in send(f"{place}/none-*", first, 2)
    for way in bucket.wrong_ways():
        for key in ("orders.csv", "o*.csv"):
            assert "credentials and endpoints come from" in send(f"{place}/{key}", way, 2)
    sent = sorted(int(message["payload"]["identifiers"]["id"]) for message in sandbox.messages)
    assert sent == [*range(5), *range(10, 13), *range(20, 23)], sent
    sys.stdout.write(f"{bucket.name}: {len(sent)} rows of {place}, each once; refusals told without secrets\n")


def main() -> int:
    missing = [kind.name for kind in (GoogleBucket, AzureContainer) if shutil.which(kind.name) is None]
    if missing:
        sys.stderr.write(f"{' and '.join(missing)} not on the PATH; make clouds installs them\n")
        return 2
    for kind in (GoogleBucket, AzureContainer):
        with tempfile.TemporaryDirectory() as name, running_sandbox() as sandbox:
            bucket = kind(Path(name))
            try:
                bucket.start()
                try_out(bucket, Path(name), sandbox)
            finally:
                bucket.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
