"""The catalogue: every object already reported, and what it looked like then.

An entry is 40 bytes: a stamp (inode, size, mtime in ns) and the MD5 of the content. Everything here
is arithmetic on values; nothing reads a file or waits.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from eventmesh_connectors.s3.keys import KeyFilter, decode_key, encode_key, parse_filter

_STAMP = struct.Struct("<QQQ")
_STAMP_SIZE = _STAMP.size
_MASK = (1 << 64) - 1
_POSITION = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{32})")

#: positions that are not keys; an encoded key never holds a `:`
SEQUENCER = ":sequencer"
FILTER = ":filter"
#: the digest of an object whose content was never read
UNREAD = bytes(16)


def stamp_of(status: os.stat_result) -> bytes:
    """Inode, size and mtime of a file, packed. Times before 1970 and up to 2554 fit."""
    return _STAMP.pack(status.st_ino & _MASK, status.st_size & _MASK, status.st_mtime_ns & _MASK)


def size_of(stamp: bytes) -> int:
    """The size in bytes that a stamp (or entry) holds."""
    return int(_STAMP.unpack_from(stamp)[1])


def digest_of(entry: bytes) -> bytes:
    """The MD5 (16 bytes) that an entry holds."""
    return entry[_STAMP_SIZE:]


def is_same(entry: bytes, stamp: bytes) -> bool:
    """Whether the file still looks as it did when `entry` was made."""
    return entry.startswith(stamp)


def is_same_but_inode(entry: bytes, stamp: bytes) -> bool:
    """Whether size and mtime are as they were: a copy that kept the time, a restored backup."""
    return entry[8:_STAMP_SIZE] == stamp[8:]


def format_position(entry: bytes) -> str:
    """An entry as stored: `inode-size-mtime-md5` in hex."""
    inode, size, mtime = _STAMP.unpack_from(entry)
    return f"{inode:x}-{size:x}-{mtime:x}-{entry[_STAMP_SIZE:].hex()}"


def parse_position(text: str) -> bytes:
    """The entry that `format_position` wrote. Raises ValueError for any other text."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a catalogue entry: {text[:80]!r}")
    numbers = (int(match[index], 16) for index in (1, 2, 3))
    return _STAMP.pack(*numbers) + bytes.fromhex(match[4])


class ChangeKind(Enum):
    """What happened to an object. RESTAMPED and ADOPTED are catalogued without an event."""

    PUT = "ObjectCreated:Put"
    COPY = "ObjectCreated:Copy"
    DELETE = "ObjectRemoved:Delete"
    RESTAMPED = "restamped"
    ADOPTED = "adopted"


class Change(NamedTuple):
    """One object's change; `entry` is its new entry, None when it is gone."""

    key: bytes
    kind: ChangeKind
    entry: bytes | None


class Catalogue:
    """The entries by key, and the last sequencer given out."""

    __slots__ = ("entries", "sequencer", "stored_filter", "unreadable")

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.sequencer = 0
        #: None before the very first start
        self.stored_filter: KeyFilter | None = None
        #: stored positions that could not be read
        self.unreadable = 0

    def next_sequencer(self, now: float) -> int:
        """A number larger than every one before, also across restarts and clock steps."""
        self.sequencer = max(self.sequencer + 1, int(now * 1e9))
        return self.sequencer

    def positions(self, changes: Iterable[Change]) -> dict[str, str | None]:
        """What to store for `changes`, the sequencer included."""
        positions: dict[str, str | None] = {SEQUENCER: f"{self.sequencer:016x}"}
        for key, _, entry in changes:
            positions[encode_key(key)] = None if entry is None else format_position(entry)
        return positions

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in changes that are stored."""
        for key, _, entry in changes:
            if entry is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = entry

    def below(self, directories: tuple[bytes, ...]) -> list[bytes]:
        """The keys that lie below any of `directories` (each ends in `/`)."""
        return [key for key in self.entries if key.startswith(directories)]


def load_catalogue(positions: Mapping[str, str], key_filter: KeyFilter) -> Catalogue:
    """The catalogue from stored positions, without the keys that `key_filter` leaves out.

    Those stay stored: when the filter is widened again they are known, not delivered a second time.
    """
    catalogue = Catalogue()
    for name, text in positions.items():
        try:
            _load_position(catalogue, name, text, key_filter)
        except ValueError:
            catalogue.unreadable += 1
    return catalogue


def _load_position(catalogue: Catalogue, name: str, text: str, key_filter: KeyFilter) -> None:
    if name == SEQUENCER:
        catalogue.sequencer = int(text, 16)
    elif name == FILTER:
        catalogue.stored_filter = parse_filter(text)
    else:
        key = decode_key(name)
        if key_filter.matches(key):
            catalogue.entries[key] = parse_position(text)


@dataclass(slots=True)
class Listing:
    """What a walk through a bucket found: stamps by key. What lies below an unreadable directory
    is unknown."""

    files: dict[bytes, bytes] = field(default_factory=dict)
    #: directories that could not be read; each ends in `/`
    unreadable: list[bytes] = field(default_factory=list)
    #: how many entries are neither file nor directory, by what they are
    ignored: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Difference:
    """Keys of a listing that are not as catalogued. `renamed` maps a new key to a missing one whose
    stamp it has."""

    new: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    renamed: dict[bytes, bytes] = field(default_factory=dict)


def compare(entries: Mapping[bytes, bytes], listing: Listing) -> Difference:
    """How `listing` differs from the catalogue. Each key is in at most one of new, changed,
    missing."""
    found = Difference()
    for key, stamp in listing.files.items():
        entry = entries.get(key)
        if entry is None:
            found.new.append(key)
        elif not entry.startswith(stamp):
            found.changed.append(key)
    unknown = tuple(listing.unreadable)
    found.missing = [
        key for key in entries if key not in listing.files and not key.startswith(unknown)
    ]
    if found.new and found.missing:
        found.renamed = _pair(entries, listing, found)
    return found


def _pair(
    entries: Mapping[bytes, bytes], listing: Listing, found: Difference
) -> dict[bytes, bytes]:
    left = {entries[key][:_STAMP_SIZE]: key for key in found.missing}
    pairs = {}
    for key in found.new:
        old = left.pop(listing.files[key], None)
        if old is not None:
            pairs[key] = old
    return pairs
