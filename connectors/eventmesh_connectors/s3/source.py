"""The source: opens the bucket, follows it in a thread, hands its events to the target."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from eventmesh.connectors import SourceContext, Target
from eventmesh.errors import ServiceError, SourceUnavailable, StateFull
from eventmesh_connectors.s3.catalogue import Catalogue, load_catalogue
from eventmesh_connectors.s3.events import EventWriter, wanted_kinds
from eventmesh_connectors.s3.examiner import OpenBucket
from eventmesh_connectors.s3.files import BucketDirectory
from eventmesh_connectors.s3.follower import Batch, Follow, Follower
from eventmesh_connectors.s3.hints import Watcher, WatchesExhausted
from eventmesh_connectors.s3.mounts import read_remote_mount
from eventmesh_connectors.s3.options import S3Options
from eventmesh_connectors.s3.polling import PollingWatcher, WakingWatcher
from eventmesh_connectors.s3.tree import BucketGone

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 30.0
_HAS_INOTIFY = sys.platform == "linux"
_T = TypeVar("_T")


class S3Source:
    """Delivers an S3 event for every file that comes, changes or goes."""

    def __init__(self, options: S3Options, context: SourceContext) -> None:
        self._options = options
        self._context = context
        self._clock = context.clock
        self._log = context.log
        self._path = os.fsencode(options.bucket)
        self._filter = options.key_filter
        self._wanted = wanted_kinds(options.events)
        self._writer = EventWriter(
            bucket_name=options.name_in_events,
            directory=self._path,
            mapping=context.mapping,
            region=context.region,
        )
        self._stopping = threading.Event()
        #: set when inotify cannot be used although it should be
        self._limit: str | None = None
        self._ready = False

    async def run(self, target: Target) -> None:
        """Follow the bucket until cancelled; see `PushSource.run`.

        A bucket that goes is waited for. Raises SourceUnavailable when it cannot be opened at the
        start.
        """
        self._stopping.clear()
        catalogue = load_catalogue(await self._context.positions.load(), self._filter)
        if catalogue.unreadable:
            self._log.error("%d stored positions are unreadable", catalogue.unreadable)
        directory = await self._open_first()
        while True:
            try:
                await self._follow(directory, catalogue, target)
            except BucketGone as gone:
                self._report_gone(gone)
            except WatchesExhausted as exhausted:
                self._limit = str(exhausted)
                self._log.error("%s; polling until the next start", exhausted)
            finally:
                await asyncio.to_thread(directory.close)
            directory = await self._open_again()

    async def _open_first(self) -> BucketDirectory:
        try:
            return await asyncio.to_thread(self._open)
        except OSError as error:
            raise SourceUnavailable(
                f"cannot open the directory {self._options.bucket}: {error.strerror}"
            ) from error

    def _open(self) -> BucketDirectory:
        # what is there and is no directory is named so by the next call
        if self._options.create and not os.path.exists(self._path):
            os.makedirs(self._path, exist_ok=True)
        with os.scandir(self._path):
            return BucketDirectory(self._path)

    async def _open_again(self) -> BucketDirectory:
        """Wait until the bucket is there; whoever removed it makes it anew."""
        while True:
            await self._clock.sleep(self._options.poll_interval)
            with suppress(OSError):
                return await asyncio.to_thread(BucketDirectory, self._path)

    def _report_gone(self, gone: BucketGone) -> None:
        if self._ready:
            self._log.warning("%s is gone (%s); waiting for it", self._options.resource, gone)
        self._ready = False

    async def _follow(
        self, directory: BucketDirectory, catalogue: Catalogue, target: Target
    ) -> None:
        watcher, how = await self._watch()
        try:
            bucket = OpenBucket(directory, watcher, catalogue)
            follower = Follower(
                bucket, self._policy(watcher), self._clock, self._log, self._stopping.is_set
            )
            batch, files = await self._in_thread(follower.begin)
            await self._deliver(batch, follower, catalogue, target)
            self._context.announce(f"{how} ({files})")
            self._ready = True
            while True:
                batch = await self._in_thread(follower.step)
                await self._deliver(batch, follower, catalogue, target)
                if pause := follower.pause_seconds():
                    await watcher.wait(pause)
        finally:
            await watcher.close()

    def _policy(self, watcher: Watcher) -> Follow:
        options = self._options
        polls = type(watcher) is PollingWatcher
        return Follow(
            key_filter=self._filter,
            scan_seconds=options.poll_interval if polls else options.rescan_interval,
            settle_seconds=options.settle,
            adopt=options.starting_position == "latest",
        )

    async def _watch(self) -> tuple[Watcher, str]:
        """The watcher that fits the bucket, and how it watches, for people."""
        options, root = self._options, self._path
        polling = f"polling every {options.poll_interval:g}s"
        if options.watch == "poll":
            return PollingWatcher(root, self._filter, self._clock), polling
        if options.watch == "auto":
            mount = await asyncio.to_thread(read_remote_mount, options.bucket)
            if mount is not None:
                reason = f"{mount.point} is {mount.type}, which tells of no changes"
                return PollingWatcher(root, self._filter, self._clock), f"{polling}: {reason}"
        if self._limit is not None:
            return PollingWatcher(root, self._filter, self._clock), f"{polling}: {self._limit}"
        if not _HAS_INOTIFY:
            waker = WakingWatcher(root, self._filter, self._clock, options.poll_interval)
            return waker, "watchfiles, watching"
        try:
            watcher = await asyncio.to_thread(self._open_inotify)
        except WatchesExhausted as exhausted:
            self._log.error("%s; polling until the next start", exhausted)
            return PollingWatcher(root, self._filter, self._clock), f"{polling}: {exhausted}"
        return watcher, "inotify, watching"

    def _open_inotify(self) -> Watcher:
        # only Linux has the library, and importing it runs a process: not on the event loop
        from eventmesh_connectors.s3.inotify import InotifyWatcher

        return InotifyWatcher(self._path, self._filter, self._clock)

    async def _deliver(
        self, batch: Batch, follower: Follower, catalogue: Catalogue, target: Target
    ) -> None:
        """Store the events and what is now known of their files in one go; only then know it."""
        if not batch.changes and not batch.positions:
            return
        events = self._writer.write(batch.changes, self._wanted, catalogue, self._clock.now())
        positions = catalogue.positions(batch.changes) | batch.positions
        delay = _FIRST_RETRY_SECONDS
        while True:
            try:
                await target.enqueue(events, positions)
                break
            except (StateFull, ServiceError) as error:
                self._log.warning("%d events not stored yet (%s)", len(events), error)
                await self._clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_RETRY_SECONDS)
        follower.commit(batch)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread. When cancelled, wait until it has given up: it uses what is
        closed next."""
        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._stopping.set()
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()
            raise
