"""The same engine on queues (CONTRACT section 7).

    queue -> Reader -> Station (one workspace: intake, lanes, memory, books) -> Closer -> dead letter, ack
                          |
                          v
                      recorder -> ledger or shared state, outcomes

A message is acknowledged when its job's outcome is durable, and not before; whatever is not, returns to the queue.
"""
