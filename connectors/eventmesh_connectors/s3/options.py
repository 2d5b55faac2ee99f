"""The settings of a bucket: a directory, or one of a real S3."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from eventmesh.units import Duration
from eventmesh_connectors.aws_access import AwsOptions
from eventmesh_connectors.queue_address import QueueName
from eventmesh_connectors.s3.bucket_names import SCHEME, BucketName, parse_bucket
from eventmesh_connectors.s3.events import EVENT_NAMES
from eventmesh_connectors.s3.keys import KeyFilter

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|arn:")
_LONGEST_KEY = 1024


#: settings that only a directory has, and that only a real bucket has
_DIRECTORY_ONLY = (
    "bucket_name", "create", "poll_interval", "rescan_interval", "settle", "watch",
)  # fmt: skip
_BUCKET_ONLY = ("endpoint_url", "list_interval", "profile", "queue", "region")


def is_real(text: str) -> bool:
    """Whether a bucket is one of S3, not a directory."""
    return text.startswith((SCHEME, "arn:"))


def _check_bucket(text: str) -> str:
    if is_real(text):
        name, prefix = parse_bucket(text)
        if prefix:
            raise ValueError(f"{text!r} holds more than a bucket; write s3://{name} and prefix:")
        return text
    if _SCHEME.match(text):
        raise ValueError(
            f"{text!r} is no bucket; write a local directory such as ./uploads, or s3://name"
        )
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL character")
    return text


def _check_events(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("name at least one event, such as s3:ObjectCreated:*")
    for name in names:
        if name not in EVENT_NAMES:
            raise ValueError(f"unknown event {name!r}; {_hint(name)}")
    return names


def _hint(name: str) -> str:
    wanted = name if name.startswith("s3:") else f"s3:{name}"
    if nearest := difflib.get_close_matches(wanted, EVENT_NAMES, n=1, cutoff=0.5):
        return f"did you mean {nearest[0]}?"
    return "the usual ones are s3:ObjectCreated:* and s3:ObjectRemoved:*"


def _check_prefixes(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if text.startswith(("/", "./")):
            bare = text.lstrip("./")
            raise ValueError(f"{text!r} matches nothing: keys do not start so; write {bare!r}")
    return _check_lengths(texts)


def _check_lengths(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if len(text.encode(errors="replace")) > _LONGEST_KEY:
            raise ValueError(f"longer than a key can be ({_LONGEST_KEY} bytes)")
    return texts


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_TEXT_OR_LIST = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
_EVENT_NAME: dict[str, Any] = {"type": "string", "enum": list(EVENT_NAMES)}

Prefixes = Annotated[
    tuple[str, ...], BeforeValidator(_listed), AfterValidator(_check_prefixes), _TEXT_OR_LIST
]
Suffixes = Annotated[
    tuple[str, ...], BeforeValidator(_listed), AfterValidator(_check_lengths), _TEXT_OR_LIST
]
Events = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    AfterValidator(_check_events),
    WithJsonSchema(
        {"anyOf": [_EVENT_NAME, {"type": "array", "items": _EVENT_NAME, "minItems": 1}]}
    ),
]


class S3Options(AwsOptions):
    """A bucket whose objects invoke the function: a directory (a file in it is an object, its path
    below the directory the key), or `s3://name` with `queue` or `list_interval`."""

    short_form: ClassVar[str | None] = "bucket"

    bucket: Annotated[str, Field(min_length=1), AfterValidator(_check_bucket)] = Field(
        description="the directory, such as ./uploads, relative to mappings.yaml; or s3://name"
    )
    events: Events = Field(
        ("s3:ObjectCreated:*",), description="event name or list of names, as S3 spells them"
    )
    prefix: Prefixes = Field((), description="only keys that begin so; one or a list (any of them)")
    suffix: Suffixes = Field((), description="only keys that end so; one or a list (any of them)")
    bucket_name: str = Field(
        "",
        max_length=255,
        description="the bucket's name in events; the directory's own name when not given",
    )
    watch: Literal["auto", "inotify", "poll"] = Field(
        "auto",
        description="how changes are noticed; auto polls where inotify is blind (NFS, CIFS, FUSE)",
    )
    poll_interval: Annotated[Duration, Field(gt=0)] = Field(
        1.0, description="time between two looks at the directory when polling"
    )
    settle: Duration = Field(
        1.0,
        description="how long a file must be unchanged before it counts as complete, where its"
        " closing cannot be seen",
    )
    rescan_interval: Annotated[Duration, Field(gt=0)] = Field(
        60.0, description="time between two full comparisons of directory and catalogue"
    )
    starting_position: Literal["trim_horizon", "latest"] = Field(
        "trim_horizon",
        description="at the very first start: trim_horizon delivers the files already there,"
        " latest only those that come later",
    )
    create: bool = Field(True, description="make the directory when it is missing at the start")
    recursive: bool = Field(True, description="include the directories below")

    queue: QueueName | None = Field(
        None,
        description="s3://: the SQS queue that gets the bucket's notifications; name, URL, ARN",
    )
    list_interval: Annotated[Duration, Field(ge=1)] | None = Field(
        None, description="s3://: list the bucket this often instead, at least 1s"
    )

    _written: str | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check_kind(self) -> S3Options:
        given = self.model_fields_set
        if not is_real(self.bucket):
            if wrong := [name for name in _BUCKET_ONLY if name in given]:
                raise ValueError(f"{wrong[0]} is for real buckets only; write bucket: s3://name")
            return self
        if wrong := [name for name in _DIRECTORY_ONLY if name in given]:
            raise ValueError(f"{wrong[0]} is for directories only; remove it")
        if (self.queue is None) == (self.list_interval is None):
            raise ValueError(
                "a real bucket needs either queue: (the SQS queue that gets its notifications) or"
                " list_interval: 30s (list the bucket that often)"
            )
        if self.queue is not None and "starting_position" in given:
            raise ValueError(
                "starting_position goes with list_interval; a queue has only what it was sent"
            )
        return self

    @property
    def is_real(self) -> bool:
        """Whether the bucket is one of S3, not a directory."""
        return is_real(self.bucket)

    @property
    def address(self) -> BucketName:
        """A real bucket's name."""
        return parse_bucket(self.bucket)

    @property
    def resource(self) -> str:
        """The bucket as it was written."""
        return self._written or self.bucket

    @property
    def name_in_events(self) -> str:
        """`bucket_name`, or the directory's own name."""
        own = os.path.basename(os.path.normpath(self.bucket))
        return self.bucket_name or ("bucket" if own in ("", ".", "..") else own)

    @property
    def key_filter(self) -> KeyFilter:
        """Prefixes, suffixes and depth as one value."""
        prefixes, suffixes = (
            tuple(dict.fromkeys(os.fsencode(text) for text in texts))
            for texts in (self.prefix, self.suffix)
        )
        return KeyFilter(prefixes, suffixes, self.recursive)

    def resolved(self, base_directory: Path) -> S3Options:
        """These options with a directory's `bucket` absolute; `~` is the home directory."""
        if self.is_real:
            return self
        absolute = os.path.normpath(base_directory / Path(self.bucket).expanduser())
        copy = self.model_copy(update={"bucket": absolute})
        copy._written = self.resource
        return copy


def _check_destination(text: str) -> str:
    if not is_real(text):
        raise ValueError(
            f"{text!r} is not a bucket; write s3://name or s3://name/prefix/ (for a directory,"
            " use the destination directory)"
        )
    parse_bucket(text)
    return text


class S3DestinationOptions(AwsOptions):
    """A bucket that payloads are put into."""

    short_form: ClassVar[str | None] = "bucket"

    bucket: Annotated[str, Field(min_length=1), AfterValidator(_check_destination)] = Field(
        description="s3://name, or s3://name/prefix/ for what all keys begin with"
    )

    @property
    def resource(self) -> str:
        """The bucket as it was written."""
        return self.bucket

    @property
    def address(self) -> BucketName:
        """The bucket and the beginning of all keys."""
        return parse_bucket(self.bucket)
