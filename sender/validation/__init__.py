"""Checks of a payload before it is sent: reject what the API surely refuses, warn of the rest.

See docs/api.md, "Rules of the checks". Nothing is changed: a payload is sent as it is, or not at all.
"""

from __future__ import annotations

from sender.validation.check import check
from sender.validation.check_options import Options

__all__ = ["Options", "check"]
