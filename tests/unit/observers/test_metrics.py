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


def test_mappings_are_counted_by_shard_and_outcome() -> None:
    metrics = Metrics()
    for event in (
        telemetry.RecordsRead("m", "s0", 12, 2),
        telemetry.BatchInvoked("m", "s0", 10, 4, "window", 999, 1, "partial"),
        telemetry.BatchInvoked("m", "s0", 6, 6, "window", 666, 2, "ok"),
        telemetry.BatchRetried("m", "s0", 6, 1, 1.0),
        telemetry.BatchBisected("m", "s0", 6),
        telemetry.RecordsGivenUp("m", "s0", 1, "RetryAttemptsExhausted", 3, "directory ./bad"),
        telemetry.RecordsReturned("m", "s0", 2, "stopping"),
        telemetry.ShardProgressed("m", "s0", "17", 2.5, 3),
        telemetry.ShardProgressed("m", "s1", "17", 9.5, 3),
        telemetry.ShardClosed("m", "s1", "finished"),
        telemetry.ShardClosed("m", "s2", "cancelled"),
    ):
        metrics(event)
    text = metrics.render().decode()
    for line in (
        'eventmesh_polled_events_total{mapping="m"} 12.0',
        'eventmesh_filtered_out_events_total{mapping="m"} 2.0',
        'eventmesh_invoked_events_total{mapping="m",outcome="partial"} 10.0',
        'eventmesh_invoked_events_total{mapping="m",outcome="ok"} 6.0',
        'eventmesh_batches_total{fill_reason="window",mapping="m"} 1.0',
        'eventmesh_batch_retries_total{mapping="m"} 1.0',
        'eventmesh_batch_bisections_total{mapping="m"} 1.0',
        'eventmesh_dropped_events_total{condition="RetryAttemptsExhausted",mapping="m"} 1.0',
        'eventmesh_on_failure_destination_events_total{mapping="m"} 1.0',
        'eventmesh_returned_events_total{mapping="m",reason="stopping"} 2.0',
        'eventmesh_iterator_age_seconds{mapping="m",shard="s0"} 2.5',
    ):
        assert line in text
    assert 'shard="s1"' not in text
