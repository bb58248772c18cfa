"""Whether a webhook comes from who has the signing key, and lately. Pure (docs/api.md, "Reporting webhooks")."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Final, NamedTuple

VERSION: Final = b"v0"
_STAMP: Final = re.compile(r"[0-9]{1,11}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class SignatureCheck(NamedTuple):
    """The signing key, and how old a webhook may be."""

    key: bytes
    window: float
    """Seconds by which its time and ours may differ."""

    def refused_stamp(self, stamp: str | None, now: float) -> str | None:
        """What is wrong with the timestamp, if anything: asked before the body is read."""
        if stamp is None or not _STAMP.fullmatch(stamp):
            return "it has no timestamp"
        if abs(now - int(stamp)) > self.window:
            return "its timestamp is outside of the replay window"
        return None

    def is_signed(self, stamp: str, signature: str | None, body: bytes) -> bool:
        """Whether the key made this signature, found out in a time that tells nothing of it."""
        wanted = hmac.new(self.key, b":".join((VERSION, stamp.encode(), body)), sha256).hexdigest()
        given = signature if signature is not None and _SIGNATURE.fullmatch(signature) else "0" * 64
        return hmac.compare_digest(wanted, given.lower())
