"""The load benchmark: an open loop over the engine's own transport, and figures that leave nothing out.

    schedule --planned start--> driver --request--> transport --answer--> measures --> result --> text, JSON, verdicts

Arrivals keep their schedule whatever the server does. Latency counts from the planned start, so a server that stands
still is charged for every request that should have begun meanwhile; service time counts from the real start.
"""
