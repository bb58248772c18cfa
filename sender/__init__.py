"""sender delivers a pile of jobs to the Customer.io App API: paced to its limit, nothing lost, nothing twice."""

from sender.runtime.lazy_exports import lazy_exports

__version__ = "0.1.0"

# The command line starts without the library; the types stand in `__init__.pyi` (docs/library.md).
__getattr__ = lazy_exports(
    __name__,
    {
        "HaltError": "sender.errors",
        "Outcome": "sender.outcomes.outcome",
        "SendSession": "sender.send.library",
        "Settings": "sender.config.settings",
        "UsageError": "sender.errors",
        "open_session": "sender.send.library",
    },
)
