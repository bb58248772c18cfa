"""The same engine on queues (docs/queues-and-state.md, "What happens to a message").

    queue -> Reader -> WorkspaceConsumer (lanes, ledger, recorder of one workspace) -> Acknowledger -> dead letter, ack

A message is acknowledged when its job's outcome is durable, and not before; whatever is not, returns to the queue.
"""
