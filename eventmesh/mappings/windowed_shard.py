"""A shard whose records are aggregated over tumbling windows (semantics 4.6): batches end at
boundaries, the handler's state goes from one to the next, a last invocation closes each window."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from eventmesh.connectors import InvocationResult
from eventmesh.mappings import windows
from eventmesh.mappings.attempts import retry_delay
from eventmesh.mappings.batcher import Batch
from eventmesh.mappings.claims import ShardClaim
from eventmesh.mappings.host import Asked, Attempted, PollerHost, Predicate
from eventmesh.mappings.invoking import first_of
from eventmesh.mappings.policy import MappingPolicy
from eventmesh.mappings.responses import failed_indexes
from eventmesh.mappings.shard_poller import Lane, ShardPoller
from eventmesh.pulling import StreamSource
from eventmesh.records import Record

logger = logging.getLogger("eventmesh.mappings")

_NO_RECORDS = b'{"Records":[]}'


class WindowedShardPoller(ShardPoller):
    """A shard with one window open at a time; its state is stored with the position."""

    def __init__(
        self,
        shard: str,
        source: StreamSource,
        host: PollerHost,
        policy: MappingPolicy,
        passes: Predicate | None,
        claim: ShardClaim,
    ) -> None:
        super().__init__(shard, source, host, policy, passes, claim)
        self._length = policy.tumbling_window_seconds
        self._window = windows.window_from(claim.progress.state, self._length)
        self._returned: bytes | None = None

    def reserved_bytes(self) -> int:
        return windows.FIELDS_BYTES + (len(self._window.state) if self._window else 0)

    def state(self) -> str:
        return windows.window_text(self._window)

    async def handle(self, lane: Lane, batch: Batch) -> None:
        """Take a batch to its end in as many parts as it has windows."""
        records = batch.records
        while records and not self.stopping.is_set():
            window = self._open_window(records[0])
            count = windows.leading_records(records, window)
            if not count:
                await self._close_window()
                continue
            await super().handle(lane, replace(batch, records=records[:count]))
            records = records[count:]
            if self._window is not None and self._window.is_too_large:
                await self._close_window(is_early=True)

    def ask(self, batch: Batch, records: Sequence[Record], attempt: int) -> Asked:
        assert self._window is not None
        self._returned = None
        envelope = self.source.envelope(records)
        event = windows.windowed_event(envelope, self._window, self.shard)

        def judge(result: InvocationResult) -> Sequence[int]:
            self._returned = windows.returned_state(result.payload)
            if self._returned is None:
                return range(len(records))
            return failed_indexes(result.payload, records) if self.policy.report_failures else ()

        return Asked(self.shard, records, event, batch.reason, attempt, judge)

    def accept(self, attempted: Attempted, finished: int) -> None:
        if finished and self._returned is not None and self._window is not None:
            self._window = replace(self._window, state=self._returned)

    async def look_idle(self, lane: Lane) -> float | None:
        """Close the window whose records all came, as far as waiting can tell."""
        if self._window is None:
            return None
        now = self.clock.now()
        if self.exhausted or (now >= self._window.over_at - 0.001 and not lane.batcher):
            await self._close_window()
            return None
        return self._window.over_at - now

    def _open_window(self, record: Record) -> windows.Window:
        if self._window is None:
            arn = windows.source_arn(record)
            self._window = windows.window_at(record.arrived_at, self._length, arn)
        return self._window

    async def _close_window(self, *, is_early: bool = False) -> None:
        """The final invocation, again and again under the retry policy; then the state goes."""
        failures = throttles = 0
        while self._window is not None and not self.stopping.is_set():
            attempted = await self._finalize(self._window, is_early, failures + 1)
            if attempted.is_throttled:
                throttles += 1
                delay = retry_delay(throttles, self.host.random)
                wait = self.host.target.wait_for_room if attempted.no_room else self.clock.sleep
                await first_of(self.stopping.wait(), wait(delay))
                continue
            failures += attempted.is_error
            if attempted.is_error and not self._gives_up(failures):
                delay = retry_delay(failures, self.host.random)
                await self.clock.wait(self.stopping, delay)
                continue
            self._window = None
            await self.save()

    async def _finalize(self, window: windows.Window, is_early: bool, attempt: int) -> Attempted:
        event = windows.windowed_event(
            _NO_RECORDS, window, self.shard, is_final=True, is_early=is_early
        )
        self.claim.check_held()
        asked = Asked(self.shard, (), event, "window", attempt, judge=lambda result: ())
        return await self.host.attempt(self.policy, asked)

    def _gives_up(self, failures: int) -> bool:
        if not 0 <= self.policy.maximum_retries < failures:
            return False
        logger.error(
            "%s: the final invocation of a window of shard %s failed %d times; its state is "
            "dropped",
            self.host.mapping,
            self.shard,
            failures,
        )
        return True
