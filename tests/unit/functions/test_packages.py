"""Zips from outside: ordinary trees survive, everything else is refused and leaves nothing."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import struct
import threading
import tracemalloc
import unicodedata
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eventmesh.errors import EventMeshError
from eventmesh.functions import packages
from eventmesh.functions.package_entries import CANNOT_UNZIP, Refusal, checked_entries
from eventmesh.functions.packages import (
    LIMITS,
    PackageError,
    PackageLimits,
    executable_paths,
    prepare_code,
    prepare_layer,
    python_paths,
)

TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
CANNOT = "Could not unzip uploaded file. Please check your file, then try to upload again."


@dataclass(frozen=True)
class Member:
    """One entry of a hand-made zip; everything may lie."""

    name: bytes
    data: bytes = b"x"
    mode: int = 0
    flags: int = 0x800
    method: int = zipfile.ZIP_DEFLATED
    crc: int | None = None
    size: int | None = None
    offset: int | None = None
    compressed: bytes | None = None
    zip64: bytes = b""


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def hand_made(*members: Member, prefix: bytes = b"") -> bytes:
    body, directory = bytearray(prefix), bytearray()
    for member in members:
        packed = member.compressed
        if packed is None:
            stored = member.method == zipfile.ZIP_STORED
            packed = member.data if stored else deflated(member.data)
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        size = len(member.data) if member.size is None else member.size
        offset = len(body) if member.offset is None else member.offset
        facts = (20, member.flags, member.method, 0, 0x21, crc, len(packed), size)
        body += struct.pack("<4s5H3L2H", b"PK\3\4", *facts, len(member.name), 0)
        body += member.name + packed
        directory += struct.pack("<4sBB5H3L", b"PK\1\2", 20, 3, *facts)
        lengths = (len(member.name), len(member.zip64), 0, 0, 0, member.mode << 16, offset)
        directory += struct.pack("<5H2L", *lengths)
        directory += member.name + member.zip64
    tail = (0, 0, len(members) % 65536, len(members) % 65536, len(directory), len(body), 0)
    return bytes(body + directory + struct.pack("<4s4H2LH", b"PK\5\6", *tail))


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "code.zip"
    path.write_bytes(content)
    return path


def refusal(tmp_path: Path, content: bytes, limits: PackageLimits = LIMITS) -> str:
    """The message `content` is refused with, once it is certain that nothing was left behind."""
    cache = tmp_path / "cache"
    with pytest.raises(PackageError) as caught:
        prepare_code(write(tmp_path, content), cache, limits)
    assert not cache.exists() or sorted(p.name for p in cache.iterdir()) == [".lock"]
    assert sorted(p.name for p in tmp_path.iterdir() if p != cache) == ["code.zip"]
    return str(caught.value)


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file's content below `root`; directories are None."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ordinary packages


def test_a_directory_is_returned_as_is(tmp_path: Path) -> None:
    assert prepare_code(tmp_path, tmp_path / "cache") == tmp_path
    assert prepare_layer(tmp_path, tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache").exists()


def test_a_zip_lies_under_its_digest(tmp_path: Path) -> None:
    content = hand_made(
        Member(b"app.py", b"print()\n"), Member(b"lib/", b""), Member(b"lib/deep/x", b"")
    )
    path = write(tmp_path, content)
    unpacked = prepare_code(path, tmp_path / "cache")
    assert unpacked == tmp_path / "cache" / hashlib.sha256(content).hexdigest()
    assert tree(unpacked) == {
        "app.py": b"print()\n",
        "lib": None,
        "lib/deep": None,
        "lib/deep/x": b"",
    }
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == [".lock", unpacked.name]


def test_it_is_unpacked_once_and_again_when_it_changes(tmp_path: Path) -> None:
    first = prepare_code(write(tmp_path, hand_made(Member(b"a", b"1"))), tmp_path / "cache")
    (first / "a").write_bytes(b"kept")
    assert prepare_layer(tmp_path / "code.zip", tmp_path / "cache") == first
    assert tree(first) == {"a": b"kept"}
    second = prepare_code(write(tmp_path, hand_made(Member(b"a", b"2"))), tmp_path / "cache")
    assert second != first
    assert tree(second) == {"a": b"2"}


def test_permissions_are_plain_whatever_the_umask(tmp_path: Path) -> None:
    content = hand_made(
        Member(b"bin/", b"", stat.S_IFDIR | stat.S_ISGID | 0o777),
        Member(b"bin/run", mode=stat.S_IFREG | 0o775),
        Member(b"data", mode=stat.S_IFREG | 0o666),
        Member(b"secret", mode=stat.S_IFREG | 0o400),
        Member(b"dos"),
    )
    before = os.umask(0o077)
    try:
        root = prepare_code(write(tmp_path, content), tmp_path / "cache")
    finally:
        os.umask(before)
    modes = {name: mode(root / name) for name in ("", *tree(root))}
    assert modes == {
        "": 0o755,
        "bin": 0o755,
        "bin/run": 0o755,
        "data": 0o644,
        "secret": 0o644,
        "dos": 0o644,
    }


def test_names_of_other_tools_are_understood(tmp_path: Path) -> None:
    content = hand_made(
        Member(b"./", b""),
        Member(b"./src/", b""),
        Member(b"./src/caf\xc3\xa9.py", b"1", flags=0),
        Member("na\u00efve.py".encode(), b"2"),
        prefix=b"#!/usr/bin/env python3\n",
    )
    root = prepare_code(write(tmp_path, content), tmp_path / "cache")
    assert tree(root) == {"src": None, "src/caf\u00e9.py": b"1", "na\u00efve.py": b"2"}


def test_an_entry_of_unknown_size_is_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *args: int) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("streamed.py", b"1" * 100)
    root = prepare_code(write(tmp_path, pipe.getvalue()), tmp_path / "cache")
    assert tree(root) == {"streamed.py": b"1" * 100}


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc",), exclude_characters="/\\:"),
    min_size=1,
    max_size=8,
).filter(lambda name: name not in (".", ".."))
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.binary(max_size=200), min_size=1
)


def is_ordinary(files: dict[str, bytes]) -> bool:
    """No two names alike, no file where another needs a folder."""
    folders = {str(parent) for name in files for parent in Path(name).parents}
    names = {str(Path(name)) for name in files} | folders
    alike = {unicodedata.normalize("NFC", name.casefold()) for name in names}
    folded = {
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", n).casefold()) for n in names
    }
    return folders.isdisjoint(files) and len(alike) == len(folded) == len(names)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(TREES.filter(is_ordinary), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
@example({"-rf": b"", "a b/\u202e'\"": b"\0" * 1000, "\u00e9" * 127: b"x"}, zipfile.ZIP_DEFLATED)
def test_ordinary_trees_survive(files: dict[str, bytes], method: int) -> None:
    with TemporaryDirectory() as scratch:
        path = Path(scratch, "code.zip")
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        root = prepare_code(path, Path(scratch, "cache"))
        assert {name: data for name, data in tree(root).items() if data is not None} == files


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    intact = hand_made(Member(b"app.py", b"print('hello')\n" * 9), Member(b"lib/x", b"y" * 40))
    damaged = bytearray(intact)
    for position in data.draw(st.lists(st.integers(0, len(intact) - 1), min_size=1, max_size=4)):
        damaged[position] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as scratch:
        path = write(Path(scratch), bytes(damaged[: data.draw(st.integers(0, len(intact)))]))
        cache = Path(scratch, "cache")
        try:
            root = prepare_code(path, cache)
        except PackageError:
            assert not [p for p in cache.glob("*") if p.name != ".lock"]
        else:
            assert root.parent == cache
        assert {p.name for p in Path(scratch).iterdir()} <= {"code.zip", "cache"}


# refused


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        (b"../evil", "'../evil'", "its name leads out of the package"),
        (b"a/../../evil", "'a/../../evil'", "its name leads out of the package"),
        (b"a/..", "'a/..'", "its name leads out of the package"),
        (b"/abs", "'/abs'", "its name is absolute"),
        (b"//host/share", "'//host/share'", "its name is absolute"),
        (b"C:\\x", "'C:\\\\x'", "its name has a backslash"),
        (b"a\\b", "'a\\\\b'", "its name has a backslash"),
        (b"C:x", "'C:x'", "its name starts with a drive"),
        (b"c:/x", "'c:/x'", "its name starts with a drive"),
        (b"a//b", "'a//b'", "its name has an empty component"),
        (b".", "'.'", "its name ends with a dot alone"),
        (b"a/.", "'a/.'", "its name ends with a dot alone"),
        (b"", "''", "its name is not UTF-8, or empty"),
        (b"app.py\0.txt", "'app.py\\x00.txt'", "its name has a control character"),
        (b"a\nb", "'a\\nb'", "its name has a control character"),
        (b"a\x1b[31m", "'a\\x1b[31m'", "its name has a control character"),
        (b"a\x7f", "'a\\x7f'", "its name has a control character"),
        (b"a\xc2\x85", "'a\\x85'", "its name has a control character"),
        (b"d/" * 32 + b"x", None, "it lies deeper than 32 levels"),
        (b"d/" * 3000 + b"x", None, "it lies deeper than 32 levels"),
        (b"n" * 256, None, "a component of its name is longer than 255 bytes"),
        (b"\xc3\xa9" * 128, None, "a component of its name is longer than 255 bytes"),
        (b"n" * 65535, None, "a component of its name is longer than 255 bytes"),
    ],
)
def test_names_out_of_the_ordinary(
    tmp_path: Path, name: bytes, shown: str | None, reason: str
) -> None:
    message = refusal(tmp_path, hand_made(Member(b"good.py"), Member(name)))
    assert message.startswith(f"{CANNOT} ({tmp_path / 'code.zip'}: entry {shown or ''}")
    assert message.endswith(f": {reason})")
    assert len(message) < 600


def test_the_longest_and_deepest_names_allowed(tmp_path: Path) -> None:
    deep = "d/" * 31 + "x"
    content = hand_made(Member(b"n" * 255), Member(deep.encode(), b"deep"))
    root = prepare_code(write(tmp_path, content), tmp_path / "cache")
    assert (root / deep).read_bytes() == b"deep"
    assert (root / ("n" * 255)).read_bytes() == b"x"


@pytest.mark.parametrize("flags", [0, 0x800])
def test_names_that_are_not_utf8(tmp_path: Path, flags: int) -> None:
    message = refusal(tmp_path, hand_made(Member(b"good"), Member(b"caf\xe9.py", flags=flags)))
    assert message.startswith(CANNOT)
    assert "its name is not UTF-8" in message
    assert "caf\\xe9.py" in message or "caf\\u0398.py" in message


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (
            Member(b"e", b"/etc/passwd", stat.S_IFLNK | 0o777),
            "it is a symbolic link; package the file itself",
        ),
        (Member(b"e", mode=stat.S_IFCHR | 0o666), "it is a device, FIFO or socket"),
        (Member(b"e", mode=stat.S_IFBLK | 0o666), "it is a device, FIFO or socket"),
        (Member(b"e", mode=stat.S_IFIFO | 0o666), "it is a device, FIFO or socket"),
        (Member(b"e", mode=stat.S_IFSOCK | 0o666), "it is a device, FIFO or socket"),
        (Member(b"e", mode=stat.S_IFREG | 0o4755), "it has the setuid or setgid bit"),
        (Member(b"e", mode=0o2755), "it has the setuid or setgid bit"),
        (Member(b"e", mode=stat.S_IFDIR | 0o755), "its name and its kind disagree"),
        (Member(b"e/", b"", stat.S_IFREG | 0o755), "its name and its kind disagree"),
        (Member(b"e/", b"content"), "it is a directory with content"),
        (Member(b"e", flags=0x801), "it is encrypted"),
        (Member(b"e", flags=0x2800), "it is encrypted"),
        (
            Member(b"e", method=zipfile.ZIP_LZMA),
            "it uses compression method 14; only deflate is unpacked",
        ),
        (
            Member(b"e", method=zipfile.ZIP_BZIP2),
            "it uses compression method 12; only deflate is unpacked",
        ),
    ],
)
def test_kinds_out_of_the_ordinary(tmp_path: Path, member: Member, reason: str) -> None:
    message = refusal(tmp_path, hand_made(Member(b"good.py"), member))
    name = member.name.decode()
    assert message == f"{CANNOT} ({tmp_path / 'code.zip'}: entry '{name}': {reason})"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.py", "a.py"),
        ("a.py", "A.PY"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("a", "./a"),
        ("lib/a", "LIB/b"),
        ("lib/", "Lib/"),
        ("lib/", "lib/"),
        ("lib/", "lib"),
        ("lib", "lib/"),
    ],
)
def test_names_alike(tmp_path: Path, first: str, second: str) -> None:
    members = [Member(b"good")] + [
        Member(n.encode(), b"" if n.endswith("/") else b"x") for n in (first, second)
    ]
    message = refusal(tmp_path, hand_made(*members))
    assert message.endswith(f"entry {ascii(second)}: another entry has the same name)")


@pytest.mark.parametrize("names", [(b"a", b"a/b"), (b"a/b", b"a"), (b"a/b/c", b"a")])
def test_a_file_in_place_of_a_folder(tmp_path: Path, names: tuple[bytes, bytes]) -> None:
    message = refusal(tmp_path, hand_made(*(Member(name) for name in names)))
    assert message.endswith(
        f"entry {ascii(max(names).decode())}: another entry is a file of its folder's name)"
    )


def test_a_bomb_is_refused_while_inflating(tmp_path: Path) -> None:
    bomb = deflated(b"\0" * (8 * 1024 * 1024))
    # the header claims one harmless byte, or a lot
    for claimed in (1, 8 * 1024 * 1024):
        content = hand_made(Member(b"good"), Member(b"bomb", b"\0", size=claimed, compressed=bomb))
        reason = "inflates to more than 200 times its compressed size"
        expected = f"{CANNOT} ({tmp_path / 'code.zip'}: entry 'bomb': {reason})"
        assert refusal(tmp_path, content) == expected


def test_small_files_may_compress_well(tmp_path: Path) -> None:
    zeros = b"\0" * LIMITS.ratio_floor_bytes
    root = prepare_code(write(tmp_path, hand_made(Member(b"zeros", zeros))), tmp_path / "cache")
    assert (root / "zeros").read_bytes() == zeros


def test_the_total_is_counted_over_all_entries(tmp_path: Path) -> None:
    limits = replace(LIMITS, total_bytes=100_000)
    halves = [Member(name, os.urandom(50_000)) for name in (b"a", b"b")]
    assert len(tree(prepare_code(write(tmp_path, hand_made(*halves)), tmp_path / "c", limits))) == 2
    (tmp_path / "code.zip").unlink()
    other = tmp_path / "other"
    other.mkdir()
    message = refusal(other, hand_made(*halves, Member(b"c", b"!")), limits)
    expected = "Unzipped size must be smaller than 100000 bytes"
    assert message == f"{expected} ({other / 'code.zip'}: entry 'c' goes beyond it)"


def test_aws_texts_and_limits() -> None:
    assert CANNOT_UNZIP == CANNOT
    assert str(packages._too_large(LIMITS, "why").text) == TOO_LARGE
    assert LIMITS == PackageLimits(262_144_000, 20_000, 200, 1024 * 1024, 32, 255)
    assert issubclass(PackageError, EventMeshError)


def test_a_zip_larger_than_anything_inside_may_be(tmp_path: Path) -> None:
    path = write(tmp_path, b"")
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # a hole: nothing is written
    with pytest.raises(PackageError, match=TOO_LARGE) as caught:
        prepare_code(path, tmp_path / "cache")
    assert str(caught.value).endswith("the zip itself has 300000000 bytes)")
    assert not (tmp_path / "cache").exists()


def test_too_many_entries(tmp_path: Path) -> None:
    content = hand_made(*(Member(b"%d" % number, b"") for number in range(20_001)))
    message = refusal(tmp_path, content)
    assert message.endswith("it has 20001 entries; at most 20000 are unpacked)")


def test_a_huge_list_of_entries_is_not_read(tmp_path: Path) -> None:
    content = hand_made(Member(b"a"))
    junk = b"\0" * (9 * 1024 * 1024)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(junk), len(content), 0)
    path = write(tmp_path, content + junk + tail)
    del junk
    tracemalloc.start()
    try:
        with pytest.raises(PackageError, match="its list of entries is larger than 8388608 bytes"):
            prepare_code(path, tmp_path / "cache")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_overlapping_entries(tmp_path: Path) -> None:
    data = os.urandom(200)
    shared = hand_made(Member(b"a", data), Member(b"b", data, offset=0))
    assert "it overlaps another or ends outside the zip" in refusal(tmp_path, shared)
    # the first entry's content is said to contain the second entry
    quoted = bytearray(hand_made(Member(b"a", data), Member(b"b", data)))
    position = quoted.index(b"PK\1\2") + 20
    length = struct.unpack_from("<L", quoted, position)[0]
    struct.pack_into("<L", quoted, position, length + 40)
    assert "entry 'a': it overlaps another or ends outside" in refusal(tmp_path, bytes(quoted))


@pytest.mark.parametrize("offset", [10_000, 2**31, 2**32 - 1])
def test_entries_outside_the_zip(tmp_path: Path, offset: int) -> None:
    message = refusal(tmp_path, hand_made(Member(b"a"), Member(b"b", offset=offset)))
    assert message.startswith(CANNOT)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (Member(b"e", b"hello", crc=1), "Bad CRC-32 for file 'e'"),
        (Member(b"e", b"hello", size=9), "claims 9 bytes but has 5"),
        (Member(b"e", b"hello", size=9, method=zipfile.ZIP_STORED), "claims 9 bytes but has 5"),
        (Member(b"e", b"hello", size=2), "claims 2 bytes but has 5"),
        (Member(b"e", b"he", compressed=deflated(b"hello")), "Bad CRC-32 for file 'e'"),
        (Member(b"e", b"he", compressed=b"hello", method=0), "Bad CRC-32 for file 'e'"),
        (Member(b"e", b"hello", compressed=b"\xff\xff\xff\xff"), "Error -3 while decompressing"),
        (
            Member(b"e", b"hello", size=2**32 - 1, zip64=struct.pack("<HHQ", 1, 8, 2**40)),
            f"claims {2**40} bytes but has 5",
        ),
    ],
)
def test_lies_about_content(tmp_path: Path, member: Member, reason: str) -> None:
    message = refusal(tmp_path, hand_made(Member(b"good"), member))
    assert message.startswith(f"{CANNOT} ({tmp_path / 'code.zip'}: entry 'e': {reason}")


def test_truncated_content(tmp_path: Path) -> None:
    packed = deflated(os.urandom(1000))[:500]
    content = hand_made(Member(b"e", b"\0" * 1000, compressed=packed))
    assert refusal(tmp_path, content).startswith(f"{CANNOT} ({tmp_path / 'code.zip'}: entry 'e': ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "File is not a zip file"),
        (b"def handler(event, context): ...\n", "File is not a zip file"),
        (b"\x1f\x8b\x08 a tarball", "File is not a zip file"),
        (hand_made(Member(b"a.py"))[:-8], "File is not a zip file"),
        (hand_made(), "it holds no files"),
        (hand_made(Member(b"empty/", b"")), "it holds no files"),
    ],
)
def test_not_a_useful_zip(tmp_path: Path, content: bytes, reason: str) -> None:
    assert refusal(tmp_path, content) == f"{CANNOT} ({tmp_path / 'code.zip'}: {reason})"


def test_paths_that_are_neither_file_nor_directory(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="^Cannot use .*gone.zip as a package: .*No such file"):
        prepare_code(tmp_path / "gone.zip", tmp_path / "cache")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PackageError, match="neither a directory nor a regular file"):
        prepare_code(tmp_path / "fifo", tmp_path / "cache")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(PackageError, match="^Cannot use "):
            prepare_code(tmp_path / "socket", tmp_path / "cache")


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(PackageError, match="^Cannot use .*code.zip as a package: .*File exists"):
        prepare_code(write(tmp_path, hand_made(Member(b"a"))), tmp_path / "cache")


# several at once, and the dead


def test_threads_that_race_get_one_tree(tmp_path: Path) -> None:
    path = write(tmp_path, hand_made(*(Member(b"%d" % n, b"%d" % n) for n in range(50))))
    together = threading.Barrier(6)

    def prepare(_: int) -> Path:
        together.wait()
        return prepare_code(path, tmp_path / "cache")

    with ThreadPoolExecutor(6) as threads:
        roots = set(threads.map(prepare, range(6)))
    assert len(roots) == 1
    assert tree(roots.pop()) == {str(n): b"%d" % n for n in range(50)}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".unpacking-killed"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "half").write_bytes(b"hal")
    root = prepare_code(write(tmp_path, hand_made(Member(b"a"))), tmp_path / "cache")
    assert sorted(p.name for p in root.parent.iterdir()) == [".lock", root.name]


def test_a_zip_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, hand_made(Member(b"a")))
    unpack = packages._unpack

    def slow_unpack(*arguments: object) -> None:
        unpack(*arguments)  # type: ignore[arg-type]
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(packages, "_unpack", slow_unpack)
    with pytest.raises(PackageError, match="it changed while it was unpacked; try again"):
        prepare_code(path, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packages, "_synchronize", full)
    with pytest.raises(PackageError, match="No space left on device"):
        prepare_code(write(tmp_path, hand_made(Member(b"a"))), tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_entries_are_judged_without_a_file() -> None:
    info = zipfile.ZipInfo("a.py")
    info.header_offset = 0
    assert [entry.path for entry in checked_entries([info], 34, LIMITS)] == ["a.py"]
    with pytest.raises(Refusal, match="ends outside the zip"):
        checked_entries([info], 33, LIMITS)


# search paths


def test_the_later_layer_wins() -> None:
    layers = [Path("/one"), Path("/two")]
    expected = [
        Path("/two/python/lib/python3.12/site-packages"),
        Path("/one/python/lib/python3.12/site-packages"),
        Path("/two/python"),
        Path("/one/python"),
    ]
    assert python_paths(layers, "3.12") == expected
    assert python_paths(layers, "python3.12") == expected
    assert python_paths(layers, "3.12.4") == expected
    assert executable_paths(layers) == [Path("/two/bin"), Path("/one/bin")]
    assert python_paths([], "3.12") == executable_paths([]) == []


@pytest.mark.parametrize("version", ["", "3", "nodejs20.x", "3.x", "../3.12"])
def test_not_a_python_version(version: str) -> None:
    with pytest.raises(ValueError, match="write 3.12 or python3.12"):
        python_paths([Path("/one")], version)
