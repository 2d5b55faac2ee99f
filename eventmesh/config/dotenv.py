"""`.env` files: `KEY=VALUE` lines, quotes, comments, an optional `export`."""

from __future__ import annotations

import re

from eventmesh.errors import Problem

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s+)#.*", re.DOTALL)


def parse_dotenv(text: str, file: str) -> tuple[dict[str, str], list[Problem]]:
    """Variables of a `.env` file (the last of a name wins) and the lines that are none.

    Single quotes keep everything, double quotes know `\\n`, `\\t`, `\\r`, `\\"` and `\\\\`, an
    unquoted value ends before ` #`. Nothing is interpolated.
    """
    variables: dict[str, str] = {}
    problems = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match[2]) if match else None
        if match is None:
            # the line may hold half a secret, so it is not shown
            problems.append(
                Problem(file, number, 1, "not a KEY=VALUE line", "or start it with '#'")
            )
        elif value is None:
            hint = "close the quote on the same line; only a comment may follow it"
            problems.append(Problem(file, number, 1, f"the quotes of {match[1]} are wrong", hint))
        else:
            variables[match[1]] = value
    return variables, problems


def _value(written: str) -> str | None:
    if written.startswith("'"):
        match = _SINGLE.fullmatch(written)
        return match[1] if match else None
    if written.startswith('"'):
        match = _DOUBLE.fullmatch(written)
        return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), match[1]) if match else None
    return _COMMENT.sub("", written).rstrip()
