"""One queue behind aiobotocore: receiving, deleting and hiding messages, ten at a time."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging import Logger
from typing import Any

from botocore.exceptions import ClientError

from eventmesh.clock import Clock
from eventmesh.errors import DestinationError, EventMeshError, SourceUnavailable
from eventmesh_connectors.aws import AwsAccess, AwsClient, open_client, translated
from eventmesh_connectors.aws.faults import Fault, build_error, explain, near_names
from eventmesh_connectors.aws_access import is_emulator
from eventmesh_connectors.queue_address import QueueAddress

#: what one call of SQS carries
CALL_SIZE = 10
_LONG_POLL_SECONDS = 20
#: emulators hand messages to polls whose connection is gone: there, each is waited for at the end
_EMULATOR_POLL_SECONDS = 1
_GRACE_SECONDS = 0.5
_LONGEST_VISIBILITY_SECONDS = 43_200
_PARALLEL_CALLS = 16
_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.2
_DEFAULT_VISIBILITY_SECONDS = 30
#: what trying again does not help; LocalStack tells no fault of the sender's
_HOPELESS = frozenset({
    "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue", "MessageNotInflight",
    "ReceiptHandleIsInvalid",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ticket:
    """A received message: its id, for people, and the handle that SQS knows it by."""

    id: str
    handle: str


class SqsQueue:
    """An open queue. All methods may be called concurrently; errors go up as
    SourceUnavailable."""

    def __init__(self, address: QueueAddress, client: AwsClient, clock: Clock, log: Logger) -> None:
        self._address = address
        self._client = client
        self._clock = clock
        self._log = log
        self._calls = asyncio.Semaphore(_PARALLEL_CALLS)
        self.url = ""
        self.arn = ""
        #: the queue's own visibility timeout
        self.visibility_seconds = _DEFAULT_VISIBILITY_SECONDS
        emulated = is_emulator(client.endpoint_url)
        self._poll_seconds = _EMULATOR_POLL_SECONDS if emulated else _LONG_POLL_SECONDS
        #: how long to wait at the end for answers of polls that may be on their way
        self.farewell_seconds = _GRACE_SECONDS + (self._poll_seconds if emulated else 0)

    @property
    def region(self) -> str:
        """The region of the queue's ARN."""
        return self.arn.split(":")[3]

    async def receive(self, limit: int, visibility_seconds: int | None = None) -> list[Any]:
        """Up to `limit` (at most 10) messages as SQS returns them; [] after a long poll."""
        request: dict[str, Any] = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": min(limit, CALL_SIZE),
            "WaitTimeSeconds": self._poll_seconds,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if visibility_seconds is not None:
            request["VisibilityTimeout"] = visibility_seconds
        if self._address.is_fifo:  # a repeated call gets the same messages, not a locked group
            request["ReceiveRequestAttemptId"] = uuid.uuid4().hex
        with translated(self._doing("receive from")):
            answer = await self._client.api.receive_message(**request)
        return list(answer.get("Messages") or ())

    async def delete(self, tickets: Sequence[Ticket]) -> None:
        """Delete messages; returns once SQS has confirmed each. One whose handle is not valid any
        more is reported in the log: it will come again."""
        entries = [{"ReceiptHandle": ticket.handle} for ticket in tickets]
        await self._send(self._client.api.delete_message_batch, "deleted", tickets, entries)

    async def hide(self, tickets: Sequence[Ticket], seconds: float) -> None:
        """Keep messages hidden for `seconds` from now; 0 shows them at once."""
        timeout = min(math.ceil(seconds), _LONGEST_VISIBILITY_SECONDS)
        entries = [
            {"ReceiptHandle": ticket.handle, "VisibilityTimeout": timeout} for ticket in tickets
        ]
        done = "kept hidden" if timeout else "released"
        call = self._client.api.change_message_visibility_batch
        await self._send(call, done, tickets, entries)

    async def send(
        self, text: str, attributes: Mapping[str, Any], trace_header: str | None = None
    ) -> None:
        """Send one message; returns once SQS has it. Raises DestinationError."""
        request: dict[str, Any] = {"QueueUrl": self.url, "MessageBody": text}
        if attributes:
            request["MessageAttributes"] = attributes
        if trace_header:
            header = {"DataType": "String", "StringValue": trace_header}
            request["MessageSystemAttributes"] = {"AWSTraceHeader": header}
        with translated(self._doing("send to"), DestinationError):
            await self._client.api.send_message(**request)

    async def close(self) -> None:
        """Give the client back."""
        await self._client.close()

    async def look_up(self) -> None:
        """Find the queue's URL, ARN and visibility timeout."""
        await self.find()
        with translated(self._doing("read the attributes of")):
            answer = await self._client.api.get_queue_attributes(
                QueueUrl=self.url, AttributeNames=["QueueArn", "VisibilityTimeout"]
            )
        attributes = answer.get("Attributes") or {}
        self.arn = attributes.get("QueueArn") or self._guess_arn()
        self.visibility_seconds = int(
            attributes.get("VisibilityTimeout", _DEFAULT_VISIBILITY_SECONDS)
        )

    async def find(self, raised: type[EventMeshError] = SourceUnavailable) -> None:
        """Find the queue's URL. Raises `raised`; a queue that does not exist with names like
        its own."""
        if self._address.url is not None:
            self.url = self._address.url
            return
        request = {"QueueName": self._address.name}
        if self._address.account is not None:
            request["QueueOwnerAWSAccountId"] = self._address.account
        try:
            with translated(self._doing("find"), raised):
                answer = await self._client.api.get_queue_url(**request)
        except raised as error:
            fault = explain(error.__cause__) if isinstance(error.__cause__, ClientError) else None
            if fault is None or not fault.missing:
                raise
            raise build_error(self._doing("find"), await self._describe_missing(), raised) from None
        self.url = answer["QueueUrl"]

    async def _describe_missing(self) -> Fault:
        try:
            answer = await self._client.api.list_queues(MaxResults=1000)
        except Exception as error:
            if explain(error) is None:
                raise
            hint = "its name is case-sensitive"
        else:
            names = [url.rpartition("/")[2] for url in answer.get("QueueUrls") or ()]
            hint = near_names(self._address.name, names, "queues")
        return Fault(
            f"there is no such queue in {self._client.region} at {self._client.endpoint_url};"
            f" {hint}"
        )

    def _guess_arn(self) -> str:
        account = self._address.account or self.url.split("/")[-2]
        return f"arn:aws:sqs:{self._client.region}:{account}:{self._address.name}"

    def _doing(self, verb: str) -> str:
        return f"cannot {verb} queue {self._address.name}"

    async def _send(
        self,
        call: Callable[..., Any],
        done: str,
        tickets: Sequence[Ticket],
        entries: Sequence[dict[str, Any]],
    ) -> None:
        """Send entries in calls of ten, side by side; all are tried before an error goes up."""
        parts = range(0, len(entries), CALL_SIZE)
        if len(entries) <= CALL_SIZE:
            if entries:
                await self._send_part(call, done, tickets, entries)
            return
        results = await asyncio.gather(
            *(
                self._send_part(
                    call, done, tickets[at : at + CALL_SIZE], entries[at : at + CALL_SIZE]
                )
                for at in parts
            ),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send_part(
        self,
        call: Callable[..., Any],
        done: str,
        tickets: Sequence[Ticket],
        entries: Sequence[dict[str, Any]],
    ) -> None:
        """One call of at most ten; what SQS failed to do is tried again."""
        waiting = {str(index): entry | {"Id": str(index)} for index, entry in enumerate(entries)}
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            async with self._calls:
                with translated(f"messages of queue {self._address.name} could not be {done}"):
                    answer = await call(QueueUrl=self.url, Entries=list(waiting.values()))
            failed = answer.get("Failed") or ()
            reasons = {one["Id"]: one for one in failed if not _is_hopeless(one)}
            for one in failed:
                if one["Id"] not in reasons:
                    self._report(tickets[int(one["Id"])], one, done)
            if not reasons:
                return
            waiting = {id_: waiting[id_] for id_ in reasons}
            if attempt < _ATTEMPTS:
                await self._clock.sleep(pause)
                pause *= 2
        reason = next(iter(reasons.values()))
        raise SourceUnavailable(
            f"{len(waiting)} messages of queue {self._address.name} could not be {done}:"
            f" {reason.get('Code')}: {reason.get('Message', '')}"
        )

    def _report(self, ticket: Ticket, failure: dict[str, Any], done: str) -> None:
        self._log.warning(
            "message %s of queue %s could not be %s (%s); its visibility timeout is over, so it"
            " comes again",
            ticket.id,
            self._address.name,
            done,
            failure.get("Message") or failure.get("Code"),
        )


def _is_hopeless(failure: Mapping[str, Any]) -> bool:
    return bool(failure.get("SenderFault")) or failure.get("Code") in _HOPELESS


async def open_queue(
    address: QueueAddress, access: AwsAccess, default_region: str, clock: Clock, log: Logger
) -> SqsQueue:
    """Connect and look the queue up. Raises SourceUnavailable."""
    with translated(f"cannot open queue {address.name}"):
        client = await open_client("sqs", access, default_region)
    queue = SqsQueue(address, client, clock, log)
    try:
        await queue.look_up()
    except BaseException:
        await queue.close()
        raise
    return queue
