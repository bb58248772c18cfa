"""An HDR histogram of durations: three digits from a microsecond to an hour, in 190 KB (the extra `bench`)."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Any, Final

from sender.errors import UsageError

try:
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
except ImportError:
    raise UsageError("sender bench needs the package hdrhistogram: pip install 'sender[bench]'") from None

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
CURVE: Final = (0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.999)
_MOST: Final = 3_600_000_000
_MOST_ENCODED: Final = 1 << 20


class Histogram:
    """Durations in seconds, and what can be said of them in milliseconds."""

    def __init__(self) -> None:
        self._hdr: Any = HdrHistogram(1, _MOST, 3)

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a duration; none is shorter than a microsecond or longer than an hour."""
        self._hdr.record_value(min(_MOST, max(1, round(seconds * 1e6))), count)

    def add(self, other: Histogram) -> None:
        """Count all that the other one counted."""
        self._hdr.add(other._hdr)

    @property
    def count(self) -> int:
        """How many were counted."""
        return int(self._hdr.get_total_count())

    def at(self, percent: float) -> float:
        """Milliseconds that `percent` of 100 do not exceed."""
        return int(self._hdr.get_value_at_percentile(percent)) / 1000

    def figures(self) -> dict[str, float | None]:
        """p50, p90, p99, p99.9, max and mean in milliseconds; None where nothing was counted."""
        if not self.count:
            return dict.fromkeys((*PERCENTILES, "max", "mean"))
        found: dict[str, float | None] = {name: self.at(percent) for name, percent in PERCENTILES.items()}
        found["max"] = int(self._hdr.get_max_value()) / 1000
        found["mean"] = round(float(self._hdr.get_mean_value()) / 1000, 4)
        return found

    def curve(self) -> list[list[float]]:
        """[percentile, milliseconds] as far out as the number of values carries."""
        most = 100 - 100 / self.count if self.count else 0.0
        return [[percent, self.at(percent)] for percent in CURVE if percent <= most] if self.count else []

    def __getstate__(self) -> str:
        return self.encode()

    def __setstate__(self, text: str) -> None:
        self._hdr = HdrHistogram(1, _MOST, 3)
        self._hdr.decode_and_add(text)

    def encode(self) -> str:
        """The whole histogram as text."""
        return str(self._hdr.encode().decode())

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """What `encode` gave; ValueError for anything else."""
        found = cls()
        try:
            _refuse_bomb(text)
            hdr = HdrHistogram.decode(text)
            found._hdr.add(hdr)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error, zlib.error) as error:
            raise ValueError("not a histogram") from error
        except Exception as error:
            raise ValueError("not a histogram") from error
        return found


def _refuse_bomb(text: str) -> None:
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    reader = zlib.decompressobj()
    if len(text) > _MOST_ENCODED or len(reader.decompress(packed[8:], _MOST_ENCODED)) >= _MOST_ENCODED:
        raise ValueError("larger than any histogram")
