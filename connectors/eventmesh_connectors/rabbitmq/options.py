"""The settings of a queue as a source, and of a queue or exchange as a destination."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, Field, SecretStr, field_validator, model_validator

from eventmesh.connectors import Options
from eventmesh.pulling import QueueOptions
from eventmesh.units import Duration
from eventmesh_connectors.rabbitmq.addresses import BrokerAddress, parse_address

_DEFAULT_URL = SecretStr("amqp://guest:guest@localhost/")
_DEFAULT_BROKER = ("localhost", 5672)
#: AMQP counts unacknowledged messages in 16 bits
_MOST_PREFETCHED = 65_535
_LONGEST_NAME = 255

ShortText = Annotated[str, Field(max_length=_LONGEST_NAME)]
Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]


class BrokerOptions(Options):
    """Where the broker is."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(
        default=_DEFAULT_URL,
        description="amqp(s)://user:password@host:port/virtual-host; never shown in logs",
    )
    virtual_host: Name | None = Field(
        default=None, description="the virtual host, instead of the one in the url; / by default"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        parse_address(value.get_secret_value())
        return value

    @property
    def address(self) -> BrokerAddress:
        """The broker, parsed."""
        return parse_address(self.url.get_secret_value(), self.virtual_host)

    def _at_broker(self, name: str) -> str:
        address = self.address
        is_default = (address.host, address.port) == _DEFAULT_BROKER
        return name if is_default and address.virtual_host == "/" else f"{name}@{address.shown}"


class RabbitMqOptions(BrokerOptions, QueueOptions):
    """A queue whose messages invoke the function."""

    short_form: ClassVar[str | None] = "queue"

    queue: Name = Field(description="the queue's name")
    maximum_batching_window: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=0.5,
        validation_alias=AliasChoices("maximum_batching_window", "batch_window"),
        description="How long to gather records for a batch, 0 to 300s.",
    )
    prefetch: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_PREFETCHED,
        description="most messages the broker hands out before they are acknowledged; otherwise"
        " enough for one batch more than run at a time (twice the batch size at least)",
    )
    requeue: bool = Field(
        default=True,
        description="give failed messages back to the queue; false dead-letters them through the"
        " queue's dead-letter exchange, and drops them where it has none",
    )
    requeue_delay: Annotated[Duration, Field(ge=0, le=300)] = Field(
        default=1.0, description="how long a failed message is held before it is given back"
    )
    declare: bool = Field(
        default=False, description="create the queue, durable, where it does not exist"
    )
    queue_type: Literal["classic", "quorum"] = Field(
        default="classic", description="with declare: what kind of queue"
    )
    dead_letter_exchange: ShortText | None = Field(
        default=None,
        description="with declare: where dead letters go; '' is the default exchange",
    )
    dead_letter_routing_key: ShortText | None = Field(
        default=None, description="with declare: the dead letters' routing key"
    )

    @model_validator(mode="after")
    def _check_declaring(self) -> RabbitMqOptions:
        named = {"queue_type", "dead_letter_exchange", "dead_letter_routing_key"}
        needless = sorted(named & self.model_fields_set)
        if needless and not self.declare:
            raise ValueError(f"{', '.join(needless)} only means something with declare: true")
        if self.dead_letter_routing_key is not None and self.dead_letter_exchange is None:
            raise ValueError("dead_letter_routing_key goes with dead_letter_exchange")
        return self

    @property
    def prefetch_count(self) -> int:
        """How many messages may be with us unacknowledged."""
        if self.prefetch is not None:
            return self.prefetch
        batches = 1 + (self.maximum_concurrency or 1)
        return min(self.batch_size * batches, _MOST_PREFETCHED)

    @property
    def resource(self) -> str:
        """The queue, and its broker where it is not the usual one."""
        return self._at_broker(self.queue)

    @property
    def queue_arguments(self) -> dict[str, str]:
        """What the queue is declared with."""
        given = {
            "x-queue-type": self.queue_type if self.queue_type != "classic" else None,
            "x-dead-letter-exchange": self.dead_letter_exchange,
            "x-dead-letter-routing-key": self.dead_letter_routing_key,
        }
        return {name: value for name, value in given.items() if value is not None}


class RabbitMqDestinationOptions(BrokerOptions):
    """A queue or an exchange that payloads are sent to."""

    short_form: ClassVar[str | None] = "queue"

    queue: Name | None = Field(default=None, description="the queue to send to")
    exchange: Name | None = Field(default=None, description="the exchange to publish to instead")
    routing_key: ShortText = Field(default="", description="the routing key, with exchange")

    @model_validator(mode="after")
    def _check_target(self) -> RabbitMqDestinationOptions:
        if (self.queue is None) == (self.exchange is None):
            raise ValueError("give either queue or exchange")
        if self.routing_key and self.exchange is None:
            raise ValueError("routing_key goes with exchange")
        return self

    @property
    def resource(self) -> str:
        """The queue, or the exchange and routing key, and the broker where it is not the usual
        one."""
        return self._at_broker(self.queue or f"{self.exchange}/{self.routing_key}")
