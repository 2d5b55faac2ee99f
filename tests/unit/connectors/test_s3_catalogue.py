"""The catalogue: positions, and how a listing differs from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh_connectors.s3.catalogue import (
    UNREAD,
    Catalogue,
    Change,
    ChangeKind,
    Listing,
    compare,
    digest_of,
    format_position,
    is_same,
    is_same_but_inode,
    load_catalogue,
    parse_position,
    size_of,
    stamp_of,
)
from eventmesh_connectors.s3.keys import KeyFilter

ALL = KeyFilter()
stamps = st.integers(0, 3).map(lambda number: bytes([number]) * 24)
keys = st.sampled_from([b"a", b"b", b"d/a", b"d/b", b"d/e/c", b"dd"])
entries = st.builds(lambda stamp: stamp + UNREAD, stamps)


def status(inode: int = 1, size: int = 2, mtime_ns: int = 3) -> os.stat_result:
    fields = (0, inode, 0, 1, 0, 0, size, 0, 0, 0)
    return os.stat_result(fields, {"st_mtime_ns": mtime_ns})


@given(st.binary(min_size=40, max_size=40))
def test_positions_are_stored_and_read(entry: bytes) -> None:
    assert parse_position(format_position(entry)) == entry
    assert len(format_position(entry)) <= 83


@pytest.mark.parametrize("text", ["", "1-2-3", "1-2-3-zz", "x" * 200, "1-2-3-" + "0" * 33])
def test_other_texts_are_no_positions(text: str) -> None:
    with pytest.raises(ValueError, match="not a catalogue entry"):
        parse_position(text)


def test_stamps() -> None:
    stamp = stamp_of(status())
    entry = stamp + bytes(range(16))
    assert (size_of(entry), digest_of(entry)) == (2, bytes(range(16)))
    assert is_same(entry, stamp)
    assert not is_same(entry, stamp_of(status(mtime_ns=4)))
    assert is_same_but_inode(entry, stamp_of(status(inode=9)))
    assert not is_same_but_inode(entry, stamp_of(status(size=9)))


def test_times_outside_of_our_age_fit() -> None:
    late, early = (stamp_of(status(mtime_ns=ns)) for ns in (4_300_000_000 * 10**9, -(10**12)))
    assert late != early
    assert len(late) == len(early) == 24


def test_changes_become_positions_and_entries() -> None:
    catalogue = Catalogue()
    catalogue.sequencer = 255
    entry = stamp_of(status()) + UNREAD
    changes = [Change(b"a b", ChangeKind.PUT, entry), Change(b"c", ChangeKind.DELETE, None)]
    positions = catalogue.positions(changes)
    assert positions == {
        "a+b": f"1-2-3-{'0' * 32}",
        "c": None,
        ":sequencer": "00000000000000ff",
    }
    catalogue.entries[b"c"] = entry
    catalogue.apply(changes)
    assert catalogue.entries == {b"a b": entry}
    stored = {key: text for key, text in positions.items() if text is not None}
    loaded = load_catalogue(stored | {":filter": ALL.text()}, ALL)
    assert (loaded.entries, loaded.sequencer, loaded.stored_filter) == ({b"a b": entry}, 255, ALL)


def test_unreadable_positions_are_counted_and_left_out() -> None:
    loaded = load_catalogue({"a": "rubbish", ":filter": "{", ":sequencer": "xyz"}, ALL)
    assert loaded.unreadable == 3
    assert (loaded.entries, loaded.sequencer, loaded.stored_filter) == ({}, 0, None)


def test_keys_outside_the_filter_stay_stored_and_are_not_loaded() -> None:
    text = f"1-2-3-{'0' * 32}"
    loaded = load_catalogue({"a.jpg": text, "b.png": text}, KeyFilter(suffixes=(b".jpg",)))
    assert set(loaded.entries) == {b"a.jpg"}


def test_below() -> None:
    catalogue = Catalogue()
    catalogue.entries = dict.fromkeys([b"d/a", b"d/e/a", b"dd", b"e/a", b"f"], bytes(40))
    assert catalogue.below((b"d/", b"e/")) == [b"d/a", b"d/e/a", b"e/a"]


@given(st.dictionaries(keys, entries), st.dictionaries(keys, stamps))
@settings(max_examples=200)
def test_a_difference_made_good_leaves_no_difference(
    known: dict[bytes, bytes], files: dict[bytes, bytes]
) -> None:
    found = compare(known, Listing(files))
    assert set(found.new) == files.keys() - known.keys()
    assert set(found.missing) == known.keys() - files.keys()
    assert set(found.changed) == {
        key for key in files.keys() & known.keys() if known[key][:24] != files[key]
    }
    for new, old in found.renamed.items():
        assert new in found.new
        assert old in found.missing
        assert known[old].startswith(files[new])
    assert len(set(found.renamed.values())) == len(found.renamed)
    after = known | {key: files[key] + UNREAD for key in (*found.new, *found.changed)}
    again = compare({k: e for k, e in after.items() if k not in found.missing}, Listing(files))
    assert (again.new, again.changed, again.missing) == ([], [], [])


@given(st.dictionaries(keys, entries))
def test_what_lies_below_an_unreadable_directory_is_not_missing(known: dict[bytes, bytes]) -> None:
    found = compare(known, Listing({}, [b"d/"]))
    assert set(found.missing) == {key for key in known if not key.startswith(b"d/")}


def test_real_files_are_stamped_by_inode_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    before = stamp_of((tmp_path / "a").stat())
    assert size_of(before) == 5
    os.utime(tmp_path / "a", ns=(0, 1))
    assert stamp_of((tmp_path / "a").stat()) != before
