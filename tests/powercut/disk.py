"""A disk with a volatile cache. Synced content stays; of what was written later, a power cut leaves
a random subset, some of it torn.

Names are the file system's journal's: made, renamed and removed in order, kept for sure once the
directory is synced; a cut leaves a beginning of what came after.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR_BYTES = 512
TORN_RATE = 0.15

Names = dict[str, "File"]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset; `data` None cuts the file to `offset` bytes."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
            return
        end = self.offset + len(self.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        content[self.offset : end] = self.data

    def tear(self, random: Random) -> list[Write]:
        """Some of its sectors."""
        if self.data is None:
            return [self]
        starts = range(0, len(self.data), SECTOR_BYTES)
        return [
            Write(self.offset + start, self.data[start : start + SECTOR_BYTES])
            for start in starts
            if random.random() < 0.5
        ]


@dataclass(eq=False, slots=True)
class File:
    """One file, whatever its name is."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    def sync(self, count: int) -> None:
        """The first `count` pending writes are on the disk."""
        for write in self.pending[:count]:
            write.apply(self.synced)
        del self.pending[:count]

    def survive(self, kept: float, random: Random) -> bytes:
        """Its content after a cut that keeps a write with probability `kept`."""
        content = copy(self.synced)
        for write in self.pending:
            if random.random() >= kept:
                continue
            parts = write.tear(random) if random.random() < TORN_RATE else [write]
            for part in parts:
                part.apply(content)
        return bytes(content)


class Disk:
    """The files of one directory."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._synced: Names = {}
        self._unsynced: list[Callable[[Names], object]] = []

    def open(self, name: str) -> File:
        """The file of this name; a new one where there is none."""
        found = self.names.get(name)
        if found is None:
            found = File()
            made = found
            self._change(lambda names: names.__setitem__(name, made))
        return found

    def rename(self, old: str, new: str) -> None:
        file = self.names[old]

        def move(names: Names) -> None:
            names.pop(old, None)
            names[new] = file

        self._change(move)

    def unlink(self, name: str) -> None:
        self._change(lambda names: names.pop(name, None))

    def sync_names(self) -> None:
        """The directory is synced."""
        self._synced = dict(self.names)
        self._unsynced.clear()

    def _change(self, change: Callable[[Names], object]) -> None:
        change(self.names)
        self._unsynced.append(change)

    def cut(self, directory: Path, random: Random) -> None:
        """Leave in `directory` what a power cut now would."""
        names = dict(self._synced)
        for change in self._unsynced[: random.randint(0, len(self._unsynced))]:
            change(names)
        kept = random.choice((0.0, 0.2, 0.5, 0.8, 0.95))
        for name, file in names.items():
            target = directory / name
            target.write_bytes(file.survive(kept, random))
            target.chmod(0o600)
