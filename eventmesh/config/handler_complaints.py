"""Why a handler does not load, as message and hint for the person who wrote it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eventmesh.config.hints import did_you_mean
from eventmesh.functions.function import Function
from eventmesh.functions.handler_source import is_plain_value, list_callables, split_handler

_ERROR_LINE = re.compile(r"^\[ERROR\] (\S+): ?(.*)$", re.MULTILINE)
_PLACE = re.compile(r'File "([^"\n]+)",? [Ll]ine (\d+)')
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_EXIT = re.compile(r"Runtime exited (?:with error: )?(.*)")
_MAX_SHOWN = 500

Complaint = tuple[str, str]


def explain_failure(function: Function, error: str, log: str, source: str | None) -> Complaint:
    """Message and hint for a handler whose environment did not come up.

    `error` is what the pool said, `log` what the environment wrote, `source` the text of the
    handler's module when it was found.
    """
    found = _ERROR_LINE.findall(log)
    if not found:
        return _explain_end(error.rpartition(" did not start: ")[2])
    kind, text = found[-1]
    if kind == "Runtime.HandlerNotFound":
        return _lower(text), _near_handlers(function.handler, source)
    if kind == "Runtime.ImportModuleError":
        return _lower(text), _how_to_import(function, text)
    if kind.startswith("Runtime."):
        return _lower(text), ""
    message = f"{kind}: {text[:_MAX_SHOWN]} while its module was imported"
    return message, _raised_at(function, log)


def explain_value(function: Function, source: str | None) -> Complaint | None:
    """What is wrong with a handler that loaded, or None: it may be no function at all."""
    module, attribute = split_handler(function.handler)
    if source is None or not is_plain_value(source, attribute):
        return None
    return f"'{attribute}' in module '{module}' is no function", _near_handlers(
        function.handler, source
    )


def _explain_end(error: str) -> Complaint:
    ended = _EXIT.match(error)
    if ended:
        how = ended[1].replace("without providing a reason", "exit status 0")
        hint = "a module must not exit; put a script's work below `if __name__ == '__main__':`"
        return f"its module ended the process while it was imported ({how})", hint
    if "took longer than" in error:
        limit = error.rpartition("took longer than ")[2]
        hint = "import less, or do slow work at the first event; Lambda's limit is 10 s"
        return f"importing its module took longer than {limit}", hint
    return error[:_MAX_SHOWN], ""


def _near_handlers(handler: str, source: str | None) -> str:
    module, attribute = split_handler(handler)
    names = [] if source is None else list_callables(source)
    if not names:
        return ""
    what = f"functions of '{module}'"
    return did_you_mean(attribute, names, what).replace("mean '", f"mean '{module}.")


def _how_to_import(function: Function, text: str) -> str:
    module, _ = split_handler(function.handler)
    missing = _NO_MODULE.search(text)
    if missing is None:
        return ""
    if f"{module.replace('/', '.')}.".startswith(f"{missing[1]}."):
        return f"looked in {_join([function.code_directory, *function.layers])}"
    library = missing[1].partition(".")[0]
    return f"{function.python} has no '{library}'; install it there, or set 'python:' or 'layers:'"


def _raised_at(function: Function, log: str) -> str:
    """The innermost place in the function's own code, else the innermost of all."""
    places: list[tuple[str, str]] = _PLACE.findall(log)
    own = [place for place in places if place[0].startswith(f"{function.code_directory}/")]
    found = (own or places)[-1:]
    return f"raised at {found[0][0]}:{found[0][1]}" if found else ""


def _join(places: Sequence[object]) -> str:
    return ", ".join(map(str, places))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:_MAX_SHOWN]
