"""What happens to a run is an exception; what happens to a job is a value (see `outcome`)."""


class SenderError(Exception):
    """A sentence for the user: what was wrong, where, and what to do."""


class UsageError(SenderError):
    """A wrong option, key, file or configuration: nothing was sent, exit 2."""


class StateAway(UsageError):  # noqa: N818 - it says what is
    """The shared state does not answer: whoever can wait tries again, a run that was just started gives up."""


class HaltError(SenderError):
    """The run has to stop before its end: exit 3, the same command goes on where it stopped."""


class OutputError(HaltError):
    """The ledger or the outcome log cannot be written: nothing further may be sent."""


class FaultError(HaltError):
    """A fault of sender itself, told by its kind and place alone: its message may hold somebody's data."""

    def __init__(self, error: BaseException) -> None:
        from traceback import extract_tb

        place = extract_tb(error.__traceback__)[-1:]
        file = place[0].filename.rpartition("/")[2] if place else ""
        where = f" at {file}:{place[0].lineno}" if place else ""
        super().__init__(f"a fault of sender itself, {type(error).__name__}{where}; please report it")


class InputError(HaltError):
    """An input broke while it was read; what was read before stands."""


class StateLost(OutputError):  # noqa: N818 - it says what happened
    """The shared state was lost, or took this replica for dead: stop the lanes, `rejoin`, start anew."""
