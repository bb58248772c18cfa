"""The run's memory of its jobs; see `sender.ledger.ledger.Ledger`."""

from sender.ledger.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord, Ledger, State

__all__ = ["Doubt", "FinalRecord", "HandOverRecord", "JobRecord", "Ledger", "State"]
