"""Prometheus metrics under Lambda's names, fed by telemetry events. Labels never carry request
data."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from eventmesh import telemetry
from eventmesh.observers.mapping_metrics import MappingMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900)


class Metrics:
    """One registry per mesh, so that two meshes in one process do not add up."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._invocations = Counter(
            "eventmesh_invocations", "Attempts that ran", ["function", "mode"], registry=registry
        )
        self._errors = Counter(
            "eventmesh_errors", "Attempts that failed", ["function", "type"], registry=registry
        )
        self._throttles = Counter(
            "eventmesh_throttles", "Attempts refused", ["function", "reason"], registry=registry
        )
        self._duration = Histogram(
            "eventmesh_duration_seconds",
            "Handler time",
            ["function"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._init = Histogram(
            "eventmesh_init_duration_seconds",
            "Environment start",
            ["function"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._stops = Counter(
            "eventmesh_environments_stopped", "By reason", ["function", "reason"], registry=registry
        )
        self._received = Counter(
            "eventmesh_async_events_received",
            "Stored events",
            ["function", "source"],
            registry=registry,
        )
        self._retried = Counter(
            "eventmesh_async_events_retried", "Put back", ["function"], registry=registry
        )
        self._dropped = Counter(
            "eventmesh_async_events_failed",
            "Ended in failure",
            ["function", "condition"],
            registry=registry,
        )
        self._delivered = Counter(
            "eventmesh_destination_deliveries",
            "Records delivered",
            ["function", "destination"],
            registry=registry,
        )
        self._undelivered = Counter(
            "eventmesh_destination_delivery_failures",
            "Tries that failed",
            ["function", "destination"],
            registry=registry,
        )
        self._mappings = MappingMetrics(registry)
        #: looking a metric up by its labels costs more than counting it
        self._ended: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._sources = Gauge(
            "eventmesh_source_up", "1 when the source runs", ["mapping"], registry=registry
        )

    def gauge(self, name: str, text: str) -> Gauge:
        """A gauge without labels whose value the caller sets or computes."""
        return Gauge(name, text, registry=self._registry)

    def render(self) -> bytes:
        """All metrics in Prometheus' text form."""
        return generate_latest(self._registry)

    def __call__(self, event: telemetry.TelemetryEvent) -> None:
        if isinstance(event, telemetry.LogText):
            return
        if isinstance(event, telemetry.InvocationEnded):
            self._count_invocation(event)
            return
        match event:
            case telemetry.InvocationThrottled(function, _, reason):
                self._throttles.labels(function, reason).inc()
            case telemetry.EnvironmentStarted(function):
                self._init.labels(function).observe(event.init_seconds)
            case telemetry.EnvironmentStopped(function, _, reason):
                self._stops.labels(function, reason).inc()
            case telemetry.EventsAccepted(function, source, count):
                self._received.labels(function, source).inc(count)
            case telemetry.EventRetried(function):
                self._retried.labels(function).inc()
            case telemetry.EventFailed(function):
                self._dropped.labels(function, event.condition).inc()
            case telemetry.DeliverySent(function, destination):
                self._delivered.labels(function, destination).inc()
            case telemetry.DeliveryFailed(function, destination):
                self._undelivered.labels(function, destination).inc()
            case telemetry.SourceReady(mapping):
                self._sources.labels(mapping).set(1)
            case telemetry.SourceFailed(mapping):
                self._sources.labels(mapping).set(0)
            case _:
                self._mappings(event)

    def _count_invocation(self, event: telemetry.InvocationEnded) -> None:
        key = (event.function, event.mode)
        found = self._ended.get(key)
        if found is None:
            found = self._invocations.labels(*key), self._duration.labels(event.function)
            self._ended[key] = found
        invocations, duration = found
        invocations.inc()
        duration.observe(event.result.duration_seconds)
        if event.result.function_error:
            self._errors.labels(event.function, _known_type(event.result.error_type)).inc()


def _known_type(error_type: str | None) -> str:
    """Error types are the handler's to choose: only the platform's own become label values."""
    if error_type and error_type.startswith(("Runtime.", "Sandbox.", "Function.")):
        return error_type
    return "handler"
