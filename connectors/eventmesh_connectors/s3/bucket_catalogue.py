"""What was already delivered of a listed bucket, and what a listing changes in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from eventmesh_connectors.s3.bucket_events import ListedObject
from eventmesh_connectors.s3.catalogue import FILTER, SEQUENCER
from eventmesh_connectors.s3.keys import KeyFilter, decode_key, encode_key, parse_filter

_STAMP = re.compile(r"[0-9a-f]+-[0-9a-f]+-.*")


class BucketCatalogue:
    """Objects by key, each with a stamp (`size-modified-etag`), as the last events told."""

    def __init__(self, key_filter: KeyFilter) -> None:
        self._filter = key_filter
        self.stamps: dict[bytes, str] = {}
        self.sequencer = 0
        #: the filter of the last full listing; None before the first
        self.stored_filter: KeyFilter | None = None
        self.unreadable = 0

    @property
    def is_stored_filter_current(self) -> bool:
        """Whether a full listing with this filter was stored."""
        return self.stored_filter == self._filter

    def next_sequencer(self, now: float) -> int:
        """A number larger than every one before, also across restarts and clock steps."""
        self.sequencer = max(self.sequencer + 1, int(now * 1e9))
        return self.sequencer

    def changed(self, page: Iterable[ListedObject]) -> list[ListedObject]:
        """The objects of a page that are new or not as known."""
        stamps, matches = self.stamps, self._filter.matches
        return [
            found
            for found in page
            if matches(found.key) and stamps.get(found.key) != stamp_of(found)
        ]

    def is_adopted(self, found: ListedObject) -> bool:
        """With `latest`: whether an object was there before it could have been delivered, so that
        it is only noted."""
        if self.is_stored_filter_current or found.key in self.stamps:
            return False
        return self.stored_filter is None or not self.stored_filter.matches(found.key)

    def missing(self, seen: set[bytes]) -> list[bytes]:
        """Known objects that a full listing did not show."""
        return [key for key in self.stamps if key not in seen]

    def positions(
        self, found: Iterable[ListedObject] = (), gone: Iterable[bytes] = ()
    ) -> dict[str, str | None]:
        """What to store, the sequencer included."""
        positions: dict[str, str | None] = {SEQUENCER: f"{self.sequencer:016x}"}
        positions |= {encode_key(one.key): stamp_of(one) for one in found}
        positions |= dict.fromkeys(map(encode_key, gone))
        return positions

    def apply(self, found: Iterable[ListedObject] = (), gone: Iterable[bytes] = ()) -> None:
        """Take in what is stored."""
        self.stamps.update((one.key, stamp_of(one)) for one in found)
        for key in gone:
            self.stamps.pop(key, None)

    def filter_position(self) -> dict[str, str | None]:
        """What to store once a full listing is delivered."""
        return {FILTER: self._filter.text()}

    def apply_filter(self) -> None:
        """Take in that it is stored."""
        self.stored_filter = self._filter


def stamp_of(found: ListedObject) -> str:
    """What tells one state of an object from another."""
    return f"{found.size:x}-{int(found.modified_at * 1000):x}-{found.etag}"


def load_bucket_catalogue(positions: Mapping[str, str], key_filter: KeyFilter) -> BucketCatalogue:
    """The catalogue from stored positions. Keys that the filter leaves out stay stored: when it is
    widened again they are known."""
    catalogue = BucketCatalogue(key_filter)
    for name, text in positions.items():
        try:
            _load(catalogue, name, text, key_filter)
        except ValueError:
            catalogue.unreadable += 1
    return catalogue


def _load(catalogue: BucketCatalogue, name: str, text: str, key_filter: KeyFilter) -> None:
    if name == SEQUENCER:
        catalogue.sequencer = int(text, 16)
    elif name == FILTER:
        catalogue.stored_filter = parse_filter(text)
    elif not _STAMP.fullmatch(text):
        raise ValueError(f"not a stamp: {text[:80]!r}")
    elif key_filter.matches(key := decode_key(name)):
        catalogue.stamps[key] = text
