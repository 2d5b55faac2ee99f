import pytest

from eventmesh.errors import InvalidParameterValue, ValidationFailed
from eventmesh.functions.names import FunctionReference, parse_reference

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:thumbs"


@pytest.mark.parametrize(
    ("text", "qualifier", "expected"),
    [
        ("thumbs", None, FunctionReference("thumbs", "")),
        ("thumbs", "live", FunctionReference("thumbs", "live")),
        ("thumbs:3", None, FunctionReference("thumbs", "3")),
        ("thumbs:$LATEST", "$LATEST", FunctionReference("thumbs", "$LATEST")),
        (ARN, None, FunctionReference("thumbs", "", "eu-west-1", "123456789012")),
        (f"{ARN}:live", None, FunctionReference("thumbs", "live", "eu-west-1", "123456789012")),
        (
            "123456789012:function:thumbs",
            None,
            FunctionReference("thumbs", "", None, "123456789012"),
        ),
    ],
)
def test_every_way_to_name_a_function(
    text: str, qualifier: str | None, expected: FunctionReference
) -> None:
    assert parse_reference(text, qualifier) == expected


@pytest.mark.parametrize(
    "text", ["", "../x", "a/b", "a b", "a\0", "x" * 65, "é", "a:b:c", f"{ARN}:a:b", "n" * 10_000]
)
def test_what_names_no_function_is_refused_before_any_lookup(text: str) -> None:
    with pytest.raises(ValidationFailed, match="at 'functionName' failed to satisfy constraint"):
        parse_reference(text)


def test_qualifiers_that_disagree() -> None:
    with pytest.raises(InvalidParameterValue, match="derived qualifier"):
        parse_reference("thumbs:1", "2")
    with pytest.raises(ValidationFailed, match="at 'qualifier'"):
        parse_reference("thumbs", "a b")
