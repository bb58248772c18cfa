"""The running process: event loop, signals, tasks, logs, progress, health, metrics and traces."""
