"""Sample events of services around a function: WebSocket APIs, logs, Firehose, Cognito and others
(semantics 8.7, 8.8)."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from typing import Any
from urllib.parse import quote_plus

from eventmesh.cli.samples_scene import (
    Event,
    Sample,
    Scene,
    choose,
    encode_text,
    parse_object,
)

_ROUTES = {"CONNECT": "$connect", "MESSAGE": "$default", "DISCONNECT": "$disconnect"}
#: trigger -> what it adds to the request, and its empty response
_COGNITO: dict[str, tuple[Event, Event]] = {
    "PreSignUp_SignUp": (
        {"validationData": None},
        {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    ),
    "PostConfirmation_ConfirmSignUp": ({}, {}),
    "PreAuthentication_Authentication": ({"validationData": None}, {}),
    "PostAuthentication_Authentication": ({"newDeviceUsed": False}, {}),
    "TokenGeneration_Authentication": (
        {
            "groupConfiguration": {
                "groupsToOverride": [],
                "iamRolesToOverride": [],
                "preferredRole": None,
            }
        },
        {"claimsOverrideDetails": None},
    ),
    "CustomMessage_SignUp": (
        {"codeParameter": "{####}", "linkParameter": "{##Click Here##}", "usernameParameter": None},
        {"smsMessage": None, "emailMessage": None, "emailSubject": None},
    ),
}


def _websocket(
    scene: Scene,
    *,
    event: str = "MESSAGE",
    body: str = '{"action": "chat", "text": "hello"}',
    route: str = "",
    connection: str = "",
    stage: str = "prod",
) -> Event:
    """`route` is that of a message (`$default`); `connection` names the client (a new one)."""
    choose("event", event, _ROUTES)
    api = scene.letters(10).lower()
    domain = f"{api}.execute-api.{scene.region}.amazonaws.com"
    request = scene.token(11)
    context: Event = {
        "routeKey": (route if event == "MESSAGE" else "") or _ROUTES[event],
        "eventType": event,
        "extendedRequestId": request,
        "requestTime": scene.log_time,
        "messageDirection": "IN",
        "stage": stage,
        "connectedAt": scene.milliseconds - 10,
        "requestTimeEpoch": scene.milliseconds,
        "identity": {"sourceIp": "203.0.113.7"},
        "requestId": request,
        "domainName": domain,
        "connectionId": connection or scene.token(11),
        "apiId": api,
    }
    if event == "MESSAGE":
        context["messageId"] = scene.token(11)
        return {"requestContext": context, "body": body, "isBase64Encoded": False}
    if event == "DISCONNECT":
        context |= {"disconnectStatusCode": 1000, "disconnectReason": ""}
    return {**_handshake(scene, domain), "requestContext": context, "isBase64Encoded": False}


def _handshake(scene: Scene, domain: str) -> Event:
    headers = {
        "Host": domain,
        "Sec-WebSocket-Key": scene.token(16),
        "Sec-WebSocket-Version": "13",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
    }


def _cloudwatch_logs(
    scene: Scene,
    *,
    log_group: str = "/aws/lambda/my-function",
    log_stream: str = "2024/03/21/[$LATEST]0123456789abcdef",
    message: str = "ERROR something went wrong",
    filter_name: str = "my-filter",
) -> Event:
    first = int("3" + scene.digits(55))
    content = {
        "messageType": "DATA_MESSAGE",
        "owner": scene.account,
        "logGroup": log_group,
        "logStream": log_stream,
        "subscriptionFilters": [filter_name],
        "logEvents": [
            {"id": str(first + number), "timestamp": scene.milliseconds, "message": message}
            for number in range(scene.count)
        ],
    }
    packed = gzip.compress(json.dumps(content).encode(), mtime=0)
    return {"awslogs": {"data": base64.b64encode(packed).decode()}}


def _firehose(
    scene: Scene,
    *,
    stream: str = "my-delivery-stream",
    data: str = '{"order": 1}',
    source_stream: str = "",
    partition_key: str = "order-1",
) -> Event:
    """`source_stream` is the Kinesis stream the delivery stream reads, if any."""
    event: Event = {
        "invocationId": scene.uuid(),
        "deliveryStreamArn": scene.arn("firehose", f"deliverystream/{stream}"),
    }
    if source_stream:
        event["sourceKinesisStreamArn"] = scene.arn("kinesis", f"stream/{source_stream}")
    first = int("49" + scene.digits(54))
    event["region"] = scene.region
    event["records"] = [
        {
            "recordId": str(first + number),
            "approximateArrivalTimestamp": scene.milliseconds,
            "data": encode_text(data),
            **(
                _kinesis_metadata(scene, str(first + number), partition_key)
                if source_stream
                else {}
            ),
        }
        for number in range(scene.count)
    ]
    return event


def _kinesis_metadata(scene: Scene, sequence_number: str, partition_key: str) -> Event:
    return {
        "kinesisRecordMetadata": {
            "shardId": "shardId-000000000000",
            "partitionKey": partition_key,
            "approximateArrivalTimestamp": scene.milliseconds,
            "sequenceNumber": sequence_number,
            "subsequenceNumber": "",
        }
    }


def _cognito(
    scene: Scene,
    *,
    trigger: str = "PreSignUp_SignUp",
    user: str = "jane",
    email: str = "jane@example.com",
    user_pool: str = "",
) -> Event:
    choose("trigger", trigger, _COGNITO)
    added, response = copy.deepcopy(_COGNITO[trigger])
    attributes = {"sub": scene.uuid(), "email": email}
    return {
        "version": "1",
        "triggerSource": trigger,
        "region": scene.region,
        "userPoolId": user_pool or f"{scene.region}_{scene.letters(9)}",
        "userName": user,
        "callerContext": {
            "awsSdkVersion": "aws-sdk-unknown-unknown",
            "clientId": scene.letters(26).lower(),
        },
        "request": {"userAttributes": attributes, **added},
        "response": response,
    }


def _s3_batch(
    scene: Scene,
    *,
    bucket: str = "my-bucket",
    key: str = "photos/my cat.jpg",
    version_id: str = "",
) -> Event:
    """`key` as people write it; the event has it encoded."""
    tasks = [
        {
            "taskId": scene.token(15),
            "s3Key": quote_plus(key, safe="/"),
            "s3VersionId": version_id or None,
            "s3BucketArn": f"arn:aws:s3:::{bucket}",
        }
        for _ in range(scene.count)
    ]
    return {
        "invocationSchemaVersion": "1.0",
        "invocationId": scene.token(40),
        "job": {"id": scene.uuid()},
        "tasks": tasks,
    }


def _step_functions(scene: Scene, *, input: str = '{"order": 1}', token: bool = False) -> Event:
    """`token` adds what `.waitForTaskToken` states pass on by convention."""
    event = parse_object("input", input)
    return event | ({"TaskToken": scene.token(300)} if token else {})


def _codepipeline(
    scene: Scene,
    *,
    function: str = "my-function",
    user_parameters: str = "",
    bucket: str = "my-artifacts",
    key: str = "source.zip",
) -> Event:
    configuration = {"FunctionName": function}
    if user_parameters:
        configuration["UserParameters"] = user_parameters
    artifact = {
        "name": "SourceArtifact",
        "revision": None,
        "location": {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}},
    }
    data: dict[str, Any] = {
        "actionConfiguration": {"configuration": configuration},
        "inputArtifacts": [artifact],
        "outputArtifacts": [],
        "artifactCredentials": {
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "secretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "sessionToken": scene.token(48),
        },
    }
    return {"CodePipeline.job": {"id": scene.uuid(), "accountId": scene.account, "data": data}}


def _config_scheduled(
    scene: Scene, *, rule: str = "my-rule", parameters: str = "{}", role: str = "config-role"
) -> Event:
    parse_object("parameters", parameters)
    identifier = f"config-rule-{scene.letters(6).lower()}"
    notification = {
        "awsAccountId": scene.account,
        "notificationCreationTime": scene.iso_milliseconds,
        "messageType": "ScheduledNotification",
        "recordVersion": "1.0",
    }
    return {
        "version": "1.0",
        "invokingEvent": json.dumps(notification),
        "ruleParameters": parameters,
        "resultToken": scene.token(96),
        "eventLeftScope": False,
        "executionRoleArn": f"arn:aws:iam::{scene.account}:role/{role}",
        "configRuleArn": scene.arn("config", f"config-rule/{identifier}"),
        "configRuleName": rule,
        "configRuleId": identifier,
        "accountId": scene.account,
    }


SERVICE_SAMPLES = {
    "cloudwatch-logs": Sample("log lines of a subscription", _cloudwatch_logs, batched=True),
    "codepipeline": Sample("a job of a CodePipeline action", _codepipeline),
    "cognito": Sample("a trigger of a Cognito user pool", _cognito),
    "config-scheduled": Sample("a periodic AWS Config rule", _config_scheduled),
    "firehose": Sample("records for a Firehose transformation", _firehose, batched=True),
    "s3-batch": Sample("tasks of an S3 Batch Operations job", _s3_batch, batched=True),
    "step-functions": Sample("the input of a Step Functions task", _step_functions),
    "websocket": Sample("a message or connection of a WebSocket API", _websocket),
}
