"""`python -m sender.sandbox` is `sender sandbox`."""

from sender.cli import main

if __name__ == "__main__":
    import sys

    raise SystemExit(main(["sandbox", *sys.argv[1:]]))
