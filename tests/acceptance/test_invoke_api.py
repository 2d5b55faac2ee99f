"""boto3 drives the running engine (semantics 1.1-1.5, 2)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.acceptance.engine import Engine, eventually

HANDLERS = """
import json, os, sys, time
COUNT = 0
def echo(event, context):
    return event
def describe(event, context):
    global COUNT
    COUNT += 1
    print("describing")
    return {"id": context.aws_request_id, "arn": context.invoked_function_arn, "memory":
    context.memory_limit_in_mb,
            "client": context.client_context and context.client_context.custom, "count": COUNT}
def fail(event, context):
    raise ValueError("no " + str(event))
def slow(event, context):
    if "mark" in event:
        open(event["mark"], "w").close()
    time.sleep(event["seconds"])
    return "done"
def record(event, context):
    with open(os.environ["RECORD"], "a") as out:
        out.write(json.dumps([context.aws_request_id, event]) + "\\n")
    if event.get("fail"):
        raise RuntimeError("asked to")
    return {"ok": event}
"""
CONFIG = """
functions:
  echo: {handler: app.echo}
  describe: {handler: app.describe, memory: 256}
  fail: {handler: app.fail}
  slow: {handler: app.slow, timeout: 1s}
  reserved: {handler: app.slow, timeout: 10s, reserved_concurrency: 1}
  stopped: {handler: app.record, reserved_concurrency: 0, env: {RECORD: "${RECORD}"}, on_failure:
  {directory: ./failed}}
  recorded:
    handler: app.record
    env: {RECORD: "${RECORD}"}
    on_success: {function: after}
    on_failure: {directory: ./failed}
    dead_letter_queue: {directory: ./dead}
  after: {handler: app.record, env: {RECORD: "${RECORD}.after"}}
