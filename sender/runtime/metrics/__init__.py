"""What a run tells of itself to Prometheus.

    engine --observe_…--> WorkspaceMetrics --> counters, histograms --+
                                                                      +--> ReplicaMetrics.render --> /metrics
    lanes, ledger, conditions <--looked at at each scrape-- Gauges ---+

The engine always has somebody to tell: without `--health-port` that is `NoMetrics`, and prometheus-client (the extra
`metrics`) is imported by `replica_metrics` and what it stands on, only then.
"""

from sender.runtime.metrics.observer import NoMetrics, Observer, commit_time

__all__ = ["NoMetrics", "Observer", "commit_time"]
