"""The benchmarks are scripts beside each other: they find each other as they do when one of them is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
