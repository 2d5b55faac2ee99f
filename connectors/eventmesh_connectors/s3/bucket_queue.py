"""A real bucket followed through the SQS queue that gets its notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from eventmesh.connectors import SourceContext, Target
from eventmesh.errors import ServiceError, StateFull
from eventmesh.records import Outcome, Record
from eventmesh_connectors.s3.bucket_notifications import NotificationFilter, read_records
from eventmesh_connectors.s3.options import S3Options
from eventmesh_connectors.sqs.options import SqsOptions
from eventmesh_connectors.sqs.source import SqsSource

_LANES = 2
_MESSAGES = 10
_PAUSE_SECONDS = 5.0


class BucketQueueSource:
    """Delivers the S3 events that arrive in a queue; a message is deleted once its events are
    stored."""

    def __init__(self, options: S3Options, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._filter = NotificationFilter(options.address.name, options.events, options.key_filter)
        self._reported: set[str] = set()

    async def run(self, target: Target) -> None:
        """Receive until cancelled; see `PushSource.run`. Raises SourceUnavailable."""
        queue = self._queue()
        lanes = [asyncio.ensure_future(self._receive(queue, target)) for _ in range(_LANES)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)
            await queue.close()

    def _queue(self) -> SqsSource:
        options, context = self._options, self._context
        settings = {
            "queue": options.queue,
            "endpoint_url": options.endpoint_url,
            "region": options.region,
            "profile": options.profile,
        }
        announced = replace(
            context, announce=lambda where: context.announce(f"notifications from {where}")
        )
        return SqsSource(SqsOptions.model_validate(settings), announced)

    async def _receive(self, queue: SqsSource, target: Target) -> None:
        while True:
            records = await queue.receive(_MESSAGES)
            if not records:
                continue
            # not to be cut off between storing and deleting: that would deliver twice
            taking = asyncio.ensure_future(self._take(records, queue, target))
            try:
                is_stored = await asyncio.shield(taking)
            except asyncio.CancelledError:
                await asyncio.wait({taking})
                raise
            if not is_stored:
                await self._context.clock.sleep(_PAUSE_SECONDS)

    async def _take(self, records: Sequence[Record], queue: SqsSource, target: Target) -> bool:
        """Store the events of messages, then delete these. False when they could not be stored:
        they come again."""
        events: list[bytes] = []
        read = [record for record in records if self._read(queue, record, events)]
        try:
            if events:
                await target.enqueue(events, synced=True)
        except (StateFull, ServiceError) as error:
            self._context.log.warning("%d events not stored yet (%s)", len(events), error)
            return False
        if read:
            await queue.settle([Outcome(record, True) for record in read])
        return True

    def _read(self, queue: SqsSource, record: Record, events: list[bytes]) -> bool:
        """Add a message's events. False when it is not for this mapping: it stays in the queue."""
        found = read_records(queue.fields(record)["body"])
        if found is None:
            self._report("a message that is no notification of a bucket", record)
            return False
        if (name := self._filter.foreign_bucket(found)) is not None:
            self._report(f"a notification of bucket {name}", record)
            return False
        events.extend(self._filter.events(found))
        return True

    def _report(self, what: str, record: Record) -> None:
        """Say so once for each kind; messages left in the queue come again and again."""
        if what not in self._reported:
            self._reported.add(what)
            self._context.log.warning(
                "queue %s holds %s (%s); left there, a redrive policy moves such to a dead-letter"
                " queue",
                self._options.queue,
                what,
                record.id,
            )
