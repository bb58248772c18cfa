"""The front-end for queues (docs/queues-and-state.md, "What happens to a message").

    Consumer: signals, readers, and a WorkspaceTask for each workspace, which opens a WorkspaceConsumer again and again

    queue -> Reader -> WorkspaceConsumer: Dispatcher -> Session -> Completer -> Acknowledger -> broker
                                             |                        |             |
                                             +------ InFlight: one record per identity

A message is acknowledged when its job's outcome is durable, and not before; whatever is not, returns to the queue.
"""
