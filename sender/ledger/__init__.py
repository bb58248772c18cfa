"""The run's memory of its jobs; see `sender.ledger.ledger.Ledger`."""

from sender.ledger.ledger import Api, Doubt, FinalRecord, HandOverRecord, JobRecord, Ledger, State

__all__ = ["Api", "Doubt", "FinalRecord", "HandOverRecord", "JobRecord", "Ledger", "State"]
