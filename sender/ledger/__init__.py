"""The run's memory of its jobs; see `sender.ledger.ledger.Ledger`."""

from sender.ledger.ledger import LOST_NOTE, Doubt, FinalRecord, HandOverRecord, JobRecord, Ledger, State

__all__ = ["LOST_NOTE", "Doubt", "FinalRecord", "HandOverRecord", "JobRecord", "Ledger", "State"]
