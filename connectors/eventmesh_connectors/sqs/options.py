"""The settings of a queue as a source and as a destination."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from eventmesh.pulling import QueueOptions
from eventmesh.units import Duration
from eventmesh_connectors.aws_access import AwsOptions
from eventmesh_connectors.queue_address import QueueAddress, QueueName, parse_queue

#: semantics 5.2: more than that needs a batching window
MOST_WITHOUT_WINDOW = 10
_LONGEST_VISIBILITY_SECONDS = 43_200.0


class SqsOptions(AwsOptions, QueueOptions):
    """A queue whose messages invoke the function."""

    short_form: ClassVar[str | None] = "queue"

    queue: QueueName = Field(description="the queue's name, URL or ARN")
    batch_size: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Most records of one batch; more than 10 need a batching window.",
    )
    visibility_timeout: Annotated[Duration, Field(ge=1, le=_LONGEST_VISIBILITY_SECONDS)] | None = (
        Field(
            default=None,
            description="how long received messages stay hidden, 1s to 12h; otherwise the queue's"
            " own. Set six times the function's timeout",
        )
    )
    release_failed: bool = Field(
        default=False,
        description="show failed messages again at once, instead of after the visibility timeout",
    )

    @model_validator(mode="after")
    def _check_batching(self) -> SqsOptions:
        if self.address.is_fifo:
            self._check_fifo()
        elif self.batch_size > MOST_WITHOUT_WINDOW and self.maximum_batching_window < 1:
            raise ValueError(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is"
                " greater than 10 (set batch_window: 1s or more, or batch_size: 10)"
            )
        return self

    def _check_fifo(self) -> None:
        if self.batch_size > MOST_WITHOUT_WINDOW:
            raise ValueError("a batch of a FIFO queue has at most 10 messages; set batch_size: 10")
        if self.maximum_batching_window:
            raise ValueError("FIFO queues have no batching window; remove batch_window")

    @property
    def address(self) -> QueueAddress:
        """The queue, parsed."""
        return parse_queue(self.queue)

    @property
    def resource(self) -> str:
        """The queue as it was written."""
        return self.queue


class SqsDestinationOptions(AwsOptions):
    """A queue that payloads are sent to."""

    short_form: ClassVar[str | None] = "queue"

    queue: QueueName = Field(description="the queue's name, URL or ARN; a standard queue")

    @model_validator(mode="after")
    def _check_standard(self) -> SqsDestinationOptions:
        if self.address.is_fifo:
            raise ValueError(
                f"{self.queue!r} is a FIFO queue; AWS sends failures and results to standard"
                " queues only"
            )
        return self

    @property
    def address(self) -> QueueAddress:
        """The queue, parsed."""
        return parse_queue(self.queue)

    @property
    def resource(self) -> str:
        """The queue as it was written."""
        return self.queue
