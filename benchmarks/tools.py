"""Installs the load generators that sender is measured beside: python benchmarks/tools.py [NAME…]

They go into `.bench-tools/`, which git ignores: Go's by `go build`, Rust's by `cargo install`, C's as packages of
Debian that are unpacked there, JavaScript's by npm. One that cannot be had is told, with the end of what its installer
said, in `.bench-tools/missing.json`; the tables name it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

TOOLS: Final = ROOT / ".bench-tools"
BIN: Final = TOOLS / "bin"
MISSING: Final = TOOLS / "missing.json"
SECONDS: Final = 2400
"""For one of them; k6 and oha take minutes of one core."""
_WRAPPER: Final = """#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")/{name}
LD_LIBRARY_PATH=$(find "$here" -name '*.so*' -exec dirname {{}} + | sort -u | paste -s -d : -)
export LD_LIBRARY_PATH
exec "$here/usr/bin/{name}" "$@"
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """Where one of them comes from."""

    name: str
    by: str
    """`go`, `cargo`, `npm` or `apt`."""
    what: tuple[str, ...]
    """A module or crate with its version, or packages: the tool's own and the libraries that it needs."""

    @property
    def origin(self) -> str:
        """For the table."""
        return f"{self.by}: {self.what[0]}"


ALL: Final = (
    Tool("wrk", "apt", ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")),
    Tool("h2load", "apt", ("nghttp2-client", "libnghttp2-14", "libev4", "libjansson4", "libjemalloc2")),
    Tool("autocannon", "npm", ("autocannon@9.0.0",)),
    Tool("hey", "go", ("github.com/rakyll/hey@v0.1.5",)),
    Tool("vegeta", "go", ("github.com/tsenart/vegeta/v12@v12.12.0",)),
    Tool("k6", "go", ("go.k6.io/k6@v1.8.1",)),
    Tool("oha", "cargo", ("oha@1.16.0",)),
)


def found(name: str) -> str | None:
    """The program's path: what is installed here, else the machine's own."""
    here = BIN / name
    return str(here) if here.exists() else shutil.which(name)


def missing() -> dict[str, str]:
    """Why the last installation had not those that it had not."""
    found: dict[str, str] = json.loads(MISSING.read_text()) if MISSING.exists() else {}
    return found


def install(tool: Tool) -> str | None:
    """None, or why it cannot be had."""
    if (BIN / tool.name).exists():
        return None
    try:
        with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
            HOW[tool.by](tool, folder)
    except FileNotFoundError as error:
        return f"there is no {error.filename} here"
    except subprocess.TimeoutExpired:
        return f"not done within {SECONDS} s"
    except subprocess.CalledProcessError as error:
        said: list[str] = (error.stderr or error.stdout).strip().splitlines() or [f"exit status {error.returncode}"]
        return said[-1].strip()[:200]
    return None if (BIN / tool.name).exists() else "its installer left no program of that name"


def _go(tool: Tool, folder: str) -> None:
    """A module of one requirement is built: `go install` asks a proxy for the list of versions, which some refuse."""
    module, _, version = tool.what[0].partition("@")
    _run("go", "mod", "init", "tools", cwd=folder)
    _run("go", "mod", "edit", f"-require={module}@{version}", cwd=folder)
    _run("go", "build", "-mod=mod", "-o", str(BIN / tool.name), module, cwd=folder)


def _cargo(tool: Tool, folder: str) -> None:
    where = ("--root", str(TOOLS), "--target-dir", str(Path(folder) / "target"))
    _run("cargo", "install", "--quiet", "--locked", *where, *tool.what, cwd=folder)


def _npm(tool: Tool, folder: str) -> None:
    _run("npm", "install", "--silent", "--no-save", "--prefix", str(TOOLS), *tool.what, cwd=folder)
    (BIN / tool.name).symlink_to(Path("..") / "node_modules" / ".bin" / tool.name)


def _apt(tool: Tool, folder: str) -> None:
    """Packages are downloaded and unpacked, not installed: that needs no root, and leaves the machine as it is."""
    root = TOOLS / tool.name
    _run("apt-get", "download", *tool.what, cwd=folder)
    for package in Path(folder).glob("*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(root), cwd=folder)
    wrapper = BIN / tool.name
    wrapper.write_text(_WRAPPER.format(name=tool.name))
    wrapper.chmod(0o755)


def _run(*command: str, cwd: str) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=SECONDS)


HOW: Final[dict[str, Callable[[Tool, str], None]]] = {"go": _go, "cargo": _cargo, "npm": _npm, "apt": _apt}


def main() -> int:
    BIN.mkdir(parents=True, exist_ok=True)
    why = missing()
    for tool in ALL:
        if not sys.argv[1:] or tool.name in sys.argv[1:]:
            print(f"{tool.name}: ", end="", flush=True)
            reason = install(tool)
            why.pop(tool.name, None)
            if reason:
                why[tool.name] = reason
            MISSING.write_text(json.dumps(why, indent=2) + "\n")
            print(reason or found(tool.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