server: {http: "${HTTP}"}
state: "${STATE}"
asynchronous: {retry_delay: 20ms}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("invoke")
    (directory / "app.py").write_text(HANDLERS)
    (directory / "mappings.yaml").write_text(CONFIG)
    running = Engine(
        directory / "mappings.yaml", directory, {"RECORD": str(directory / "record")}
    ).start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def aws(engine: Engine) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{engine.port}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_request_response(aws: Any) -> None:
    answer = aws.invoke(FunctionName="echo", Payload=b'{"a": [1, "\\u00e9"]}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"a": [1, "é"]}


@pytest.mark.parametrize("payload", [b"null", b"3", b'"x"', b"[]", b"true"])
def test_any_json_value_is_an_event(aws: Any, payload: bytes) -> None:
    assert aws.invoke(FunctionName="echo", Payload=payload)["Payload"].read() == payload


def test_no_payload_is_an_empty_object(aws: Any) -> None:
    assert aws.invoke(FunctionName="echo")["Payload"].read() == b"{}"


def test_the_context_and_the_warm_environment(aws: Any) -> None:
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    answers = [
        aws.invoke(FunctionName="describe", ClientContext=context, LogType="Tail") for _ in "ab"
    ]
    first, second = [json.loads(answer["Payload"].read()) for answer in answers]
    assert (first["count"], second["count"]) == (1, 2)
    assert first["id"] == answers[0]["ResponseMetadata"]["RequestId"] != second["id"]
    assert first["arn"] == "arn:aws:lambda:us-east-1:000000000000:function:describe"
    assert (first["memory"], first["client"]) == ("256", {"k": "v"})
    log = base64.b64decode(answers[1]["LogResult"]).decode()
    assert log.startswith(
        f"START RequestId: {second['id']} Version: $LATEST\ndescribing\nEND RequestId: "
    )
    assert "\tMemory Size: 256 MB\tMax Memory Used: " in log


def test_a_qualified_arn(aws: Any) -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:describe:$LATEST"
    answer = aws.invoke(FunctionName=arn)
    assert json.loads(answer["Payload"].read())["arn"] == arn
    with pytest.raises(ClientError, match="derived qualifier"):
        aws.invoke(FunctionName=arn, Qualifier="1")


def test_a_failing_handler_is_status_200_and_a_function_error(aws: Any) -> None:
    answer = aws.invoke(FunctionName="fail", Payload=b'"way"', LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = json.loads(answer["Payload"].read())
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"]) == ("no way", "ValueError")
    assert 'raise ValueError("no " + str(event))' in error["stackTrace"][0]
    assert "[ERROR] ValueError: no way" in base64.b64decode(answer["LogResult"]).decode()


def test_a_timeout(aws: Any) -> None:
    answer = aws.invoke(FunctionName="slow", Payload=b'{"seconds": 60}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert json.loads(answer["Payload"].read()) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert aws.invoke(FunctionName="slow", Payload=b'{"seconds": 0}')["Payload"].read() == b'"done"'


def test_errors_have_awss_classes_and_texts(aws: Any, engine: Engine) -> None:
    with pytest.raises(aws.exceptions.ResourceNotFoundException) as absent:
        aws.invoke(FunctionName="absent")
    assert absent.value.response["Error"]["Message"] == (
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent:$LATEST"
    )
    with pytest.raises(
        aws.exceptions.InvalidRequestContentException, match="Could not parse request body"
    ):
        aws.invoke(FunctionName="echo", Payload=b"{")
    with pytest.raises(aws.exceptions.RequestTooLargeException):
        aws.invoke(FunctionName="echo", Payload=b'"' + b"x" * 6 * 1024 * 1024 + b'"')
    with pytest.raises(aws.exceptions.RequestTooLargeException):
        aws.invoke(
            FunctionName="echo", InvocationType="Event", Payload=b'"' + b"x" * 1024 * 1024 + b'"'
        )
    for headers, code in [
        ({"X-Amz-Invocation-Type": "Foo"}, "ValidationException"),
        ({"X-Amz-Log-Type": "Head"}, "ValidationException"),
        ({"X-Amz-Client-Context": "***"}, "InvalidRequestContentException"),
    ]:
        path = "/2015-03-31/functions/echo/invocations"
        status, answered, _ = engine.request("POST", path, b"{}", headers)
        assert (status, answered["x-amzn-ErrorType"]) == (400, code)


@pytest.mark.parametrize("name", ["..%2fx", "%2e%2e", "a%00b", "%c0%ae", "x" * 65, "a%20b"])
def test_names_that_are_none(engine: Engine, name: str) -> None:
    status, headers, _ = engine.request("POST", f"/2015-03-31/functions/{name}/invocations", b"{}")
    assert status in (400, 404)
    assert headers.get("x-amzn-ErrorType", "ValidationException") == "ValidationException"


def test_reserved_concurrency_throttles(aws: Any, engine: Engine) -> None:
    mark = engine.directory / "running"
    event = json.dumps({"seconds": 3, "mark": str(mark)}).encode()
    call = {"FunctionName": "reserved", "Payload": event}
    first = threading.Thread(target=aws.invoke, kwargs=call)
    first.start()
    eventually(mark.exists)
    with pytest.raises(aws.exceptions.TooManyRequestsException) as throttled:
        aws.invoke(FunctionName="reserved", Payload=b'{"seconds": 0}')
    first.join()
    answer = throttled.value.response
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert answer["Error"]["Message"] == "Rate Exceeded."


def test_dry_run(aws: Any) -> None:
    assert aws.invoke(FunctionName="fail", InvocationType="DryRun")["StatusCode"] == 204


def test_an_asynchronous_event_succeeds_once_and_its_record_reaches_the_next_function(
    aws: Any, engine: Engine
) -> None:
    answer = aws.invoke(FunctionName="recorded", InvocationType="Event", Payload=b'{"n": 1}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    request_id = answer["ResponseMetadata"]["RequestId"]
    after = eventually(lambda: lines(engine.directory / "record.after"))
    assert [request_id, {"n": 1}] in lines(engine.directory / "record")
    record = after[0][1]
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:recorded:$LATEST",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert (record["requestPayload"], record["responsePayload"]) == ({"n": 1}, {"ok": {"n": 1}})


def test_an_asynchronous_event_that_fails_is_tried_three_times_under_one_id(
    aws: Any, engine: Engine
) -> None:
    event = b'{"n": 2, "fail": true}'
    answer = aws.invoke(FunctionName="recorded", InvocationType="Event", Payload=event)
    request_id = answer["ResponseMetadata"]["RequestId"]

    def outcome(folder: str) -> list[Path]:
        return list((engine.directory / folder).glob(f"*{request_id}*.json"))

    record = json.loads(eventually(lambda: outcome("failed"))[0].read_bytes())
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert eventually(lambda: outcome("dead"))[0].read_bytes() == event
    attempts = [row for row in lines(engine.directory / "record") if row[0] == request_id]
    assert len(attempts) == 3


def test_reserved_concurrency_zero_ends_without_an_attempt(aws: Any, engine: Engine) -> None:
    answer = aws.invoke(FunctionName="stopped", InvocationType="Event", Payload=b'{"n": 3}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    folder = engine.directory / "failed"
    found = eventually(lambda: list(folder.glob(f"*{request_id}*.json")))
    record = json.loads(found[0].read_bytes())
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not {"responseContext", "responsePayload"} & set(record)


def test_metrics_and_health(engine: Engine) -> None:
    engine.invoke("echo", 1)
    status, headers, body = engine.get("/metrics")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert b'eventmesh_invocations_total{function="echo",mode="RequestResponse"}' in body
    assert engine.get("/healthz")[0] == 200
    assert engine.get("/readyz")[0] == 200
