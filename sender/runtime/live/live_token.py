"""The token of a live page: from a file, never shown, compared in constant time."""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Final

from sender.errors import UsageError

LEAST: Final = 16
MOST: Final = 4096


class LiveToken:
    """Who has it may pause, resume, change the rate, and work on dead letters."""

    def __init__(self, text: str) -> None:
        self._digest = sha256(text.encode()).digest()

    def __repr__(self) -> str:
        return "LiveToken(***)"

    @classmethod
    def read(cls, path: str) -> LiveToken:
        """UsageError when the file holds none that nobody guesses."""
        try:
            with Path(path).open("rb") as file:
                text = file.read(MOST + 1).decode("ascii").strip()
        except OSError as error:
            raise UsageError(f"--live-token-file {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"--live-token-file {path} does not hold a token: it is not ASCII text") from None
        if not LEAST <= len(text) <= MOST or not text.isprintable() or " " in text:
            raise UsageError(
                f"--live-token-file {path} does not hold a token: it has to be one word of {LEAST} to {MOST:,} signs, "
                "as from: openssl rand -hex 24"
            )
        return cls(text)

    def is_in(self, authorization: str) -> bool:
        """Whether a header `Authorization: Bearer …` carries it; takes as long for a wrong one."""
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(sha256(given.strip().encode(errors="replace")).digest(), self._digest)
        return same and scheme.lower() == "bearer"
