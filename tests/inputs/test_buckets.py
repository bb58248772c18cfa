"""What opens a bucket: the variables of each cloud, and what is told when it does not open."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest

from sender.errors import UsageError
from sender.inputs.objects.bucket import names_in_bucket, spool_from_bucket
from sender.inputs.objects.environment import store_options

SECRET = base64.b64encode(b"a secret of the account").decode()
HERE = {"client_options": {"allow_http": True}}
NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize(("scheme", "environment", "options"), [
    ("s3", {"AZURE_STORAGE_ACCOUNT": "a", "STORAGE_EMULATOR_HOST": "h"}, {}),
    ("gs", {}, {}),
    ("gs", {"STORAGE_EMULATOR_HOST": "h:4443"}, {"base_url": "http://h:4443", "skip_signature": True, **HERE}),
    ("gs", {"STORAGE_EMULATOR_HOST": "https://h/"},
     {"base_url": "https://h", "skip_signature": True, "client_options": {"allow_http": False}}),
    ("az", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "k="}, {"account_name": "a", "account_key": "k="}),
    ("az", {"AZURE_STORAGE_SERVICE_ENDPOINT": "http://localhost:1/a"}, {"endpoint": "http://localhost:1/a", **HERE}),
    ("az", {"AZURE_STORAGE_SERVICE_ENDPOINT": "http://far/a"}, {"endpoint": "http://far/a"}),
    ("az", {"AZURE_STORAGE_ACCOUNT": "x", "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=k=="},
     {"account_name": "a", "account_key": "k=="}),
    ("az", {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;EndpointSuffix=core.chinacloudapi.cn"},
     {"account_name": "a", "endpoint": "https://a.blob.core.chinacloudapi.cn"}),
    ("az", {"AZURE_STORAGE_CONNECTION_STRING":
            "AccountName=a;BlobEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=?sv=1&sig=s%3D;"},
     {"account_name": "a", "endpoint": "http://127.0.0.1:1/a", "sas_key": "sv=1&sig=s%3D", **HERE}),
    ("az", {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}, {"use_emulator": True}),
])
def test_the_variables_of_each_cloud(scheme: str, environment: dict[str, str], options: dict[str, Any]) -> None:
    assert store_options(scheme, environment) == options


@pytest.mark.parametrize(("url", "environment", "words"), [
    ("az://c/a.csv", {}, "Account must be specified; credentials and endpoints come from environment variables"),
    ("az://c/a.csv", {"AZURE_STORAGE_CONNECTION_STRING": SECRET}, "Account must be specified; cred"),
    ("az://c/a.csv", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": f"{SECRET}!"}, "Invalid Access Key"),
    ("az://c/a.csv", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_SERVICE_ENDPOINT": f"?sig={SECRET}"}, "source url"),
    ("gs://c/a.csv", {"GOOGLE_SERVICE_ACCOUNT_KEY": f"{{{SECRET}"}, "service account file.*; cred"),
])
def test_wrong_credentials_are_not_told(
    url: str, environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for attempt in (spool_from_bucket, names_in_bucket):
        with pytest.raises(UsageError, match=f"{url} cannot be opened: .*{words}") as caught:
            attempt(url)
        assert SECRET not in str(caught.value)


def test_plain_http_to_another_place_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=a;AccountKey={SECRET};BlobEndpoint=http://far/a")
    with pytest.raises(UsageError, match=r"az://c/a\.csv cannot be read: .*; credentials and endpoints come from"):
        spool_from_bucket("az://c/a.csv")


def test_secrets_in_the_url_of_an_emulator_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{NOBODY.replace('//', f'//user:{SECRET}@')}?sig={SECRET}")
    with pytest.raises(UsageError, match=r"gs://c/a\.csv cannot be read: .*error sending request") as caught:
        spool_from_bucket("gs://c/a.csv")
    assert SECRET not in str(caught.value)
