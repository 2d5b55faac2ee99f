"""A directory as a destination: one file for each payload, on the disk before it counts as sent."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

import orjson
from pydantic import AfterValidator, Field, PrivateAttr

from eventmesh.connectors import Connector, Options
from eventmesh.errors import DestinationError

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_PART = 64


def _check_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL character")
    if "://" in text or text.startswith("arn:"):
        raise ValueError(f"{text!r} is not a directory; write a path such as ./failed")
    return text


class DirectoryOptions(Options):
    """A directory that payloads are written to."""

    short_form: ClassVar[str | None] = "path"

    path: Annotated[str, Field(min_length=1), AfterValidator(_check_path)] = Field(
        description="the directory, such as ./failed; relative to mappings.yaml, made when missing"
    )
    attributes: bool = Field(
        False,
        description="write the attributes of each payload (RequestID, ErrorCode, ...) into a"
        " second file, .attributes.json",
    )

    _written: str | None = PrivateAttr(None)

    @property
    def resource(self) -> str:
        """The directory as it was written."""
        return self._written or self.path

    def resolved(self, base_directory: Path) -> DirectoryOptions:
        """These options with `path` absolute; `~` is the home directory."""
        absolute = os.path.normpath(base_directory / Path(self.path).expanduser())
        copy = self.model_copy(update={"path": absolute})
        copy._written = self.resource
        return copy


def file_stem(attributes: Mapping[str, str]) -> str:
    """The name, without an ending, of the files for a payload: the same whenever it is sent again.

    `<Timestamp>-<RequestID>-<digest of DeliveryId>`, as far as the attributes are given; all but
    letters, digits, `_` and `-` is left out.
    """
    request_id = attributes.get("RequestID", "")
    delivery_id = attributes.get("DeliveryId") or request_id
    digest = hashlib.sha256(delivery_id.encode(errors="surrogateescape")).hexdigest()[:12]
    parts = (_UNSAFE.sub("", attributes.get(name, "")) for name in ("Timestamp", "RequestID"))
    return "-".join([*(part[:_LONGEST_PART] for part in parts if part), digest])


class DirectoryDestination:
    """Writes each payload to a file of its own."""

    def __init__(self, options: DirectoryOptions) -> None:
        self._path = options.path
        self._with_attributes = options.attributes

    async def send(self, payload: bytes, attributes: Mapping[str, str]) -> None:
        """Write `payload`; return once the disk has it. The same DeliveryId writes the same file.

        May be called concurrently. Raises DestinationError naming the path and the reason.
        """
        await asyncio.to_thread(self._write, payload, dict(attributes))

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, payload: bytes, attributes: dict[str, str]) -> None:
        stem = file_stem(attributes)
        try:
            _make_directory(self._path)
            if self._with_attributes:
                text = orjson.dumps(attributes, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
                _replace_file(self._path, f"{stem}.attributes.json", text)
            # last, so that whoever waits for payloads finds the attributes there
            _replace_file(self._path, f"{stem}.json", payload)
            _sync_directory(self._path)
        except (OSError, orjson.JSONEncodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            path = os.path.join(self._path, f"{stem}.json")
            raise DestinationError(f"cannot write {path}: {reason}") from error


def _make_directory(path: str) -> None:
    """Make `path` and what is missing above it, durably."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path) or "."
    _make_directory(parent)
    with suppress(FileExistsError):
        os.mkdir(path)
    _sync_directory(parent)


def _replace_file(directory: str, name: str, content: bytes) -> None:
    """Write aside and rename: a reader finds the whole file or none."""
    descriptor, aside = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o640)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, os.path.join(directory, name))
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


connector = Connector(
    summary="A directory that payloads are written to, one file each",
    destination_options=DirectoryOptions,
    destination=DirectoryDestination,
)
