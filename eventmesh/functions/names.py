"""Function names as callers write them: a name, `name:qualifier`, a partial or a full ARN
(semantics 0)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from eventmesh.errors import InvalidParameterValue, ResourceNotFound, ValidationFailed
from eventmesh.functions.function import LATEST

_NAME = r"(?P<name>[a-zA-Z0-9\-_]{1,64})"
_QUALIFIER = r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9\-_]{1,128}))?"
_REGION = r"(?:arn:aws[a-zA-Z\-]*:lambda:(?P<region>[a-z0-9\-]+):)?"
_PREFIX = rf"(?:{_REGION}(?P<account>\d{{12}}):function:)?"
_REFERENCE = re.compile(_PREFIX + _NAME + _QUALIFIER)
_QUALIFIER_ALONE = re.compile(r"\$LATEST|[a-zA-Z0-9\-_]{1,128}")
_LONGEST = 170


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """A parsed reference. `qualifier` is "" when the caller gave none."""

    name: str
    qualifier: str
    region: str | None = None
    account_id: str | None = None


@functools.lru_cache(maxsize=1024)
def parse_reference(text: str, qualifier: str | None = None) -> FunctionReference:
    """Read a decoded function reference and the query's `Qualifier`, which must agree.

    Raises ValidationFailed for text that names no function, InvalidParameterValue when the
    qualifiers disagree.
    """
    match = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise _violation(text, "functionName", _REFERENCE.pattern)
    if qualifier is not None and not _QUALIFIER_ALONE.fullmatch(qualifier):
        raise _violation(qualifier, "qualifier", _QUALIFIER_ALONE.pattern)
    named = match["qualifier"] or ""
    if named and qualifier and named != qualifier:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return FunctionReference(
        match["name"], named or qualifier or "", match["region"], match["account"]
    )


def not_found(region: str, account_id: str, name: str, qualifier: str) -> ResourceNotFound:
    """The error of an invocation of a function that is not there (semantics 1.5)."""
    arn = f"arn:aws:lambda:{region}:{account_id}:function:{name}:{qualifier or LATEST}"
    return ResourceNotFound(f"Function not found: {arn}")


def _violation(value: str, field: str, pattern: str) -> ValidationFailed:
    shown = value[:200].encode("ascii", "backslashreplace").decode()
    return ValidationFailed(
        f"1 validation error detected: Value '{shown}' at '{field}' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {pattern}"
    )
