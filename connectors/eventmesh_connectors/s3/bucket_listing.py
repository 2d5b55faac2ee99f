"""A real bucket followed by listing it: a catalogue says what was delivered already."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from eventmesh.connectors import SourceContext, Target
from eventmesh.errors import ServiceError, StateFull
from eventmesh_connectors.aws import AwsClient, open_client, translated
from eventmesh_connectors.s3.bucket_catalogue import BucketCatalogue, load_bucket_catalogue
from eventmesh_connectors.s3.bucket_events import REMOVED, BucketEventWriter, ListedObject
from eventmesh_connectors.s3.bucket_notifications import wanted_names
from eventmesh_connectors.s3.bucket_opening import check_bucket
from eventmesh_connectors.s3.options import S3Options

_PAGE = 1000
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 30.0


class BucketListingSource:
    """Delivers an S3 event for every object that a listing shows as new, changed or gone."""

    def __init__(self, options: S3Options, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._name = options.address.name
        self._interval = options.list_interval or 0.0
        self._wanted = wanted_names(options.events)
        self._latest = options.starting_position == "latest"
        self._writer = self._writer_for(options.region or context.region)

    async def run(self, target: Target) -> None:
        """List until cancelled; see `PushSource.run`. Raises SourceUnavailable."""
        context = self._context
        key_filter = self._options.key_filter
        catalogue = load_bucket_catalogue(await context.positions.load(), key_filter)
        if catalogue.unreadable:
            context.log.error("%d stored positions are unreadable", catalogue.unreadable)
        with translated(f"cannot open bucket {self._name}"):
            client = await open_client("s3", self._options.access, context.region)
        self._writer = self._writer_for(client.region)
        try:
            await check_bucket(client, self._name)
            await self._compare(client, catalogue, target)
            context.announce(f"listing every {self._interval:g}s ({len(catalogue.stamps)} objects)")
            while True:
                await context.clock.sleep(self._interval)
                await self._compare(client, catalogue, target)
        finally:
            await client.close()

    def _writer_for(self, region: str) -> BucketEventWriter:
        return BucketEventWriter(
            bucket_name=self._name, mapping=self._context.mapping, region=region
        )

    async def _compare(self, client: AwsClient, catalogue: BucketCatalogue, target: Target) -> None:
        """List once and deliver the differences, page by page; what is missing comes last."""
        seen: set[bytes] = set()
        async for page in self._pages(client):
            seen.update(found.key for found in page)
            if changed := catalogue.changed(page):
                await self._deliver_found(changed, catalogue, target)
        missing = catalogue.missing(seen)
        for at in range(0, len(missing), _PAGE):
            await self._deliver_gone(missing[at : at + _PAGE], catalogue, target)
        if not catalogue.is_stored_filter_current:
            await self._store(target, (), catalogue.filter_position())
            catalogue.apply_filter()

    async def _pages(self, client: AwsClient) -> AsyncIterator[list[ListedObject]]:
        request: dict[str, Any] = {"Bucket": self._name, "MaxKeys": _PAGE}
        if prefix := os.path.commonprefix(list(self._options.prefix)):
            request["Prefix"] = prefix
        while True:
            with translated(f"cannot list bucket {self._name}"):
                answer = await client.api.list_objects_v2(**request)
            yield [_read_object(one) for one in answer.get("Contents") or ()]
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]

    async def _deliver_found(
        self, changed: Sequence[ListedObject], catalogue: BucketCatalogue, target: Target
    ) -> None:
        now = self._context.clock.now()
        events = [
            self._writer.created(found, catalogue.next_sequencer(now))
            for found in changed
            if self._wanted(found.event_name) and not (self._latest and catalogue.is_adopted(found))
        ]
        await self._store(target, events, catalogue.positions(changed))
        catalogue.apply(changed)

    async def _deliver_gone(
        self, gone: Sequence[bytes], catalogue: BucketCatalogue, target: Target
    ) -> None:
        now = self._context.clock.now()
        events = []
        if self._wanted(REMOVED):
            events = [self._writer.removed(key, catalogue.next_sequencer(now), now) for key in gone]
        await self._store(target, events, catalogue.positions(gone=gone))
        catalogue.apply(gone=gone)

    async def _store(
        self, target: Target, events: Sequence[bytes], positions: Mapping[str, str | None]
    ) -> None:
        """Store events and what is now known of their objects in one go."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            try:
                await target.enqueue(events, positions)
                return
            except (StateFull, ServiceError) as error:
                self._context.log.warning("%d events not stored yet (%s)", len(events), error)
                await self._context.clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_RETRY_SECONDS)


def _read_object(listed: Mapping[str, Any]) -> ListedObject:
    return ListedObject(
        key=listed["Key"].encode(errors="surrogateescape"),
        size=int(listed["Size"]),
        etag=str(listed.get("ETag", "")).strip('"'),
        modified_at=listed["LastModified"].timestamp(),
    )
