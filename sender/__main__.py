"""`python -m sender` is the command `sender`."""

from sender.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
