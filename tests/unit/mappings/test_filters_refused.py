"""Mistakes in filter patterns: AWS's words, the place, the hint; and what `explain` shows."""

from __future__ import annotations

from typing import Any

import pytest

from eventmesh.mappings.filters import (
    Mismatch,
    PatternError,
    compile_filters,
    compile_pattern,
    explain_pattern,
    validate_filters,
)

NOT_SINGLE = "Value of anything-but must be an array or single string/number value."
NESTED_TEXT = "prefix/suffix match pattern must be a string"
NO_NULL = "Inside anything but list, start|null|boolean is not supported."
MIXED = "Inside anything but list, either all values are number or string, mixed type is not"
IGNORE_CASE = "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not"

LEAVES: list[tuple[Any, str]] = [
    ([], "Empty arrays are not allowed"),
    ("x", '"a" must be an object or an array'),
    (42, '"a" must be an object or an array'),
    (None, '"a" must be an object or an array'),
    ({}, "Empty objects are not allowed"),
    ([["x"]], "Match value must be String, number, true, false, or null"),
    ([float("nan")], "Match value must be String, number, true, false, or null"),
    ([b"x"], "Match value must be String, number, true, false, or null"),
    ([{}], "Match expression name not found"),
    ([{"Prefix": "x"}], "Unrecognized match type Prefix"),
    ([{"EXISTS": True}], "Unrecognized match type EXISTS"),
    ([{"NUMERIC": ["=", 5]}], "Unrecognized match type NUMERIC"),
    ([{"b": ["x"]}], "Unrecognized match type b"),
    ([{1: ["x"]}], "Unrecognized match type 1"),
    ([{"prefix": "x", "suffix": "y"}], "Only one key allowed in match expression"),
    # texts
    ([{"prefix": 123}], "prefix match pattern must be a string"),
    ([{"prefix": ["2022"]}], "prefix match pattern must be a string"),
    ([{"prefix": {}}], "Prefix expression name not found"),
    ([{"prefix": {"suffix": "x"}}], "Unsupported prefix pattern: suffix"),
    ([{"prefix": {"equals-ignore-case": 5}}], "equals-ignore-case match pattern must be a string"),
    ([{"suffix": 123}], "suffix match pattern must be a string"),
    ([{"suffix": [".png"]}], "suffix match pattern must be a string"),
    ([{"equals-ignore-case": ["x"]}], "equals-ignore-case match pattern must be a string"),
    (
        [{"equals-ignore-case": {"prefix": "ec2"}}],
        "equals-ignore-case match pattern must be a string",
    ),
    # anything-but
    ([{"anything-but": None}], NOT_SINGLE),
    ([{"anything-but": True}], NOT_SINGLE),
    ([{"anything-but": ["x", None]}], NO_NULL),
    ([{"anything-but": [True]}], NO_NULL),
    ([{"anything-but": []}], MIXED),
    ([{"anything-but": {}}], "Anything-But expression name not found"),
    ([{"anything-but": {"numeric": ["=", 1]}}], "Unsupported anything-but pattern: numeric"),
    ([{"anything-but": {"prefix": ""}}], "Null prefix/suffix not allowed"),
    ([{"anything-but": {"suffix": ["x", ""]}}], "Null prefix/suffix not allowed"),
    ([{"anything-but": {"prefix": []}}], "Empty arrays are not allowed"),
    ([{"anything-but": {"prefix": 123}}], NESTED_TEXT),
    ([{"anything-but": {"prefix": [123, "test"]}}], NESTED_TEXT),
    ([{"anything-but": {"suffix": [123, ".txt"]}}], NESTED_TEXT),
    ([{"anything-but": {"prefix": {"equals-ignore-case": "file"}}}], NOT_SINGLE),
    ([{"anything-but": {"suffix": None}}], NOT_SINGLE),
    ([{"anything-but": {"equals-ignore-case": 123}}], IGNORE_CASE),
    ([{"anything-but": {"equals-ignore-case": [123, 456]}}], IGNORE_CASE),
    ([{"anything-but": {"wildcard": 123}}], "wildcard match pattern must be a string"),
    ([{"anything-but": {"wildcard": [123, "*"]}}], "wildcard match pattern must be a string"),
    ([{"anything-but": {"wildcard": "a**"}}], "Consecutive wildcard characters at pos 2"),
    # numeric
    ([{"numeric": 5}], "Value of numeric must be an array."),
    ([{"numeric": []}], "Invalid member in numeric match: None"),
    ([{"numeric": [5]}], "Invalid member in numeric match: 5"),
    ([{"numeric": ["!", 5]}], "Unrecognized numeric range operator: !"),
    ([{"numeric": ["="]}], "Value of equals must be numeric"),
    ([{"numeric": ["<", "5"]}], "Value of < must be numeric"),
    ([{"numeric": [">", 0, "<"]}], "Value of < must be numeric"),
    ([{"numeric": [">", True]}], "Value of > must be numeric"),
    ([{"numeric": [">=", float("inf")]}], "Value of >= must be numeric"),
    ([{"numeric": [">", 0, ">", 0]}], "Bad numeric range operator: >"),
    ([{"numeric": [">", 0, "=", 0]}], "Bad numeric range operator: ="),
    ([{"numeric": [">", 0, 5]}], "Bad value in numeric range: 5"),
    ([{"numeric": [">", 0, "<", 5, "<"]}], "Too many terms in numeric range expression"),
    ([{"numeric": ["<", 5, ">", 0]}], "Too many elements in numeric expression"),
    ([{"numeric": ["=", 5, "<", 6]}], "Too many elements in numeric expression"),
    ([{"numeric": [">", 5, "<", 5]}], "Bottom must be less than top"),
    # exists
    ([{"exists": "true"}], "exists match pattern must be either true or false."),
    ([{"exists": 1}], "exists match pattern must be either true or false."),
    # wildcard
    ([{"wildcard": 123}], "wildcard match pattern must be a string"),
    ([{"wildcard": ["*"]}], "wildcard match pattern must be a string"),
    ([{"wildcard": "ä**"}], "Consecutive wildcard characters at pos 3"),
    ([{"wildcard": r"a\b"}], "Invalid escape character at pos 2"),
    ([{"wildcard": "a\\"}], "Invalid escape character at pos 2"),
    ([{"wildcard": "*:*:*:*:*:event-bus/*"}], "Rule is too complex - try using fewer wildcard"),
    # cidr
    ([{"cidr": ["10.0.0.0/8"]}], "prefix match pattern must be a string"),
    ([{"cidr": "10.0.0.0"}], "Malformed CIDR, one '/' required"),
    ([{"cidr": "10.0.0.0/8/8"}], "Malformed CIDR, one '/' required"),
    ([{"cidr": "10.0.0.0/xx"}], "Malformed CIDR, mask bits must be an integer"),
    ([{"cidr": "10.0.0.0/-1"}], "Malformed CIDR, mask bits must not be negative"),
    ([{"cidr": "10.0.0.1/32"}], "IPv4 mask bits must be < 32"),
    ([{"cidr": "::1/128"}], "IPv6 mask bits must be < 128"),
    ([{"cidr": "xx.11.xx/8"}], "Nonstandard IP address: xx.11.xx"),
    ([{"cidr": "xxxx:db8:1234:1a00::/56"}], "Nonstandard IP address: xxxx:db8:1234:1a00::"),
]


