"""Events of a listed bucket, in the shape of S3's notifications (semantics 8.1). Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import orjson

from eventmesh_connectors.s3.events import format_time
from eventmesh_connectors.s3.keys import encode_key

CREATED, UPLOADED, REMOVED = (
    "ObjectCreated:Put",
    "ObjectCreated:CompleteMultipartUpload",
    "ObjectRemoved:Delete",
)


class ListedObject(NamedTuple):
    """An object as a listing shows it; `modified_at` in epoch seconds."""

    key: bytes
    size: int
    etag: str
    modified_at: float

    @property
    def event_name(self) -> str:
        """How it was made: the ETag of a multipart upload ends in `-<parts>`."""
        return UPLOADED if "-" in self.etag else CREATED


class BucketEventWriter:
    """Writes the events of one bucket."""

    def __init__(self, *, bucket_name: str, mapping: str, region: str) -> None:
        identity = hashlib.sha256(bucket_name.encode()).digest()
        self._region = region
        self._mapping = mapping
        self._id = base64.b64encode(identity).decode()
        self._bucket = {
            "name": bucket_name,
            "ownerIdentity": {"principalId": "A" + identity.hex()[:13].upper()},
            "arn": f"arn:aws:s3:::{bucket_name}",
        }

    def created(self, found: ListedObject, sequencer: int) -> bytes:
        """The event of an object that is new or was overwritten; its time is the object's."""
        described: dict[str, str | int] = {
            "key": encode_key(found.key),
            "size": found.size,
            "eTag": found.etag,
            "sequencer": f"{sequencer:016X}",
        }
        return self._write(found.event_name, described, found.modified_at)

    def removed(self, key: bytes, sequencer: int, now: float) -> bytes:
        """The event of an object that is gone."""
        described = {"key": encode_key(key), "sequencer": f"{sequencer:016X}"}
        return self._write(REMOVED, described, now)

    def _write(self, name: str, described: Mapping[str, str | int], time: float) -> bytes:
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self._region,
            "eventTime": format_time(time),
            "eventName": name,
            "userIdentity": {"principalId": "AWS:AIDAEVENTMESH00000000"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {
                "x-amz-request-id": described["sequencer"],
                "x-amz-id-2": self._id,
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self._mapping,
                "bucket": self._bucket,
                "object": described,
            },
        }
        return orjson.dumps({"Records": [record]})
