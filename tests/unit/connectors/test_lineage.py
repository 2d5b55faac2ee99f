"""Shard trees: parents before children, nobody starves, and where shards begin."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh_connectors.lineage import Ancestry, ListedShard, is_before, living_family


def shard(name: str, *parents: str, closed: bool = False) -> ListedShard:
    return ListedShard(name, parents, closed=closed)


@st.composite
def histories(draw: st.DrawFn) -> list[ListedShard]:
    """What a stream may list after random splits and merges: its oldest shards may be gone, and
    listings come in any order."""
    shards = [shard(f"s{n}") for n in range(draw(st.integers(1, 3)))]
    alive = [s.id for s in shards]
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.booleans()) and len(alive) > 1:
            pair = draw(st.permutations(alive))[:2]
            shards.append(shard(f"s{len(shards)}", *pair))
            alive = [name for name in alive if name not in pair] + [shards[-1].id]
        else:
            parent = draw(st.sampled_from(alive))
            alive.remove(parent)
            for _ in range(2):
                shards.append(shard(f"s{len(shards)}", parent))
                alive.append(shards[-1].id)
    trimmed = draw(st.integers(0, len(shards) - 1))
    return list(draw(st.permutations(shards[trimmed:])))


@given(histories())
@settings(max_examples=80)
def test_parents_come_before_children_and_only_gone_ones_are_left_out(
    listing: list[ListedShard],
) -> None:
    family = living_family(listing)
    names = [s.id for s in listing]
    assert sorted(family) == sorted(names)
    order = list(family)
    for one in listing:
        assert family[one.id] == tuple(p for p in one.parents if p in names)
        for parent in family[one.id]:
            assert order.index(parent) < order.index(one.id)


@given(
    st.dictionaries(
        st.integers(0, 7), st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=8
    )
)
@settings(max_examples=150)
def test_nobody_starves_whatever_is_listed(listing: dict[int, list[int]]) -> None:
    shards = [shard(str(n), *map(str, parents)) for n, parents in listing.items()]
    family = living_family(shards)
    finished: set[str] = set()
    for name, parents in family.items():
        assert finished.issuperset(parents)
        finished.add(name)
    assert finished == {s.id for s in shards}


def test_a_circle_is_cut_where_it_closes_and_nowhere_else() -> None:
    listing = [shard("c", "b"), shard("a", "b", "x"), shard("b", "a"), shard("x")]
    assert living_family(listing) == {"x": (), "a": ("x",), "b": ("a",), "c": ("b",)}


def test_a_shard_is_not_its_own_parent_and_parents_count_once() -> None:
    assert living_family([shard("a", "a"), shard("b", "a", "a")]) == {"a": (), "b": ("a",)}


def test_a_tree_of_years_is_no_trouble() -> None:
    listing = [shard(str(n), str(n - 1)) for n in range(20_000, 0, -1)]
    family = living_family(listing)
    assert list(family)[:2] == ["1", "2"]
    assert family["20000"] == ("19999",)


def test_sequence_numbers_are_numbers() -> None:
    assert is_before("9", "10")
    assert not is_before("10", "9")
    assert not is_before("10", "010")
    assert not is_before("", "1")
    assert not is_before("a", "b")


def test_shards_of_the_start_begin_at_the_starting_position() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a"), shard("b")])
    assert not ancestry.begins_at_its_beginning("a")


def test_shards_that_came_later_begin_at_their_beginning() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a")])
    ancestry.placed("a")
    ancestry.observe([shard("a", closed=True), shard("b", "a"), shard("c", "a"), shard("d")])
    assert [ancestry.begins_at_its_beginning(name) for name in "abcd"] == [False, True, True, True]


def test_children_of_parents_that_only_the_starting_position_placed_are_placed_too() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a", closed=True), shard("b", "a")])
    ancestry.placed("a")
    assert not ancestry.begins_at_its_beginning("b")


def test_children_of_parents_read_by_an_earlier_run_begin_at_their_beginning() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a", closed=True), shard("b", "a"), shard("c")])
    assert ancestry.begins_at_its_beginning("b")
    assert not ancestry.begins_at_its_beginning("c")


def test_children_of_parents_read_on_from_a_position_begin_at_their_beginning() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a", closed=True), shard("b", "a")])
    ancestry.resumed("a")
    assert ancestry.begins_at_its_beginning("b")


def test_a_shard_whose_position_expired_begins_at_its_beginning() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a")])
    ancestry.resumed("a")
    assert ancestry.begins_at_its_beginning("a")


def test_what_is_gone_is_forgotten() -> None:
    ancestry = Ancestry()
    ancestry.observe([shard("a"), shard("b", "a")])
    ancestry.observe([shard("b", "a")])
    assert ancestry.listed("a") is None
    assert ancestry.family == {"b": ()}
