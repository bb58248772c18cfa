"""What all replicas of a workspace share in Redis or PostgreSQL: the ledger, and the pacers of its lanes.

See docs/queues-and-state.md, "Shared state".

    state = await open_state(url, workspace=..., host=...)       sender.shared_state.state_url
    state.ledger                                                 a `sender.ledger.Ledger`
    state.pacer("send", 100.0, guard=..., demand=...)            a `sender.engine.pacing.pace.Pace`

`state_server` says what a server has to do for it; `redis` and `postgres` are the two that do.

While the server is away the ledger's methods wait and the pacers give permits for reserved slots only. When it has
lost its state, or took this replica for dead, the ledger raises StateLost and the pacers stand still until `rejoin`.
"""
