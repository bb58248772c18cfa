"""The transactional outbox: a table in the application's own PostgreSQL (docs/outbox.md).

    enqueue, in the application's transaction --> sender_outbox --> sender consume --> status, beside the job

A job that is enqueued in the transaction of its order can neither be lost, nor sent for an order that was rolled back.
"""

from sender.outbox.enqueue import enqueue

__all__ = ["enqueue"]
