"""Resolving jobs in doubt by reading the API.

See docs/delivery-semantics.md, "Jobs in doubt"; docs/api.md, "Reading the API".

    ledger --DoubtfulJob--> Reconciler --reads--> ListedDelivery --matching--> Resolution --> outcome log, ledger

A job adopts a listed delivery when that is its only candidate, belongs to no known job, and no other attempt that was
ever in doubt (DoubtedAttempts), nor another sender, can have made it. A job is absent only where the list shows a later
KnownDelivery to the very matcher that found none for the job.
"""
