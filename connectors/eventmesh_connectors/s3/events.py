"""S3 notification events as bytes, built once (semantics 8.1)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import orjson

from eventmesh_connectors.s3.catalogue import Catalogue, Change, ChangeKind, digest_of, size_of
from eventmesh_connectors.s3.keys import encode_key

#: every event name a bucket notification may be configured with (semantics 8.1)
EVENT_NAMES = (
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectAcl:Put",
)
_MADE = (ChangeKind.PUT, ChangeKind.COPY, ChangeKind.DELETE)


def wanted_kinds(names: Iterable[str]) -> frozenset[ChangeKind]:
    """The changes of a directory that the configured event names cover; `:*` covers a family."""
    wanted = tuple(name.removeprefix("s3:").removesuffix("*") for name in names)
    return frozenset(kind for kind in _MADE if kind.value.startswith(wanted))


def format_time(now: float) -> str:
    """ISO 8601 in UTC to the millisecond, as S3 writes it."""
    text = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class EventWriter:
    """Writes the events of one bucket. All that is the same in each is encoded once."""

    def __init__(self, *, bucket_name: str, directory: bytes, mapping: str, region: str) -> None:
        identity = hashlib.sha256(directory).digest()
        self._directory = directory
        self._head = (
            b'{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":%s,"eventTime":"'
            % orjson.dumps(region)
        )
        self._requester = (
            b'","userIdentity":{"principalId":"AWS:AIDAEVENTMESH00000000"},'
            b'"requestParameters":{"sourceIPAddress":"127.0.0.1"},'
            b'"responseElements":{"x-amz-request-id":"'
        )
        bucket = {
            "name": bucket_name,
            "ownerIdentity": {"principalId": "A" + identity.hex()[:13].upper()},
            "arn": f"arn:aws:s3:::{bucket_name}",
        }
        self._bucket = (
            b'","x-amz-id-2":"%s"},"s3":{"s3SchemaVersion":"1.0","configurationId":%s,"bucket":%s,'
            b'"object":{"key":"'
            % (base64.b64encode(identity), orjson.dumps(mapping), orjson.dumps(bucket))
        )

    def write(
        self,
        changes: Sequence[Change],
        wanted: frozenset[ChangeKind],
        catalogue: Catalogue,
        now: float,
    ) -> list[bytes]:
        """One event (one record) for each change of a wanted kind. Takes sequencers from
        `catalogue`."""
        time = format_time(now).encode()
        return [
            self._event(change, catalogue.next_sequencer(now), time)
            for change in changes
            if change.kind in wanted
        ]

    def _event(self, change: Change, sequencer: int, time: bytes) -> bytes:
        key, kind, entry = change
        content = b""
        if entry is not None:
            content = b'"size":%d,"eTag":"%s",' % (size_of(entry), digest_of(entry).hex().encode())
        return b'%s%s","eventName":"%s%s%016X%s%s",%s"sequencer":"%016X"}},"eventmesh":{%s}}]}' % (
            self._head,
            time,
            kind.value.encode(),
            self._requester,
            sequencer,
            self._bucket,
            encode_key(key).encode(),
            content,
            sequencer,
            self._path(key),
        )

    def _path(self, key: bytes) -> bytes:
        path = os.path.join(self._directory, key)
        try:
            return b'"path":' + orjson.dumps(path.decode())
        except UnicodeDecodeError:
            # JSON holds no bytes: strict readers refuse lone surrogates
            return b'"pathBase64":' + json.dumps(base64.b64encode(path).decode()).encode()