@pytest.mark.parametrize(("value", "reason"), LEAVES)
def test_leaves(value: Any, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern({"ok": ["x"], "a": value})
    assert caught.value.reason.startswith(reason)
    assert caught.value.path.startswith("a")


PATTERNS: list[tuple[Any, str, str]] = [
    ({}, "", "Empty objects are not allowed"),
    ("x", "", "Filter is not an object"),
    (["x"], "", "Filter is not an object"),
    ({1: ["x"]}, "", "the key 1 is not a text"),
    ({"a": {"b": {}}}, "a.b", "Empty objects are not allowed"),
    ({"a": {"b": ["x", {"prefix": 1}]}}, "a.b[1]", "prefix match pattern must be a string"),
    ({"a": {"b.c": 5}}, "a.b.c", '"b.c" must be an object or an array'),
    ({"$or": {"a": [1]}}, "$or", "It must be an Array followed with $or."),
    ({"a": {"$or": [{"b": [1]}]}}, "a.$or", "There must have at least 2 Objects in $or"),
    ({"$or": []}, "$or", "There must have at least 2 Objects in $or relationship."),
    ({"$or": [{"a": [1]}, "b"]}, "$or", "Only JSON object is allowed in array of $or"),
    ({"$or": [{"a": [1]}, {}]}, "$or[1]", "Empty objects are not allowed"),
    ({"$or": [{"a": [1]}, {"b": 2}]}, "$or[1].b", '"b" must be an object or an array'),
    ({"$or": [{"a": [1]}, {"prefix": "b"}]}, "$or[1]", "prefix is Ruler reserved fieldName"),
    ({"a": {"b": ["x"]}, "a.b": ["y"]}, "a.b", "Path `a.b` cannot be allowed multiple times"),
    ({"a": [1], "$or": [{"a": [2]}, {"b": [2]}]}, "$or[0].a", "Path `a` cannot be allowed"),
    ({"x": {"$or": [{"a": {"<": [1]}}, {"b": [1]}]}}, "x.$or[0].a", "< is Ruler reserved"),
]


@pytest.mark.parametrize(("pattern", "path", "reason"), PATTERNS)
def test_places(pattern: Any, path: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(pattern)
    assert caught.value.path == path
    assert caught.value.reason.startswith(reason)


def test_operator_names_are_fields_outside_or() -> None:
    assert compile_pattern({"prefix": ["x"]})({"prefix": "x"})


def test_the_text_has_place_reason_and_hint() -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        compile_filters([{"body": {"type": "order"}}])
    assert str(caught.value) == (
        'body.type: "type" must be an object or an array '
        '(hint: put the value in a list: type: ["order"])'
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Prefix", "write prefix"),
        ("equals_ignore_case", "write equals-ignore-case"),
        ("anythingBut", "write anything-but"),
        (
            "contains",
            "operators: anything-but, cidr, equals-ignore-case, exists, numeric, prefix, suffix, "
            "wildcard",
        ),
    ],
)
def test_unknown_operators_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern({"a": [{name: "x"}]})
    assert caught.value.hint == hint


def test_every_mistake_is_reported() -> None:
    patterns = [{"a": ["x"]}, {"a": 1, "b": {"c": [], "d": [2], "e": [{"exists": 0}]}}, None]
    assert [problem.split(": ")[0] for problem in validate_filters(patterns)] == [
        "[1].a",
        "[1].b.c",
        "[1].b.e[0]",
        "[2]",
    ]
    assert validate_filters([{"a": ["x"]}]) == []
    assert validate_filters([]) == []


# limits


def test_deep_patterns_are_refused() -> None:
    for wrap in (
        lambda inner: {"a": inner},
        lambda inner: {"$or": [{"b": [1]}, inner]},
        lambda inner: {"a.a.a.a": inner},
    ):
        pattern: dict[str, Any] = {"a": ["x"]}
        for _ in range(2000):
            pattern = wrap(pattern)
        with pytest.raises(PatternError, match="nested more than 32 levels deep"):
            compile_pattern(pattern)
    with pytest.raises(PatternError, match="nested more than 32 levels deep"):
        compile_pattern({"." * 100_000: ["x"]})


def test_deep_patterns_up_to_the_limit_work() -> None:
    pattern: Any = ["x"]
    fields: Any = "x"
    for _ in range(32):
        pattern, fields = {"a": pattern}, {"a": [fields]}
    assert compile_pattern(pattern)(fields)
    assert explain_pattern(pattern, fields) == []


def test_too_many_combinations_are_refused() -> None:
    def alternatives(count: int) -> list[dict[str, Any]]:
        return [{f"f{number}": [1]} for number in range(count)]

    fits = {"a": {"$or": alternatives(10)}, "b": {"$or": alternatives(100)}}
    assert compile_pattern(fits)({"a": {"f9": 1}, "b": {"f99": 1}})
    with pytest.raises(PatternError, match="Rule is too complex") as caught:
        compile_pattern({**fits, "c": {"$or": alternatives(2)}})
    assert caught.value.path == "c.$or"


# strict


@pytest.mark.parametrize(
    "alternative",
    [
        {"wildcard": "a*"},
        {"cidr": "10.0.0.0/8"},
        {"anything-but": {"prefix": "a"}},
        {"anything-but": {"wildcard": "a*"}},
        {"anything-but": ["a", 1]},
        {"prefix": {"equals-ignore-case": "a"}},
        {"suffix": {"equals-ignore-case": "a"}},
        {"numeric": [">", 5_000_000_001]},
    ],
)
def test_strict_refuses_what_event_source_mappings_do_not_list(alternative: Any) -> None:
    compile_pattern({"a": [alternative]})
    with pytest.raises(PatternError):
        compile_pattern({"a": [alternative]}, strict=True)
    assert len(validate_filters([{"a": [alternative]}], strict=True)) == 1


@pytest.mark.parametrize(
    "alternative",
    [
        "x",
        None,
        {"prefix": "a"},
        {"suffix": "a"},
        {"equals-ignore-case": "a"},
        {"anything-but": ["a", "b"]},
        {"anything-but": 1},
        {"numeric": [">", 0, "<=", 5e9]},
        {"exists": False},
    ],
)
def test_strict_takes_what_they_list(alternative: Any) -> None:
    compile_pattern({"$or": [{"a": [alternative]}, {"b": [1]}]}, strict=True)


def test_strict_keeps_the_longest_pattern() -> None:
    # {"a": ["..."]}
    compile_pattern({"a": ["x" * (4096 - 11)]}, strict=True)
    with pytest.raises(PatternError, match="over 4096 characters"):
        compile_pattern({"a": ["x" * (4096 - 10)]}, strict=True)
    compile_pattern({"a": ["x" * 4096]})


# explain


def test_every_failing_key_is_explained() -> None:
    pattern = {"body": {"type": [{"prefix": "order."}], "total": [100], "ok": [True]}, "n": ["x"]}
    assert explain_pattern(pattern, {"body": {"type": "invoice", "ok": True}}) == [
        Mismatch("body.type", '[{"prefix": "order."}]', '"invoice"'),
        Mismatch("body.total", "[100]", "nothing"),
        Mismatch("n", '["x"]', "nothing"),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        ("ä", '"ä"'),
        (5.5, "5.5"),
        ({"b": 1}, "an object"),
        ([], "[]"),
        (["y", [5, {"b": 1}]], '["y", 5, an object]'),
        ("y" * 200, '"' + "y" * 78 + "…"),
    ],
)
def test_what_was_found_is_shown(value: Any, shown: str) -> None:
    assert explain_pattern({"a": ["x"]}, {"a": value}) == [Mismatch("a", '["x"]', shown)]


