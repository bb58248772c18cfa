"""Which proxy, if any, stands between this machine and the API.

`--proxy` decides; without it the environment does, as for curl: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, in either case of
letters, unless NO_PROXY names the host. A server on this machine, such as the sandbox, is never behind a proxy.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NONE: Final = "none"
"""The word for `--proxy` that asks for no proxy, whatever the environment says."""


def proxy_for(base_url: str, given: str = "") -> str | None:
    """The proxy's URL, with its user and password if it has them; UsageError when it is no http URL."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if given:
        return None if given == NONE else _check(given, "--proxy")
    found: Mapping[str, str] = getproxies_environment()
    proxy = found.get(parts.scheme) or found.get("all") or ""
    if not proxy or is_loopback(host) or proxy_bypass(parts.netloc):
        return None
    return _check(proxy if "://" in proxy else f"http://{proxy}", f"{parts.scheme.upper()}_PROXY")


def is_loopback(host: str) -> bool:
    """Whether this names the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check(url: str, where: str) -> str:
    """The sentence never repeats the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(f"{where} is not a URL: it must look like http://[USER:PASSWORD@]HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{where} must look like http://[USER:PASSWORD@]HOST:PORT; no other proxy is spoken")
    return url
