"""The operators of an event pattern, each made into a test of one JSON scalar (semantics 3.6).

Error texts are those AWS gives for the same mistake. Wildcards are matched piece by piece, so that
no pattern takes more than linear time in the length of a value times the number of its stars.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: says whether one scalar (text, number, true, false, null) fits; False for what it does not know
Predicate = Callable[[Any], bool]

#: what event source mappings list; AWS has the others only on event buses
LISTED = frozenset({"anything-but", "equals-ignore-case", "exists", "numeric", "prefix", "suffix"})
OPERATORS = LISTED | {"cidr", "wildcard"}
#: semantics 3.6: field names that `$or` may not hold
RESERVED = OPERATORS | {"=", "<", "<=", ">", ">=", "regex"}

#: AWS counts automaton states; six stars are recorded as too complex, and five pass here
_MOST_STARS = 5
#: what AWS can compare
_LARGEST_NUMBER = 5e9

_NOT_SINGLE = "Value of anything-but must be an array or single string/number value."
_NO_NULL = "Inside anything but list, start|null|boolean is not supported."
_NOT_MIXED = (
    "Inside anything but list, either all values are number or string, mixed type is not supported"
)
_NOT_TEXT_NESTED = {
    "equals-ignore-case": "Inside anything-but/equals-ignore-case list, "
    "number|start|null|boolean is not supported.",
    "prefix": "prefix/suffix match pattern must be a string",
    "suffix": "prefix/suffix match pattern must be a string",
    "wildcard": "wildcard match pattern must be a string",
}


class PatternError(ValueError):
    """An event pattern that means nothing. `reason` is AWS's text, `path` the offending key,
    `hint` what to write instead."""

    def __init__(self, reason: str, hint: str = "", path: str = "") -> None:
        self.reason, self.hint, self.path = reason, hint, path
        super().__init__(
            (f"{path}: " if path else "") + reason + (f" (hint: {hint})" if hint else "")
        )

    def at(self, path: str) -> PatternError:
        """The same mistake, found at `path`."""
        joined = path + ("." if path and self.path[:1] not in ("", "[") else "") + self.path
        return PatternError(self.reason, self.hint, joined)


def is_number(value: Any) -> bool:
    """Whether a value is a JSON number; true and false are not."""
    kind = value.__class__
    return kind is int or (kind is float and math.isfinite(value))


def compile_operator(name: str, operand: Any, strict: bool) -> Predicate:
    """The test of `{name: operand}`; every operator but `exists`, which is about the field.

    `strict` refuses what event source mappings do not list. Raises PatternError.
    """
    if strict and name not in LISTED:
        raise _unlisted(name)
    return _COMPILERS[name](operand, strict)


def describe_unknown(name: Any) -> PatternError:
    """The error for an operator that does not exist."""
    folded = str(name).lower().replace("_", "-").replace(" ", "-")
    near = [
        known for known in sorted(OPERATORS) if known.replace("-", "") == folded.replace("-", "")
    ]
    hint = f"write {near[0]}" if near else f"operators: {', '.join(sorted(OPERATORS))}"
    return PatternError(f"Unrecognized match type {name}", hint)


def _compile_prefix(operand: Any, strict: bool) -> Predicate:
    text, ignores_case = _text_of("prefix", operand, strict)
    if not ignores_case:
        return lambda value: value.__class__ is str and value.startswith(text)
    # as many characters as the pattern has: folding may change how many there are
    length, folded = len(text), text.casefold()
    return lambda value: value.__class__ is str and value[:length].casefold() == folded


def _compile_suffix(operand: Any, strict: bool) -> Predicate:
    text, ignores_case = _text_of("suffix", operand, strict)
    if not ignores_case or not text:
        return lambda value: value.__class__ is str and value.endswith(text)
    length, folded = len(text), text.casefold()
    return lambda value: value.__class__ is str and value[-length:].casefold() == folded


def _text_of(name: str, operand: Any, strict: bool) -> tuple[str, bool]:
    """The text of a prefix or suffix, and whether case is ignored."""
    if not isinstance(operand, Mapping):
        return _require_text(name, operand), False
    inner, value = _only_item(operand, f"{name.capitalize()} expression name not found")
    if inner != "equals-ignore-case":
        raise PatternError(f"Unsupported {name} pattern: {inner}", "only equals-ignore-case")
    if strict:
        raise _unlisted(f"{name} with equals-ignore-case")
    return _require_text(inner, value), True


def _compile_equals_ignore_case(operand: Any, strict: bool) -> Predicate:
    text = _require_text("equals-ignore-case", operand)
    length, folded = len(text), text.casefold()
    return lambda value: (
        value.__class__ is str and len(value) == length and value.casefold() == folded
    )


def _compile_numeric(operand: Any, strict: bool) -> Predicate:
    terms = operand
    if not isinstance(terms, (list, tuple)):
        hint = f'write {{"numeric": ["=", {terms}]}}' if is_number(terms) else ""
        raise PatternError("Value of numeric must be an array.", hint)
    first = terms[0] if terms else None
    if not isinstance(first, str):
        raise PatternError(f"Invalid member in numeric match: {first}", 'such as [">", 0, "<=", 5]')
    if first not in _COMPARISONS:
        raise PatternError(f"Unrecognized numeric range operator: {first}", "one of = < <= > >=")
    bottom = _number_at(terms, 1, strict)
    if len(terms) == 2:
        return _COMPARISONS[first](bottom)
    if first not in (">", ">="):
        raise PatternError("Too many elements in numeric expression", "the lower bound comes first")
    return _compile_range(terms, first, bottom, strict)


def _compile_range(terms: Sequence[Any], first: str, bottom: float, strict: bool) -> Predicate:
    second = terms[2]
    if not isinstance(second, str):
        raise PatternError(f"Bad value in numeric range: {second}")
    if second not in ("<", "<="):
        raise PatternError(f"Bad numeric range operator: {second}", "the upper bound takes < or <=")
    top = _number_at(terms, 3, strict)
    if len(terms) > 4:
        raise PatternError("Too many terms in numeric range expression")
    if bottom >= top:
        raise PatternError("Bottom must be less than top")
    return _RANGES[first + second](bottom, top)


def _number_at(terms: Sequence[Any], index: int, strict: bool) -> float:
    value: Any = terms[index] if len(terms) > index else None
    if not is_number(value):
        name = "equals" if terms[index - 1] == "=" else terms[index - 1]
        raise PatternError(f"Value of {name} must be numeric")
    if strict and abs(value) > _LARGEST_NUMBER:
        raise PatternError("Value must be between -5.0E9 and 5.0E9, inclusive")
    number: float = value
    return number


# written out: a matching number costs one call
_COMPARISONS: dict[str, Callable[[float], Predicate]] = {
    "=": lambda n: lambda v: (v.__class__ is int or v.__class__ is float) and v == n,
    "<": lambda n: lambda v: (v.__class__ is int or v.__class__ is float) and v < n,
    "<=": lambda n: lambda v: (v.__class__ is int or v.__class__ is float) and v <= n,
    ">": lambda n: lambda v: (v.__class__ is int or v.__class__ is float) and v > n,
    ">=": lambda n: lambda v: (v.__class__ is int or v.__class__ is float) and v >= n,
}
_RANGES: dict[str, Callable[[float, float], Predicate]] = {
    "><": lambda a, b: lambda v: (v.__class__ is int or v.__class__ is float) and a < v < b,
    "><=": lambda a, b: lambda v: (v.__class__ is int or v.__class__ is float) and a < v <= b,
    ">=<": lambda a, b: lambda v: (v.__class__ is int or v.__class__ is float) and a <= v < b,
    ">=<=": lambda a, b: lambda v: (v.__class__ is int or v.__class__ is float) and a <= v <= b,
}


def _compile_anything_but(operand: Any, strict: bool) -> Predicate:
    if isinstance(operand, Mapping):
        return _compile_nested_anything_but(operand, strict)
    several = isinstance(operand, (list, tuple))
    values: Sequence[Any] = operand if several else [operand]
    if not all(isinstance(value, str) or is_number(value) for value in values):
        raise PatternError(_NO_NULL if several else _NOT_SINGLE)
    texts = frozenset(value for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if not isinstance(value, str))
    # semantics 3.6 writes ["a", 1]; AWS's compiler takes one kind only
    if not values or (strict and texts and numbers):
        raise PatternError(_NOT_MIXED)

    def differs(value: Any) -> bool:
        kind = value.__class__
        if kind is str:
            return value not in texts
        return not (kind is int or kind is float) or value not in numbers

    return differs


def _compile_nested_anything_but(operand: Mapping[Any, Any], strict: bool) -> Predicate:
    name, inner = _only_item(operand, "Anything-But expression name not found")
    if name not in _NOT_TEXT_NESTED:
        raise PatternError(
            f"Unsupported anything-but pattern: {name}", f"one of {', '.join(_NOT_TEXT_NESTED)}"
        )
    if strict:
        raise _unlisted(f"anything-but with {name}")
    several = isinstance(inner, (list, tuple))
    if not several and not isinstance(inner, str) and not is_number(inner):
        raise PatternError(_NOT_SINGLE)
    values: Sequence[Any] = inner if several else [inner]
    if not values:
        raise PatternError("Empty arrays are not allowed")
    tests = [_compile_nested_text(name, value) for value in values]
    if len(tests) == 1:
        only = tests[0]
        return lambda value: not only(value)
    return lambda value: not any(test(value) for test in tests)


def _compile_nested_text(name: str, value: Any) -> Predicate:
    if not isinstance(value, str):
        raise PatternError(_NOT_TEXT_NESTED[name])
    if not value and name in ("prefix", "suffix"):
        raise PatternError("Null prefix/suffix not allowed", "it would fit no text at all")
    return _COMPILERS[name](value, False)


def _compile_cidr(operand: Any, strict: bool) -> Predicate:
    # AWS says prefix here
    block = _require_text("prefix", operand)
    address, slash, mask = block.partition("/")
    if not slash or not mask or "/" in mask:
        raise PatternError("Malformed CIDR, one '/' required", "such as 10.0.0.0/24")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = _pack(family, address)
    if packed is None:
        raise PatternError(f"Nonstandard IP address: {address}")
    hosts = _host_mask(packed, mask)
    low = int.from_bytes(packed) & ~hosts
    first = low.to_bytes(len(packed))
    last = (low | hosts).to_bytes(len(packed))

    def contains(value: Any) -> bool:
        found = _pack(family, value) if value.__class__ is str else None
        return found is not None and first <= found <= last

    return contains


def _host_mask(packed: bytes, mask: str) -> int:
    """The bits of an address that its block leaves open."""
    try:
        bits = int(mask)
    except ValueError:
        raise PatternError("Malformed CIDR, mask bits must be an integer") from None
    if bits < 0:
        raise PatternError("Malformed CIDR, mask bits must not be negative")
    width = len(packed) * 8
    if bits >= width:
        raise PatternError(
            f"IPv{4 if width == 32 else 6} mask bits must be < {width}",
            "for one address write the address itself, as a text",
        )
    return (1 << (width - bits)) - 1


def _pack(family: socket.AddressFamily, address: str) -> bytes | None:
    try:
        return socket.inet_pton(family, address)
    except (OSError, ValueError):
        return None


def _compile_wildcard(operand: Any, strict: bool) -> Predicate:
    first, *others = _split_at_stars(_require_text("wildcard", operand))
    if not others:
        return lambda value: value.__class__ is str and value == first
    *middle, last = others
    shortest = len(first) + len(last)

    def fits(value: Any) -> bool:
        if (
            value.__class__ is not str
            or len(value) < shortest
            or not value.startswith(first)
            or not value.endswith(last)
        ):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in middle:
            # the earliest place leaves the most for what follows
            at = value.find(piece, at, end) + len(piece)
            if at < len(piece):
                return False
        return True

    return fits


def _split_at_stars(pattern: str) -> list[str]:
    """The literal pieces between the stars. AWS counts bytes, from the quote before the text."""
    pieces = [""]
    index = 0
    while index < len(pattern):
        sign, after = pattern[index], pattern[index + 1 : index + 2]
        place = len(pattern[:index].encode("utf-8", "surrogatepass")) + 1
        if sign == "*" and after == "*":
            raise PatternError(f"Consecutive wildcard characters at pos {place}", "one * will do")
        if sign == "\\" and after not in ("*", "\\"):
            raise PatternError(
                f"Invalid escape character at pos {place}", r"a backslash is written \\, a star \*"
            )
        if sign == "*":
            pieces.append("")
        else:
            pieces[-1] += after if sign == "\\" else sign
        index += 2 if sign == "\\" else 1
    if len(pieces) - 1 > _MOST_STARS:
        raise PatternError(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating "
            "character sequences after a wildcard character"
        )
    return pieces


def _require_text(name: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise PatternError(f"{name} match pattern must be a string")
    return operand


def _only_item(operand: Mapping[Any, Any], missing: str) -> tuple[Any, Any]:
    if not operand:
        raise PatternError(missing)
    if len(operand) > 1:
        raise PatternError("Only one key allowed in match expression")
    return next(iter(operand.items()))


def _unlisted(what: str) -> PatternError:
    return PatternError(
        "Invalid filter pattern definition.",
        f"{what} is not an operator of AWS's event source mappings",
    )


_COMPILERS: dict[str, Callable[[Any, bool], Predicate]] = {
    "anything-but": _compile_anything_but,
    "cidr": _compile_cidr,
    "equals-ignore-case": _compile_equals_ignore_case,
    "numeric": _compile_numeric,
    "prefix": _compile_prefix,
    "suffix": _compile_suffix,
    "wildcard": _compile_wildcard,
}
