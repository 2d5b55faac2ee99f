"""Services of AWS in memory, as far as the connectors' tests need them: botocore's calls, no
network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from eventmesh_connectors.aws import AwsAccess

ARN = "arn:aws:sqs:eu-west-1:123456789012:orders"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


class FakeClient:
    """What `open_client` returns."""

    def __init__(self, api: Any, endpoint_url: str = "https://sqs.eu-west-1.amazonaws.com") -> None:
        self.api = api
        self.region = "eu-west-1"
        self.endpoint_url = endpoint_url
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Opening:
    """Stands in for `open_client`; keeps what was asked for."""

    def __init__(self, client: FakeClient) -> None:
        self.client = client
        self.asked: list[tuple[str, AwsAccess]] = []

    async def __call__(self, service: str, access: AwsAccess, region: str = "") -> Any:
        self.asked.append((service, access))
        return self.client


class FakeSqs:
    """A queue: receives wait until `put`; deletes and hides are recorded."""

    def __init__(self, visibility: str = "30", names: Mapping[str, str] | None = None) -> None:
        self.visibility = visibility
        self.names = {"orders": URL} if names is None else dict(names)
        self.waiting: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.received: list[dict[str, Any]] = []
        self.deleted: list[list[str]] = []
        self.hidden: list[tuple[str, int]] = []
        self.sent: list[dict[str, Any]] = []
        #: for each coming delete: receipt handle -> (code, SenderFault)
        self.failures: list[dict[str, tuple[str, bool]]] = []
        self.before_receive: Callable[[], None] = lambda: None

    def put(self, *messages: dict[str, Any]) -> None:
        self.waiting.put_nowait(list(messages))

    async def get_queue_url(self, **request: Any) -> Any:
        if request["QueueName"] not in self.names:
            raise client_error("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl")
        return {"QueueUrl": self.names[request["QueueName"]]}

    async def get_queue_attributes(self, **request: Any) -> Any:
        return {"Attributes": {"QueueArn": ARN, "VisibilityTimeout": self.visibility}}

    async def list_queues(self, **request: Any) -> Any:
        return {"QueueUrls": list(self.names.values())}

    async def receive_message(self, **request: Any) -> Any:
        self.before_receive()
        self.received.append(request)
        return {"Messages": await self.waiting.get()}

    async def send_message(self, **request: Any) -> Any:
        self.sent.append(request)
        return {"MessageId": "m"}

    async def delete_message_batch(self, **request: Any) -> Any:
        entries = request["Entries"]
        self.deleted.append([entry["ReceiptHandle"] for entry in entries])
        failing = self.failures.pop(0) if self.failures else {}
        return {
            "Failed": [
                {"Id": entry["Id"], "Code": failing[handle][0], "SenderFault": failing[handle][1]}
                for entry in entries
                if (handle := entry["ReceiptHandle"]) in failing
            ]
        }

    async def change_message_visibility_batch(self, **request: Any) -> Any:
        self.hidden += [
            (entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in request["Entries"]
        ]
        return {}


def client_error(code: str, operation: str = "Call", message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def message(number: int, body: str = "text", **attributes: str) -> dict[str, Any]:
    """As ReceiveMessage returns it."""
    return {
        "MessageId": f"id-{number}",
        "ReceiptHandle": f"handle-{number}",
        "Body": body,
        "MD5OfBody": "1cb251ec0d568de6a929b520c4aed8d1",
        "Attributes": {
            "SenderId": "AIDA1",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            **attributes,
        },
    }