def test_a_scalar_where_an_object_is_wanted_misses_all_keys() -> None:
    assert explain_pattern({"a": {"b": ["x"]}}, {"a": "text"}) == [
        Mismatch("a.b", '["x"]', "nothing")
    ]


def test_the_nearest_branch_is_explained() -> None:
    pattern = {"$or": [{"a": [1], "b": [2], "c": [3]}, {"d": [4], "e": [5]}]}
    assert explain_pattern(pattern, {"d": 4, "e": 6}) == [Mismatch("e", "[5]", "6")]


def test_the_nearest_element_is_explained() -> None:
    pattern = {"a": {"x": [1], "y": [2], "z": [3]}}
    fields = {"a": [{"x": 9}, {"x": 1, "y": 2, "z": 4}]}
    assert explain_pattern(pattern, fields) == [Mismatch("a.z", "[3]", "4")]


def test_a_key_spelled_with_dots_is_found() -> None:
    pattern = {"attributes": {"http.method": ["GET"]}}
    assert explain_pattern(pattern, {"attributes": {"http.method": "POST"}}) == [
        Mismatch("attributes.http.method", '["GET"]', '"POST"')
    ]


def test_explaining_refuses_bad_patterns() -> None:
    with pytest.raises(PatternError):
        explain_pattern({"a": "x"}, {})
