"""Why a handler does not load, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmesh.config.handler_complaints import explain_failure, explain_value
from eventmesh.functions.function import Function

FUNCTION = Function("f", "app.ecko", Path("/code"), Path("/venv/bin/python"))
SOURCE = "def echo(e, c): ...\ndef fail(e, c): ...\nanswer = 42\n"
HEAD = "a provisioned environment of function f did not start: "


@pytest.mark.parametrize(
    ("error", "log", "message", "hint"),
    [
        (
            "Runtime exited with error: exit status 1",
            "[ERROR] Runtime.HandlerNotFound: Handler 'ecko' missing on module 'app'\n",
            "handler 'ecko' missing on module 'app'",
            "did you mean 'app.echo'?",
        ),
        (
            "x",
            "[ERROR] Runtime.ImportModuleError: Unable to import module 'app': "
            "No module named 'app'\n",
            "unable to import module 'app': No module named 'app'",
            "looked in /code",
        ),
        (
            "x",
            "[ERROR] Runtime.ImportModuleError: Unable to import module 'app': "
            "No module named 'pillow.deep'\n",
            "unable to import module 'app': No module named 'pillow.deep'",
            "/venv/bin/python has no 'pillow'; install it there, or set 'python:' or 'layers:'",
        ),
        (
            "x",
            "[ERROR] Runtime.ImportModuleError: Unable to import module 'app': "
            "cannot import name 'x' from 'y'\n",
            "unable to import module 'app': cannot import name 'x' from 'y'",
            "",
        ),
        (
            "x",
            "noise\n[ERROR] KeyError: 'T'\nTraceback (most recent call last):\n"
            '  File "/code/a.py", line 1, in <module>\n  File "/code/b.py", line 7, in inner\n'
            '  File "<frozen os>", line 679, in __getitem__\n',
            "KeyError: 'T' while its module was imported",
            "raised at /code/b.py:7",
        ),
        (
            "Runtime exited with error: exit status 3",
            "",
            "its module ended the process while it was imported (exit status 3)",
            "a module must not exit; put a script's work below `if __name__ == '__main__':`",
        ),
        (
            "Runtime exited without providing a reason",
            "",
            "its module ended the process while it was imported (exit status 0)",
            "a module must not exit; put a script's work below `if __name__ == '__main__':`",
        ),
        (
            "its init took longer than 0.5 s",
            "",
            "importing its module took longer than 0.5 s",
            "import less, or do slow work at the first event; Lambda's limit is 10 s",
        ),
        ("cannot fork: no memory", "", "cannot fork: no memory", ""),
    ],
)
def test_failures(error: str, log: str, message: str, hint: str) -> None:
    assert explain_failure(FUNCTION, HEAD + error, log, SOURCE) == (message, hint)


def test_without_the_source_there_is_no_hint() -> None:
    log = "[ERROR] Runtime.HandlerNotFound: Handler 'ecko' missing on module 'app'\n"
    assert explain_failure(FUNCTION, HEAD, log, None)[1] == ""


def test_a_value_is_no_handler() -> None:
    function = Function("f", "app.answer", Path("/code"), Path("/python"))
    complaint = explain_value(function, SOURCE)
    assert complaint == (
        "'answer' in module 'app' is no function",
        "functions of 'app': echo, fail",
    )
    assert explain_value(Function("f", "app.echo", Path("/"), Path("/")), SOURCE) is None
    assert explain_value(function, None) is None
