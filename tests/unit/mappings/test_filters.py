"""Every row of semantics 3.6 about matching, and what matching promises for any input."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmesh.mappings.filters import (
    PatternError,
    Payload,
    compile_filters,
    compile_pattern,
    explain_pattern,
    validate_filters,
)

MISSING = "no such field"


def passes(alternatives: list[Any], value: Any) -> bool:
    fields = {} if value is MISSING else {"a": value}
    return compile_pattern({"a": alternatives})(fields)


SCALARS = [
    # equals
    (["x"], "x", True),
    (["x"], "X", False),
    (["x"], "xx", False),
    (["x", "y"], "y", True),
    ([5], 5, True),
    ([5], "5", False),
    (["5"], 5, False),
    ([300], 300.0, True),
    ([3.0e2], 300, True),
    ([0.1], 0.1, True),
    ([-0.0], 0, True),
    ([10**20], 10**20, True),
    ([True], True, True),
    ([True], 1, False),
    ([1], True, False),
    ([0], False, False),
    ([False], False, True),
    ([False], 0, False),
    ([False], None, False),
    ([True], "true", False),
    # empty and null
    ([""], "", True),
    ([""], None, False),
    ([None], None, True),
    ([None], "null", False),
    ([None], "", False),
    ([None], [], False),
    ([None], [None], True),
    ([None], MISSING, False),
    ([None], 0, False),
    # alternatives of several kinds
    (["x", 5, None, True], 5, True),
    (["x", 5, None, True], None, True),
    (["x", 5, None, True], False, False),
    (["x", {"prefix": "y"}, {"numeric": [">", 3]}, {"suffix": "z"}], "az", True),
    (["x", {"prefix": "y"}, {"numeric": [">", 3]}, {"suffix": "z"}], 4, True),
    (["x", {"prefix": "y"}, {"numeric": [">", 3]}, {"suffix": "z"}], 3, False),
    # equals-ignore-case
    ([{"equals-ignore-case": "aB"}], "Ab", True),
    ([{"equals-ignore-case": "aB"}], "abc", False),
    ([{"equals-ignore-case": "ÄÖ"}], "äö", True),
    ([{"equals-ignore-case": "ß"}], "ss", False),
    ([{"equals-ignore-case": ""}], "", True),
    ([{"equals-ignore-case": ""}], " ", False),
    ([{"equals-ignore-case": "1"}], 1, False),
    # prefix, suffix
    ([{"prefix": "ab"}], "abc", True),
    ([{"prefix": "ab"}], "ab", True),
    ([{"prefix": "ab"}], "Abc", False),
    ([{"prefix": "ab"}], "a", False),
    ([{"prefix": ""}], "", True),
    ([{"prefix": ""}], "any", True),
    ([{"prefix": ""}], None, False),
    ([{"prefix": ""}], 5, False),
    ([{"prefix": "5"}], 55, False),
    ([{"suffix": ".png"}], "a.png", True),
    ([{"suffix": ".png"}], "a.PNG", False),
    ([{"suffix": ""}], "any", True),
    ([{"suffix": ""}], 5, False),
    ([{"prefix": {"equals-ignore-case": "Ev"}}], "eVent", True),
    ([{"prefix": {"equals-ignore-case": "ΑΣ"}}], "ασα", True),
    ([{"prefix": {"equals-ignore-case": "Ev"}}], "e", False),
    ([{"prefix": {"equals-ignore-case": ""}}], "e", True),
    ([{"suffix": {"equals-ignore-case": ".PNG"}}], "a.pnG", True),
    ([{"suffix": {"equals-ignore-case": ".PNG"}}], "png", False),
    ([{"suffix": {"equals-ignore-case": ""}}], "e", True),
    ([{"suffix": {"equals-ignore-case": ""}}], 1, False),
    # anything-but
    ([{"anything-but": "x"}], "y", True),
    ([{"anything-but": "x"}], "x", False),
    ([{"anything-but": ["x", "y"]}], "y", False),
    ([{"anything-but": ["x", "y"]}], "z", True),
    ([{"anything-but": "x"}], None, True),
    ([{"anything-but": "x"}], 5, True),
    ([{"anything-but": "x"}], True, True),
    ([{"anything-but": "x"}], MISSING, False),
    ([{"anything-but": "x"}], {}, False),
    ([{"anything-but": "x"}], [], False),
    ([{"anything-but": "x"}], ["x", "y"], True),
    ([{"anything-but": "x"}], ["x", "x"], False),
    ([{"anything-but": 5}], 5.0, False),
    ([{"anything-but": 5}], "5", True),
    ([{"anything-but": 1}], True, True),
    ([{"anything-but": 0}], 0, False),
    ([{"anything-but": [1, 2]}], 3, True),
    ([{"anything-but": ["a", 1]}], 1, False),
    ([{"anything-but": ["a", 1]}], "a", False),
    ([{"anything-but": ["a", 1]}], "b", True),
    ([{"anything-but": {"prefix": "x"}}], "ax", True),
    ([{"anything-but": {"prefix": "x"}}], "xa", False),
    ([{"anything-but": {"prefix": "x"}}], 5, True),
    ([{"anything-but": {"prefix": "x"}}], None, True),
    ([{"anything-but": {"prefix": "x"}}], MISSING, False),
    ([{"anything-but": {"prefix": ["x", "y"]}}], "ya", False),
    ([{"anything-but": {"prefix": ["x", "y"]}}], "za", True),
    ([{"anything-but": {"suffix": ".txt"}}], "a.txt", False),
    ([{"anything-but": {"suffix": [".txt", ".md"]}}], "a.py", True),
    ([{"anything-but": {"equals-ignore-case": "Ab"}}], "aB", False),
    ([{"anything-but": {"equals-ignore-case": ["Ab", "c"]}}], "C", False),
    ([{"anything-but": {"equals-ignore-case": ["Ab", "c"]}}], None, True),
    ([{"anything-but": {"equals-ignore-case": ["Ab", "c"]}}], MISSING, False),
    ([{"anything-but": {"wildcard": "*/lib/*"}}], "usr/lib/x", False),
    ([{"anything-but": {"wildcard": "*/lib/*"}}], "usr/bin/x", True),
    ([{"anything-but": {"wildcard": "*/lib/*"}}], 123, True),
    ([{"anything-but": {"wildcard": ["a*", "*b"]}}], "xb", False),
    ([{"anything-but": {"wildcard": ""}}], "dir/init/file", True),
    # numeric
    ([{"numeric": ["=", 5]}], 5.0, True),
    ([{"numeric": ["=", 5]}], 4, False),
    ([{"numeric": ["<", 5]}], 5, False),
    ([{"numeric": ["<", 5]}], 4.9, True),
    ([{"numeric": ["<=", 5]}], 5, True),
    ([{"numeric": [">", 5]}], 5, False),
    ([{"numeric": [">", 5]}], 6, True),
    ([{"numeric": [">=", 5]}], 5, True),
    ([{"numeric": [">", 0, "<=", 5]}], 0, False),
    ([{"numeric": [">", 0, "<=", 5]}], 5, True),
    ([{"numeric": [">", 0, "<", 5]}], 5, False),
    ([{"numeric": [">=", 0, "<", 5]}], 0, True),
    ([{"numeric": [">=", 0, "<=", 5]}], 6, False),
    ([{"numeric": [">=", 0, "<=", 5]}], 0, True),
    ([{"numeric": [">", 0]}], "5", False),
    ([{"numeric": [">=", 0]}], None, False),
    ([{"numeric": [">=", 0]}], True, False),
    ([{"numeric": [">", 1_700_000_000_000]}], 1_763_000_000_000, True),
    # exists
    ([{"exists": True}], "x", True),
    ([{"exists": True}], "", True),
    ([{"exists": True}], None, True),
    ([{"exists": True}], False, True),
    ([{"exists": True}], MISSING, False),
    ([{"exists": True}], [], False),
    ([{"exists": True}], [[]], False),
    ([{"exists": True}], {"b": 1}, False),
    ([{"exists": True}], [0], True),
    ([{"exists": False}], MISSING, True),
    ([{"exists": False}], None, False),
    ([{"exists": False}], "", False),
    ([{"exists": False}], [], True),
    ([{"exists": False}], {"b": 1}, True),
    ([{"exists": False}], ["x"], False),
    ([{"anything-but": ["roses"]}, {"exists": False}], MISSING, True),
    ([{"anything-but": ["roses"]}, {"exists": False}], "roses", False),
    ([{"exists": True}, {"exists": False}], MISSING, True),
    # wildcard
    ([{"wildcard": "a*b"}], "ab", True),
    ([{"wildcard": "a*b"}], "a-b-b", True),
    ([{"wildcard": "a*b"}], "a-b-", False),
    ([{"wildcard": "a*b"}], "xab", False),
    ([{"wildcard": "a*a"}], "a", False),
    ([{"wildcard": "*"}], "", True),
    ([{"wildcard": "*"}], "any\nthing", True),
    ([{"wildcard": "*"}], 5, False),
    ([{"wildcard": ""}], "", True),
    ([{"wildcard": ""}], "x", False),
    ([{"wildcard": "plain"}], "plain", True),
    ([{"wildcard": "plain"}], "plains", False),
    ([{"wildcard": "*ab*ab*"}], "-ab-ab-", True),
    ([{"wildcard": "*ab*ab*"}], "-ab-b-", False),
    ([{"wildcard": "*ab*ba"}], "aba", False),
    ([{"wildcard": "*.[a]?"}], "x.[a]?", True),
    ([{"wildcard": r"a\*b"}], "a*b", True),
    ([{"wildcard": r"a\*b"}], "axb", False),
    ([{"wildcard": r"a\\*"}], "a\\xyz", True),
    ([{"wildcard": r"*\**"}], "a*b", True),
    ([{"wildcard": r"*\**"}], "ab", False),
    ([{"wildcard": "/Users/*/dir/dir/dir/dir/dir/doc.txt"}], "/Users/u/dir/dir/doc.txt", False),
    # cidr
    ([{"cidr": "10.0.0.0/24"}], "10.0.0.255", True),
    ([{"cidr": "10.0.0.0/24"}], "10.0.1.0", False),
    ([{"cidr": "10.0.0.77/24"}], "10.0.0.1", True),
    ([{"cidr": "0.0.0.0/0"}], "255.1.2.3", True),
    ([{"cidr": "10.0.0.0/24"}], "2001:db8::1", False),
    ([{"cidr": "2001:db8:1234:1a00::/56"}], "2001:0db8:1234:1a00::1", True),
    ([{"cidr": "2001:db8:1234:1a00::/56"}], "2001:db8:1234:1b00::", False),
    ([{"cidr": "10.0.0.0/24"}], "not an ip", False),
    ([{"cidr": "10.0.0.0/24"}], "10.0.0.1\0", False),
    ([{"cidr": "10.0.0.0/24"}], "10.0.0.\udcff", False),
    ([{"cidr": "10.0.0.0/24"}], "", False),
    ([{"cidr": "10.0.0.0/24"}], 10, False),
    ([{"cidr": "10.0.0.0/24"}], None, False),
    # arrays: any element
    (["x"], ["a", "x"], True),
    (["x"], ["a", "b"], False),
    (["x"], [["a"], [["x"]]], True),
    (["x", "y"], ["y"], True),
    ([5], [{"b": 5}, 5], True),
    ([5], [{"b": 5}], False),
    ([{"numeric": [">", 5]}], [1, 9], True),
    ([{"prefix": "a"}], ["b", "ab"], True),
    # JSON in a text is not parsed
    (["x"], '["x"]', False),
]


@pytest.mark.parametrize(("alternatives", "value", "expected"), SCALARS)
def test_alternatives(alternatives: list[Any], value: Any, expected: bool) -> None:
    assert passes(alternatives, value) is expected


OBJECTS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    # siblings are ANDed, nested objects descend, other fields do not matter
    ({"a": ["x"], "b": [1]}, {"a": "x", "b": 1, "c": 2}, True),
    ({"a": ["x"], "b": [1]}, {"a": "x", "b": 2}, False),
    ({"a": ["x"], "b": [1]}, {"a": "x"}, False),
    ({"a": [1], "b": [2], "c": [3]}, {"a": 1, "b": 2, "c": 3}, True),
    ({"a": [1], "b": [2], "c": [3]}, {"a": 1, "b": 2, "c": 4}, False),
    ({"a": {"b": {"c": ["x"]}}}, {"a": {"b": {"c": "x"}}}, True),
    ({"a": {"b": {"c": ["x"]}}}, {"a": {"b": {"c": "y"}}}, False),
    ({"a": {"b": {"c": ["x"]}}}, {"a": {"b": "x"}}, False),
    ({"a": {"b": ["x"]}}, {"a": None}, False),
    # field names are case-sensitive
    ({"A": ["x"]}, {"a": "x"}, False),
    # exists and missing parents
    ({"a": {"b": [{"exists": False}]}}, {}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": "text"}, True),
    ({"a": {"b": [{"exists": False}]}}, {"a": {"b": 1}}, False),
    ({"a": {"b": [{"exists": False}], "c": [1]}}, {"a": {"c": 1}}, True),
    ({"a": {"b": [{"exists": False}], "c": [1]}}, {}, False),
    ({"a": {"b": {"c": [{"exists": False}]}}}, {"a": {"b.c": 1}}, False),
    # DynamoDB: values carry their type, N is a text, exists does not work on what holds the type
    ({"dynamodb": {"age": {"N": ["30"]}}}, {"dynamodb": {"age": {"N": "30"}}}, True),
    (
        {"dynamodb": {"age": {"N": [{"numeric": ["=", 30]}]}}},
        {"dynamodb": {"age": {"N": "30"}}},
        False,
    ),
    ({"dynamodb": {"age": [{"exists": True}]}}, {"dynamodb": {"age": {"N": "30"}}}, False),
    (
        {"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 5]}]}},
        {"dynamodb": {"ApproximateCreationDateTime": 6.5}},
        True,
    ),
    # array of objects: all keys in the same element
    ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 3}, {"x": 1, "y": 2}]}, True),
    ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 3}, {"x": 2, "y": 2}]}, False),
    ({"a": {"x": [1], "y": [2]}}, {"a": [5, [{"x": 1, "y": 2}]]}, True),
    ({"a": {"x": [1]}}, {"a": []}, False),
    ({"a": {"x": [1]}}, {"a": [1]}, False),
    ({"a": {"b": {"x": [1]}, "y": [2]}}, {"a": [{"b": [{"x": 1}], "y": 2}]}, True),
    ({"a": {"b": {"x": [1]}, "y": [2]}}, {"a": [{"b": [{"x": 1}]}, {"y": 2}]}, False),
    ({"a": {"x": [1]}, "a.y": [2]}, {"a": [{"x": 1}, {"y": 2}]}, False),
    ({"a": {"x": [1]}, "$or": [{"a": {"y": [2]}}, {"b": [3]}]}, {"a": [{"x": 1}, {"y": 2}]}, False),
    # absence in an array of objects
    ({"a": {"x": [{"exists": False}]}}, {"a": [{"y": 1}, {"y": 2}]}, True),
    ({"a": {"x": [{"exists": False}]}}, {"a": [{"y": 1}, {"x": 2}]}, False),
    ({"a": {"x": [{"exists": False}]}}, {"a": []}, True),
    ({"a": {"x": [{"exists": False}], "y": [2]}}, {"a": [{"x": 1}, {"y": 2}]}, True),
    ({"a": {"x": [{"exists": False}], "y": [2]}}, {"a": [{"x": 1, "y": 2}]}, False),
    ({"a": {"x": [{"exists": False}, "k"]}}, {"a": [{"x": "j"}, {"x": "k"}]}, True),
    ({"a": {"x": [{"exists": False}, "k"]}}, {"a": [{"x": "j"}, {}]}, False),
    ({"a": {"b": {"x": [{"exists": False}]}}}, {"a": [{"b": {"x": 1}}]}, False),
    ({"a": {"b": {"x": [{"exists": False}]}}}, {"a": [{"b": [{"y": 1}]}]}, True),
    ({"a": {"b": {"x": [{"exists": False}]}}}, {"a": [{"b.x": 1}, {}]}, False),
    # a key with a dot is the nested one, on both sides
    ({"a.b": ["x"]}, {"a": {"b": "x"}}, True),
    ({"a.b": ["x"]}, {"a.b": "x"}, True),
    ({"a": {"b": ["x"]}}, {"a.b": "x"}, True),
    ({"a": {"b": ["x"]}}, {"a.b": "y"}, False),
    ({"a": {"b": {"c": ["x"]}}}, {"a.b": {"c": "x"}}, True),
    ({"a": {"b": {"c": ["x"]}}}, {"a": {"b.c": "x"}}, True),
    ({"a": {"b": {"c": ["x"]}}}, {"a.b.c": "x"}, True),
    ({"a": {"b": ["x"], "c": ["y"]}}, {"a": {"b": "x"}, "a.c": "y"}, True),
    ({"a": {"b": ["x"]}}, {"a": {"b": "x"}, "a.b": "y"}, True),
    ({"a": {"b": ["x"]}}, {"a": "text", "a.b": "x"}, False),
    ({"a": {"b": ["x"]}}, {"a.b": {"b": "x"}}, False),
    ({"http.": ["x"]}, {"http.": "x"}, True),
    ({"a": ["x"], "a.b": [{"exists": False}]}, {"a": "x"}, True),
    ({"a": ["x"], "a.b": ["y"]}, {"a": "x"}, False),
    ({"a": ["x"], "a.b": ["y"]}, {"a": ["x", {"b": "y"}]}, True),
    # $or
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1}, True),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}, True),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 2, "b": 1}, False),
    ({"$or": [{"a": [1], "b": [1]}, {"b": [2]}]}, {"a": 1, "b": 2}, True),
    ({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1}, False),
    ({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1, "c": 3}, True),
    ({"$or": [{"a": [1]}, {"b": [2]}], "c": [3]}, {"b": 2, "c": 3}, True),
    ({"x": {"$or": [{"a": [1]}, {"b": [2]}]}}, {"x": {"b": 2}}, True),
    ({"x": {"$or": [{"a": [1]}, {"b": [2]}]}}, {"b": 2}, False),
    ({"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"c": [3]}]}]}, {"c": 3}, True),
    ({"$or": [{"a": [1]}, {"b": [2]}, {"a": [3]}]}, {"a": 3}, True),
    (
        {
            "detail": {
                "$or": [
                    {"c-count": [{"numeric": [">", 0, "<=", 5]}]},
                    {"d-count": [{"numeric": ["<", 10]}]},
                    {"x-limit": [{"numeric": ["=", 3.018e2]}]},
                ]
            }
        },
        {"detail": {"c-count": 9, "d-count": 11, "x-limit": 301.8}},
        True,
    ),
]


@pytest.mark.parametrize(("pattern", "fields", "expected"), OBJECTS)
def test_objects(pattern: dict[str, Any], fields: dict[str, Any], expected: bool) -> None:
    assert compile_pattern(pattern)(fields) is expected
    # what is asked of fields holds for any mapping, at any level
    frozen = MappingProxyType({key: _freeze(value) for key, value in fields.items()})
    assert compile_pattern(pattern)(frozen) is expected
    assert (explain_pattern(pattern, fields) == []) is expected


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({key: _freeze(one) for key, one in value.items()})
    return [_freeze(one) for one in value] if isinstance(value, list) else value


def test_a_record_is_not_changed() -> None:
    fields = {"a": {"c": 1}, "a.b": {"d": 2}}
    assert compile_pattern({"a": {"b": {"d": [2]}, "c": [1]}})(fields)
    assert fields == {"a": {"c": 1}, "a.b": {"d": 2}}


# several filters


def test_one_pattern_is_enough() -> None:
    matches = compile_filters([{"a": [1]}, {"b": [2]}])
    assert matches is not None
    assert matches({"a": 1})
    assert matches({"b": 2, "a": 9})
    assert not matches({"a": 2, "b": 1})


def test_without_filters_there_is_nothing_to_ask() -> None:
    assert compile_filters([]) is None
    assert compile_filters(()) is None


# payloads of another kind than the pattern's

SQS, KINESIS, KAFKA = Payload("body"), Payload("data", "refuse"), Payload("value", "ignore")
OBJECT, TEXT = {"t": ["x"]}, ["x", {"prefix": "y"}]

PAYLOADS: list[tuple[Payload, dict[str, Any], dict[str, Any], bool]] = [
    # SQS: text and text pattern, or a pattern of metadata only
    (SQS, {"body": TEXT}, {"body": "x"}, True),
    (SQS, {"body": TEXT}, {"body": "z"}, False),
    (SQS, {"attributes": {"k": ["1"]}}, {"body": "x", "attributes": {"k": "1"}}, True),
    (SQS, {"attributes": {"k": ["1"]}}, {"body": {}, "attributes": {"k": "1"}}, True),
    # text and object pattern: dropped, even where the object may lack the key
    (SQS, {"body": OBJECT}, {"body": "x"}, False),
    (SQS, {"body": {"t": [{"exists": False}]}}, {"body": "x"}, False),
    (SQS, {"body": {"t": [{"exists": False}]}}, {"body": {"u": 1}}, True),
    # JSON and object pattern
    (SQS, {"body": OBJECT}, {"body": {"t": "x"}}, True),
    (SQS, {"body": OBJECT}, {"body": {"t": "z"}}, False),
    (SQS, {"body": OBJECT}, {"body": [{"t": "x"}]}, True),
    # JSON and text pattern: dropped
    (SQS, {"body": TEXT}, {"body": {"t": "x"}}, False),
    (SQS, {"body": TEXT}, {"body": ["x"]}, False),
    (SQS, {"body": [{"exists": False}]}, {"body": {"t": "x"}}, False),
    (SQS, {"body": [{"exists": False}]}, {}, True),
    (SQS, {"body": [{"exists": True}]}, {}, False),
    # Kinesis, DynamoDB: what is not JSON is passed over
    (KINESIS, {"data": OBJECT}, {"data": {"t": "x"}}, True),
    (KINESIS, {"data": OBJECT}, {"data": "text"}, False),
    (KINESIS, {"data": OBJECT}, {}, False),
    (KINESIS, {"partitionKey": ["p"]}, {"data": "text", "partitionKey": "p"}, True),
    # Kafka, MQ: only the rest of the pattern counts
    (KAFKA, {"value": OBJECT}, {"value": {"t": "x"}}, True),
    (KAFKA, {"value": OBJECT}, {"value": {"t": "z"}}, False),
    (KAFKA, {"value": OBJECT}, {"value": "text"}, True),
    (KAFKA, {"value": OBJECT}, {}, True),
    (KAFKA, {"value": OBJECT, "topic": ["a"]}, {"value": "text", "topic": "a"}, True),
    (KAFKA, {"value": OBJECT, "topic": ["a"]}, {"value": "text", "topic": "b"}, False),
    (KAFKA, {"value": OBJECT, "topic": ["a"]}, {"value": {"t": "z"}, "topic": "a"}, False),
    (KAFKA, {"value": TEXT, "topic": ["a"]}, {"value": {"t": "x"}, "topic": "a"}, True),
    (KAFKA, {"value": TEXT, "topic": ["a"]}, {"value": "x", "topic": "a"}, True),
    (KAFKA, {"value": TEXT, "topic": ["a"]}, {"value": "z", "topic": "a"}, False),
    (KAFKA, {"$or": [{"value": OBJECT}, {"topic": ["a"]}]}, {"value": {}, "topic": "a"}, True),
    (KAFKA, {"value.t": ["x"]}, {"value": "text"}, True),
]


@pytest.mark.parametrize(("payload", "pattern", "fields", "expected"), PAYLOADS)
def test_payload_mismatch(
    payload: Payload, pattern: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert compile_pattern(pattern, payload=payload)(fields) is expected
    matches = compile_filters([pattern], payload=payload)
    assert matches is not None
    assert matches(fields) is expected


def test_a_text_pattern_for_json_payloads_is_a_mistake() -> None:
    with pytest.raises(PatternError, match=r"^data: Invalid filter pattern definition\."):
        compile_pattern({"data": ["x"]}, payload=KINESIS)
    assert len(validate_filters([{"$or": [{"data": ["x"]}, {"a": [1]}]}], payload=KINESIS)) == 1
    assert validate_filters([{"data": OBJECT}, {"partitionKey": ["x"]}], payload=KINESIS) == []


# any input

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
names = st.sampled_from(["a", "b", "a.b", "b.a", "$or", "prefix", ""])
texts = st.sampled_from(["", "a", "b", "ab", "ba", "a.b", "10.0.0.1", "A"])
numbers = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5])
scalars = st.none() | st.booleans() | numbers | texts
operators = st.one_of(
    st.builds(lambda value: {"exists": value}, st.booleans()),
    st.builds(lambda name, value: {name: value}, st.sampled_from(["prefix", "suffix"]), texts),
    st.builds(lambda value: {"equals-ignore-case": value}, texts),
    st.builds(lambda value: {"anything-but": value}, texts | numbers),
    st.builds(lambda value: {"anything-but": {"equals-ignore-case": [value]}}, texts),
    st.builds(lambda value: {"numeric": [">", value, "<=", value + 2]}, numbers),
    st.builds(lambda value: {"wildcard": f"{value}*"}, st.sampled_from(["", "a", "b"])),
    st.just({"cidr": "10.0.0.0/8"}),
)
alternatives = st.lists(scalars | operators, min_size=1, max_size=3)
patterns = st.recursive(
    st.dictionaries(st.sampled_from(["a", "b", "a.b"]), alternatives, min_size=1, max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1, max_size=2)
        | st.builds(lambda one, other: {"$or": [one, other]}, inner, inner)
    ),
    max_leaves=4,
)
records = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@given(pattern=json_values | st.dictionaries(names, json_values), fields=records)
@settings(max_examples=300, deadline=None)
def test_any_json_compiles_or_is_refused(pattern: Any, fields: dict[str, Any]) -> None:
    problems = validate_filters([pattern])
    if not problems:
        assert compile_pattern(pattern)(fields) in (True, False)
        return
    with pytest.raises(PatternError) as caught:
        compile_pattern(pattern)
    assert problems[0] == str(caught.value.at("[0]"))


@given(pattern=patterns.filter(lambda one: not validate_filters([one])), fields=records)
@settings(max_examples=300, deadline=None)
def test_matching_is_what_its_meaning_says(pattern: dict[str, Any], fields: dict[str, Any]) -> None:
    matches = compile_pattern(pattern)(fields)
    assert (explain_pattern(pattern, fields) == []) is matches
    assert compile_pattern({"$or": [pattern, pattern]})(fields) is matches
    assert compile_pattern({"x": pattern})({"x": fields}) is matches
    assert compile_pattern({"x": pattern})({"x": [fields]}) is matches


def test_deep_records_do_not_end_the_stack() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    for pattern in ({"a": ["x"]}, {"a": {"b": ["x"]}}, {"a": {"b": [{"exists": False}]}}):
        expected = "b" not in pattern["a"] or "exists" in str(pattern)
        assert compile_pattern(pattern)({"a": deep}) is expected
        assert (explain_pattern(pattern, {"a": deep}) == []) is expected


def test_long_values_do_not_take_long() -> None:
    matches = compile_pattern({"a": [{"wildcard": "*a*a*a*a*b"}]})
    assert not matches({"a": "a" * 200_000})
