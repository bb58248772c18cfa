"""`python -m sender.sandbox` is `sender sandbox`."""

from __future__ import annotations

import argparse
import sys

from sender.commands import sandbox
from sender.errors import UsageError


def main(argv: list[str] | None = None) -> int:
    """Run the stand-in until it is told to stop."""
    parser = argparse.ArgumentParser(prog="sender sandbox", description=sandbox.HELP)
    sandbox.add_arguments(parser)
    try:
        return sandbox.run(parser.parse_args(argv))
    except UsageError as error:
        print(f"sender sandbox: {error}", file=sys.stderr)  # noqa: T201 - it is the command's own voice
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
