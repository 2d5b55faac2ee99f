"""What a watcher tells the follower: keys worth a look, and why. A hint is never the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from eventmesh_connectors.s3.catalogue import Listing

#: reasons to look at a key; plain bits, since there are two for every file written
FOUND = 1  #: a walk saw it and it is not as catalogued
CLOSED = 2  #: a writer closed it, so its content may be new although it looks the same
MOVED = 4  #: it was renamed to this key
LINKED = 8  #: the name is new, and the file perhaps not written yet
GONE = 16  #: it was removed or renamed away


@dataclass(slots=True)
class Hints:
    """What happened since the last call."""

    keys: dict[bytes, int] = field(default_factory=dict)
    #: the key each renamed file had before
    origins: dict[bytes, bytes] = field(default_factory=dict)
    #: directories that left the bucket or got another name; each ends in `/`
    emptied: list[bytes] = field(default_factory=list)
    #: notifications were lost: compare everything
    rescan: bool = False
    #: something happened to the bucket's directory itself: it may be removed or renamed
    bucket_touched: bool = False

    def add(self, key: bytes, reason: int, origin: bytes | None = None) -> None:
        """Note one more reason to look at `key`, which was `origin` before."""
        self.keys[key] = self.keys.get(key, 0) | reason
        if origin is not None:
            # a -> b -> c is a rename of a
            self.origins[key] = self.origins.get(origin, origin)


class WatchesExhausted(Exception):
    """The kernel's limit of inotify watches or instances is reached; the text says how to raise
    it."""


class Watcher(Protocol):
    """Notices changes of one bucket. `scan` and `collect` block and are called in a thread, one
    call at a time."""

    @property
    def sees_closing(self) -> bool:
        """Whether a writer's close is told (CLOSED); else files must settle."""
        ...

    def scan(self) -> Listing:
        """Walk the whole bucket, placing watches first. Raises BucketGone, WatchesExhausted."""
        ...

    def collect(self) -> Hints:
        """What was noticed since the last call; never waits for more. Raises WatchesExhausted."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return once `collect` may have something, at the latest after `seconds`. May be
        cancelled."""
        ...

    async def close(self) -> None:
        """Stop watching. Called once, with no other call under way."""
        ...
