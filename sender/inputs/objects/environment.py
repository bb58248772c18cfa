"""The environment variables of each cloud's own tools that the object_store library does not read itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

AZURE_CLI: Final = {
    "AZURE_STORAGE_ACCOUNT": "account_name", "AZURE_STORAGE_KEY": "account_key",
    "AZURE_STORAGE_SERVICE_ENDPOINT": "endpoint",
}
CONNECTION_STRING: Final = {
    "AccountName": "account_name", "AccountKey": "account_key", "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}
LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))


def store_options(scheme: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What to open a store with beside what the library finds (docs/tables.md, Credentials of buckets)."""
    if scheme == "gs":
        return _google(environment)
    if scheme == "az":
        return _azure(environment)
    return {}


def _google(environment: Mapping[str, str]) -> dict[str, Any]:
    """As Google's client libraries do it: no credentials are sent to an emulator."""
    emulator = environment.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    if not emulator:
        return {}
    url = emulator if "://" in emulator else f"http://{emulator}"
    return {"base_url": url, "skip_signature": True, "client_options": {"allow_http": url.startswith("http://")}}


def _azure(environment: Mapping[str, str]) -> dict[str, Any]:
    """A connection string goes before single variables, as in the `az` program."""
    connection = environment.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if connection:
        return _with_http_here(_of_connection_string(connection))
    return _with_http_here({option: environment[name] for name, option in AZURE_CLI.items() if environment.get(name)})


def _of_connection_string(text: str) -> dict[str, Any]:
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        return {"use_emulator": True}
    options = {option: parts[name] for name, option in CONNECTION_STRING.items() if parts.get(name)}
    if "endpoint" not in options and "EndpointSuffix" in parts and "account_name" in options:
        options["endpoint"] = f"https://{options['account_name']}.blob.{parts['EndpointSuffix']}"
    if "sas_key" in options:
        options["sas_key"] = options["sas_key"].removeprefix("?")
    return options


def _with_http_here(options: dict[str, Any]) -> dict[str, Any]:
    """Plain http to an emulator on this machine; to another one it takes AZURE_ALLOW_HTTP."""
    endpoint = urlsplit(options.get("endpoint", ""))
    if endpoint.scheme == "http" and endpoint.hostname in LOOPBACK:
        options["client_options"] = {"allow_http": True}
    return options
