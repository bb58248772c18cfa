"""The App API key: from the environment or a file, never from the command line, never shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_KEY: Final = 4096


class ApiKey:
    """The key in use; when it came from a file it can be read again."""

    def __init__(self, value: str, path: Path | None = None) -> None:
        self._value = value
        self._path = path
        self.version = 1
        """Changes whenever another key is in use."""
        self.problem: str | None = None
        """Why the file holds no key just now; the one before stays in use."""

    @classmethod
    def load(cls, path: str, environment: Mapping[str, str] | None = None) -> ApiKey:
        """From `path` if one is given, else from SENDER_API_KEY; UsageError when there is none or it cannot be one."""
        environment = os.environ if environment is None else environment
        if path:
            return cls(_read(Path(path)), Path(path))
        text = environment.get("SENDER_API_KEY", "")
        if not text.strip():
            raise UsageError("there is no API key: set SENDER_API_KEY, or name a file with --api-key-file")
        return cls(_check(text, "SENDER_API_KEY"))

    def __call__(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey(***)"

    @classmethod
    def follow(cls, path: str, environment: Mapping[str, str] | None = None) -> ApiKey:
        """The same for a run that can wait for its file to be mended: `problem` says why there is no key yet."""
        if not path:
            return cls.load(path, environment)
        key = cls("", Path(path))
        key.reload()
        return key

    def reload(self) -> bool:
        """Read the file again; whether the key has changed."""
        if self._path is None:
            return False
        try:
            value = _read(self._path)
        except UsageError as error:
            self.problem = str(error)
            return False
        self.problem = None
        changed = value != self._value
        self.version += changed
        self._value = value
        return changed


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_KEY + 1).decode("ascii")
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the key file {path} does not hold a key: it is not ASCII text") from None
    if len(text) > MOST_KEY:
        raise UsageError(f"the key file {path} does not hold a key: it is longer than {MOST_KEY:,} characters")
    return _check(text, f"the key file {path}")


def _check(text: str, where: str) -> str:
    key = text.strip()
    if not key:
        raise UsageError(f"{where} is empty; it must hold the App API key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where} does not hold a key: it has spaces, line ends or other signs that no key has")
    return key
