"""Numbers and foreign texts in the form in which a report shows them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from sender.jobs.masking import mask

MOST_TEXT: Final = 160
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")


def clean(value: Any, most: int = MOST_TEXT) -> str:
    """A text from a file: short, on one line, without signs that steer a terminal or turn the text around."""
    text = value if isinstance(value, str) else str(value)
    text = text[: most + 1]
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clean_code(value: Any) -> str:
    """An error code, or a word for what cannot be one."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else "(unreadable code)"


def clean_message(value: Any) -> str:
    """A message of an error, masked once more."""
    return clean(mask(clean(value, 4 * MOST_TEXT))) if isinstance(value, str) else ""


def number(value: float) -> str:
    """A count with its thousands apart."""
    return f"{value:,.0f}"


def share(part: float, whole: float) -> str:
    """A percentage that never rounds something to nothing or to everything."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "<0.01 %"
    if 99.99 < percent < 100:
        return ">99.99 %"
    return f"{percent:.2f}".rstrip("0").rstrip(".") + " %"


def ms(value: float | None) -> str:
    """Milliseconds, or seconds from ten of them on."""
    if value is None:
        return "–"
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def seconds_told(value: float | None) -> str:
    """A length of time, short ones too."""
    if value is None:
        return "–"
    return f"{value:.2g} s" if value < 1 else span(round(value, 1))


def per_second(value: float) -> str:
    """A rate."""
    return f"{value:,.1f}/s" if value < 1000 else f"{value:,.0f}/s"


def span(seconds: float) -> str:
    """A length of time."""
    if seconds < 90:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {left:02} s"
