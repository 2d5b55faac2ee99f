"""Which entries of a zip are acceptable: ordinary files and directories with ordinary names.

Pure: judges the zip's own list of entries. `packages` opens the zip and counts what it inflates.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_UTF8_NAME_FLAG = 0x800
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class PackageLimits:
    """How large a zip may become. `total_bytes` is AWS's (semantics 9.1), the rest is eventmesh's.

    An entry may inflate to `ratio` times its compressed size; below `ratio_floor_bytes` to any.
    `name_bytes` is for one component of a name, `depth` the number of components.
    """

    total_bytes: int = 262_144_000
    entries: int = 20_000
    ratio: int = 200
    ratio_floor_bytes: int = 1024 * 1024
    depth: int = 32
    name_bytes: int = 255


class Refusal(Exception):
    """Why a zip is refused. `text` is how the message starts."""

    def __init__(self, reason: str, text: str = CANNOT_UNZIP) -> None:
        super().__init__(reason)
        self.text = text


@dataclass(frozen=True, slots=True)
class Entry:
    """A checked member of a zip. `path` is relative and ordinary; `shown` is fit for messages."""

    info: ZipInfo
    path: str
    shown: str
    is_directory: bool

    @property
    def mode(self) -> int:
        executable = (self.info.external_attr >> 16) & 0o111
        return 0o755 if self.is_directory or executable else 0o644


def checked_entries(infos: Sequence[ZipInfo], data_end: int, limits: PackageLimits) -> list[Entry]:
    """What the zip's list of entries says, if all of it is acceptable. Pure. Raises Refusal."""
    if len(infos) > limits.entries:
        raise Refusal(f"it has {len(infos)} entries; at most {limits.entries} are unpacked")
    entries = [_checked_entry(info, limits) for info in infos]
    if all(entry.is_directory for entry in entries):
        raise Refusal("it holds no files")
    _check_distinct(entries)
    _check_apart(entries, data_end)
    return [entry for entry in entries if entry.path]


def _checked_entry(info: ZipInfo, limits: PackageLimits) -> Entry:
    shown = ascii(info.orig_filename)
    shown = shown if len(shown) <= 200 else f"{shown[:200]}..."
    name = _decoded_name(info)
    objection = _name_objection(name, limits) or _kind_objection(info, name.endswith("/"))
    if objection:
        raise Refusal(f"entry {shown}: {objection}")
    # some tools write ./ before every name
    path = "/".join(part for part in name.rstrip("/").split("/") if part != ".")
    return Entry(info, path, shown, name.endswith("/"))


def _decoded_name(info: ZipInfo) -> str:
    """The name as the zip has it; "" if not UTF-8. (`filename` would end at a NUL.)"""
    if info.flag_bits & _UTF8_NAME_FLAG:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _name_objection(name: str, limits: PackageLimits) -> str | None:
    parts = name.removesuffix("/").split("/")
    objections = (
        (not name, "its name is not UTF-8, or empty"),
        (_CONTROL.search(name), "its name has a control character"),
        (name.startswith("/"), "its name is absolute"),
        ("\\" in name, "its name has a backslash"),
        (_DRIVE.match(name), "its name starts with a drive"),
        (".." in parts, "its name leads out of the package"),
        ("" in parts, "its name has an empty component"),
        (name == "." or name.endswith("/."), "its name ends with a dot alone"),
        (len(parts) > limits.depth, f"it lies deeper than {limits.depth} levels"),
        (
            any(len(part.encode()) > limits.name_bytes for part in parts),
            f"a component of its name is longer than {limits.name_bytes} bytes",
        ),
    )
    return next((text for applies, text in objections if applies), None)


def _kind_objection(info: ZipInfo, is_directory: bool) -> str | None:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    # a directory's setgid bit only says which group new files get; it is dropped
    privileged = stat.S_ISUID if is_directory else stat.S_ISUID | stat.S_ISGID
    objections = (
        (kind == stat.S_IFLNK, "it is a symbolic link; package the file itself"),
        (kind not in (0, stat.S_IFREG, stat.S_IFDIR), "it is a device, FIFO or socket"),
        (kind and (kind == stat.S_IFDIR) != is_directory, "its name and its kind disagree"),
        (mode & privileged, "it has the setuid or setgid bit"),
        (info.flag_bits & _ENCRYPTED_FLAGS, "it is encrypted"),
        (
            info.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
            f"it uses compression method {info.compress_type}; only deflate is unpacked",
        ),
        (is_directory and info.file_size, "it is a directory with content"),
    )
    return next((text for applies, text in objections if applies), None)


def _check_distinct(entries: Iterable[Entry]) -> None:
    """Refuse names that some file system would take for one another, parents included."""
    spellings: dict[str, str] = {}
    listed: set[str] = set()
    for entry in entries:
        paths = [*_parents(entry.path), entry.path]
        alike = all(spellings.setdefault(_folded(path), path) == path for path in paths)
        if entry.path in listed or not alike:
            raise Refusal(f"entry {entry.shown}: another entry has the same name")
        listed.add(entry.path)
    files = {entry.path for entry in entries if not entry.is_directory}
    for entry in entries:
        if not files.isdisjoint(_parents(entry.path)):
            raise Refusal(f"entry {entry.shown}: another entry is a file of its folder's name")


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _check_apart(entries: Iterable[Entry], data_end: int) -> None:
    """Refuse entries that share bytes of the zip: the way to put gigabytes in a small file."""
    ordered = sorted(entries, key=lambda entry: entry.info.header_offset)
    starts = [entry.info.header_offset for entry in ordered] + [data_end]
    for entry, (start, following) in zip(ordered, pairwise(starts), strict=True):
        if start < 0 or start + _smallest_size(entry.info) > following:
            raise Refusal(f"entry {entry.shown}: it overlaps another or ends outside the zip")


def _smallest_size(info: ZipInfo) -> int:
    """Bytes an entry takes at least: the local header may have extra fields on top."""
    encoding = "utf-8" if info.flag_bits & _UTF8_NAME_FLAG else "cp437"
    return _LOCAL_HEADER_BYTES + len(info.orig_filename.encode(encoding)) + info.compress_size
