from eventmesh import telemetry
from eventmesh.connectors import InvocationResult
from eventmesh.observers.metrics import Metrics


def test_events_become_metrics_without_labels_from_outside() -> None:
    metrics = Metrics()
    failed = InvocationResult("i", b"", function_error="Unhandled", error_type="Evil\n{label}")
    timed_out = InvocationResult(
        "i", b"", function_error="Unhandled", error_type="Sandbox.Timedout"
    )
    for event in (
        telemetry.InvocationEnded("f", "Event", "s", 1, failed),
        telemetry.InvocationEnded("f", "Event", "s", 1, timed_out),
        telemetry.InvocationEnded("f", "RequestResponse", "api", 1, InvocationResult("i", b"1")),
        telemetry.EventsAccepted("f", "s", 3),
        telemetry.EventRetried("f", "i", 1, 60, "E", "m"),
        telemetry.EventFailed("f", "i", "RetriesExhausted", 3, "E", "m", ""),
        telemetry.InvocationThrottled("f", "Event", "ConcurrentInvocationLimitExceeded"),
        telemetry.SourceReady("m", "s3", "./in", "inotify"),
        telemetry.DeliverySent("f", "on_failure"),
        telemetry.DeliveryFailed("f", "on_failure", "down", 1),
        telemetry.EnvironmentStarted("f", "$LATEST", "e", 0.01, 7),
        telemetry.EnvironmentStopped("f", "e", "idle"),
    ):
        metrics(event)
    text = metrics.render().decode()
    for line in (
        'eventmesh_invocations_total{function="f",mode="Event"} 2.0',
        'eventmesh_errors_total{function="f",type="handler"} 1.0',
        'eventmesh_errors_total{function="f",type="Sandbox.Timedout"} 1.0',
        'eventmesh_async_events_received_total{function="f",source="s"} 3.0',
        'eventmesh_async_events_retried_total{function="f"} 1.0',
        'eventmesh_async_events_failed_total{condition="RetriesExhausted",function="f"} 1.0',
        'eventmesh_throttles_total{function="f",reason="ConcurrentInvocationLimitExceeded"} 1.0',
        'eventmesh_source_up{mapping="m"} 1.0',
        'eventmesh_destination_deliveries_total{destination="on_failure",function="f"} 1.0',
        'eventmesh_destination_delivery_failures_total{destination="on_failure",function="f"} 1.0',
        'eventmesh_environments_stopped_total{function="f",reason="idle"} 1.0',
    ):
        assert line in text
    assert "Evil" not in text
