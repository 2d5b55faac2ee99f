"""Prometheus metrics of event source mappings, per mapping and shard, under Lambda's names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from eventmesh import telemetry

_RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class MappingMetrics:
    """A telemetry subscriber that counts into a registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"eventmesh_{name}", text, ["mapping", *labels], registry=registry)

        self._polled = counter("polled_events", "Records read")
        self._filtered = counter("filtered_out_events", "Records no filter passed")
        self._invoked = counter("invoked_events", "Records handed to handlers", "outcome")
        self._fill = counter("batches", "Batches by why they closed", "fill_reason")
        self._retried = counter("batch_retries", "Batches invoked again")
        self._bisected = counter("batch_bisections", "Batches halved")
        self._dropped = counter("dropped_events", "Records given up", "condition")
        self._recorded = counter("on_failure_destination_events", "Records given up and recorded")
        self._returned = counter("returned_events", "Records left unfinished", "reason")
        self._size = Histogram(
            "eventmesh_batch_records",
            "Records of one batch",
            ["mapping"],
            registry=registry,
            buckets=_RECORDS,
        )
        shard = ["mapping", "shard"]
        self._age = Gauge(
            "eventmesh_iterator_age_seconds",
            "How long ago the newest finished record had arrived",
            shard,
            registry=registry,
        )
        self._pending = Gauge(
            "eventmesh_pending_records", "Records in memory", shard, registry=registry
        )

    def __call__(self, event: telemetry.TelemetryEvent) -> None:
        match event:
            case telemetry.RecordsRead(mapping, _, received, filtered):
                self._polled.labels(mapping).inc(received)
                self._filtered.labels(mapping).inc(filtered)
            case telemetry.BatchInvoked(mapping, _, records):
                self._invoked.labels(mapping, event.outcome).inc(records)
                if event.attempt == 1 and event.outcome != "throttled":
                    self._fill.labels(mapping, event.fill_reason).inc()
                    self._size.labels(mapping).observe(records)
            case telemetry.BatchRetried(mapping):
                self._retried.labels(mapping).inc()
            case telemetry.BatchBisected(mapping):
                self._bisected.labels(mapping).inc()
            case telemetry.RecordsGivenUp(mapping, _, records):
                self._dropped.labels(mapping, event.condition).inc(records)
                if event.sent_to:
                    self._recorded.labels(mapping).inc(records)
            case telemetry.RecordsReturned(mapping, _, records, reason):
                self._returned.labels(mapping, reason).inc(records)
            case telemetry.ShardProgressed(mapping, shard):
                self._age.labels(mapping, shard).set(event.age_seconds)
                self._pending.labels(mapping, shard).set(event.pending)
            case telemetry.ShardClosed(mapping, shard):
                self._forget(mapping, shard)
            case _:
                return

    def _forget(self, mapping: str, shard: str) -> None:
        """A shard that is not read here any more has no age here."""
        for gauge in (self._age, self._pending):
            gauge.remove(mapping, shard)
