"""Settling jobs in doubt by reading the API.

See docs/delivery-semantics.md, "Jobs in doubt"; docs/api.md, "Reading the API".

    ledger --DoubtfulJob--> reconciler --reads--> ListedDelivery --matching--> Finding --> outcome log, ledger

A job in doubt is a claimant; what the API shows is a sighting. A sighting is adopted when it is the one candidate of
the one claimant and no known delivery. That there is none is a verdict only where a later delivery of ours proves that
the same kind of query shows what came after the doubtful attempt.
"""
