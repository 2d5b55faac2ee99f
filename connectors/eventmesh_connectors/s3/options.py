"""The settings of a directory as a bucket."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, WithJsonSchema

from eventmesh.connectors import Options
from eventmesh.units import Duration
from eventmesh_connectors.s3.events import EVENT_NAMES
from eventmesh_connectors.s3.keys import KeyFilter

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|arn:")
_LONGEST_KEY = 1024


def _check_bucket(text: str) -> str:
    if _SCHEME.match(text):
        raise ValueError(
            f"{text!r} is not a directory; a bucket is a local directory such as ./uploads"
            " (real S3 buckets come in a later release)"
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


class S3Options(Options):
    """A directory as a bucket: a file in it is an object, its path below the directory the key."""

    short_form: ClassVar[str | None] = "bucket"

    bucket: Annotated[str, Field(min_length=1), AfterValidator(_check_bucket)] = Field(
        description="the directory, such as ./uploads; relative to mappings.yaml"
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

    _written: str | None = PrivateAttr(None)

    @property
    def resource(self) -> str:
        """The directory as it was written."""
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
        """These options with `bucket` absolute; `~` is the home directory."""
        absolute = os.path.normpath(base_directory / Path(self.bucket).expanduser())
        copy = self.model_copy(update={"bucket": absolute})
        copy._written = self.resource
        return copy
