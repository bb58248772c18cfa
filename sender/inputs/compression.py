"""Compressed files: gzip, bzip2 and zstd, piece by piece, and never far more than a file can mean."""

from __future__ import annotations

import bz2
import gzip
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

from sender.errors import InputError
from sender.inputs.extras import imported

if TYPE_CHECKING:
    from sender.inputs.chunks import Place

MOST_GROWTH: Final = 250
"""Times that a file may grow; what programs write grows 5 to 50 times."""
FREE: Final = 64 << 20
"""Bytes up to which it may grow in any case."""
MOST_WINDOW: Final = 26
"""A zstd file may ask for two to the power of this many bytes of memory: 64 MiB."""
ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def decompressed(raw: Place, name: str, compression: str, size: int) -> Decompressed:
    """A reader of what the file holds; UsageError when a package is missing for it."""
    if compression == "gzip":
        return Decompressed(gzip.GzipFile(fileobj=raw, mode="rb"), raw, name, size)
    if compression == "bzip2":
        return Decompressed(bz2.BZ2File(raw), raw, name, size)
    zstd = imported(ZSTD, "zstd", f"{name} is compressed with zstd")
    options = {zstd.DecompressionParameter.window_log_max: MOST_WINDOW}
    return Decompressed(zstd.ZstdFile(raw, options=options), raw, name, size, zstd.ZstdError)


class Decompressed:
    """See `sender.inputs.chunks.ChunkReader`."""

    def __init__(self, file: Any, raw: Place, name: str, size: int, error: type[Exception] = OSError) -> None:
        self._file = file
        self._raw = raw
        self._name = name
        self._size = size
        self._error = error
        self._start = raw.place
        self._given = 0

    def read(self) -> bytes:
        """See `ChunkReader.read`."""
        try:
            data: bytes = self._file.read1(self._size)
        except (EOFError, OSError, zlib.error, self._error) as error:
            raise self._broken("is cut off" if isinstance(error, EOFError) else "is damaged") from None
        self._given += len(data)
        if self._given > FREE and self._given > MOST_GROWTH * (self._raw.place - self._start):
            raise InputError(
                f"{self._name} grows more than {MOST_GROWTH} times when it is decompressed, which only files made to "
                "do harm do; decompress it yourself if you trust it"
            )
        return data

    def _broken(self, how: str) -> InputError:
        return InputError(f"{self._name} {how}: what was read of it stands; get the whole file and run again")
