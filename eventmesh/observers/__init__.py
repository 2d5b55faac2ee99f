"""Subscribers to the telemetry events: log lines and metrics. Nothing else in the engine logs or
counts."""
