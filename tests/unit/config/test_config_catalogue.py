"""Bad input: every row of the configuration part of the catalogue, C1 to C14."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventmesh.errors import Problem

One = Callable[..., Problem]
FUNCTION = "functions:\n  f:\n    handler: a.b\n"


def place(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


def test_c1_tab_indentation(problem: One) -> None:
    found = problem("functions:\n\tf: 1\n")
    assert place(found) == (2, 1)
    assert found.message == "a tab: YAML is indented with spaces only"
    assert found.source_line == "\tf: 1"


def test_c1_unclosed_quote(problem: One) -> None:
    found = problem("version: 1\nstate: './x\nconcurrency: 2\n")
    assert place(found) == (2, 8)
    assert found.message == "this quote is never closed"


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("a: [1,\nb: 2\n", (1, 4), "this [ ... ] is not well formed"),
        ("a: {b: 1\n", (1, 4), "this { ... } is not well formed"),
        ("a: b: c\n", (1, 5), "a second 'key: value' is not allowed here"),
        ("a: @b\n", (1, 4), "a value cannot start with '@'"),
        ("- a\nb: c\n", (2, 1), "the indentation does not match the lines above"),
        ("%YAML 9.0\n---\na: 1\n", (1, 1), "not valid YAML: found incompatible YAML document"),
        ("[a]: 1\n", (1, 1), "a key must be plain text"),
        ("a: *x\n", (1, 4), "no anchor '&x' for this alias"),
    ],
)
def test_c1_other_syntax(problem: One, text: str, at: tuple[int, int], message: str) -> None:
    found = problem(text)
    assert (place(found), found.message) == (at, message)


def test_c2_tags_are_refused_and_nothing_runs(problem: One, tmp_path) -> None:
    target = tmp_path / "executed"
    found = problem(
        FUNCTION + f"    description: !!python/object/apply:os.system 'touch {target}'\n"
    )
    assert place(found) == (4, 18)
    assert found.message == "the tag !!python/object/apply:os.system is not allowed"
    assert not target.exists()


def test_c3_duplicate_key_names_both_lines(problem: One) -> None:
    found = problem(FUNCTION + "    timeout: 3\n    memory: 128\n    timeout: 4\n")
    assert place(found) == (6, 5)
    assert found.message == "duplicate key 'timeout': it stands on lines 4 and 6"


def test_c3_duplicate_function(problem: One) -> None:
    found = problem(FUNCTION + "  f:\n    handler: c.d\n")
    assert found.message == "duplicate key 'f': it stands on lines 2 and 4"


def test_c4_no_is_not_false(event_problem: One) -> None:
    found = event_problem("s3: {bucket: x, enabled: no}")
    assert place(found) == (5, 34)
    assert found.message == "'enabled' must be true or false, not the text 'no'"
    assert found.hint == "write false; quote 'no' only where text is meant"


def test_c4_version_is_not_rounded(problem: One) -> None:
    found = problem("version: 1.10\n" + FUNCTION)
    assert found.message == "'version' must be 1, not the number 1.10"


@pytest.mark.parametrize("version", ["true", "1.0", "'1'"])
def test_c4_version_is_exactly_one(problem: One, version: str) -> None:
    found = problem(f"version: {version}\n" + FUNCTION)
    assert found.message.startswith("'version' must be 1, not the ") or version == "true"


def test_c4_sexagesimal_stays_text(event_problem: One) -> None:
    found = event_problem("s3: {bucket: x, batch_size: 12:30:00}")
    assert found.message == "'batch_size' must be a whole number, not the text '12:30:00'"


def test_c4_leading_zero_is_not_octal(event_problem: One) -> None:
    found = event_problem("s3: {bucket: x, batch_size: 010}")
    assert found.message == "'batch_size' must be a whole number, not the text '010'"
    assert found.hint.startswith("write 10 without quotes or leading zeros")


def test_c4_number_where_text_is_meant(problem: One) -> None:
    found = problem(FUNCTION + "    description: 1.10\n")
    assert found.message == "'description' must be text, not the number 1.10"
    assert found.hint == 'quote it: "1.10"'


def test_c5_on_is_a_text_key(loaded) -> None:
    config = loaded("functions:\n  on:\n    handler: a.b\n    env: {on: off, no: yes}\n")
    assert config.functions[0].name == "on"
    assert config.functions[0].environment == {"on": "off", "no": "yes"}


def test_c6_alias_bomb(problem: One) -> None:
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 8)]
    found = problem("\n".join(levels))
    assert found.message == "too many aliases"
    assert found.hint == "at most 100 aliases, 10,000 values when expanded"


def test_c6_many_aliases(problem: One) -> None:
    found = problem("a: &a 1\nb: [" + "*a, " * 100 + "*a]")
    assert (found.line, found.message) == (2, "too many aliases")


def test_c6_self_reference(problem: One) -> None:
    found = problem("a: &a [1, *a]\n")
    assert (place(found), found.message) == ((1, 11), "the alias '*a' contains itself")


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_c6_depth(problem: One, opening: str) -> None:
    found = problem("a: " + opening * 3000)
    assert found.message == "nested more than 50 levels deep"
    assert found.column == 4 + 49 * len(opening)


def test_c6_depth_through_aliases(problem: One) -> None:
    deep = "[" * 30 + "]" * 30
    found = problem(f"a: &a {deep}\nb: {'[' * 30}*a{']' * 30}")
    assert (found.line, found.message) == (2, "nested more than 50 levels deep")


def test_c6_file_over_a_megabyte(problem: One) -> None:
    found = problem("#" * 1_000_001)
    assert place(found) == (0, 0)
    assert found.message == "the file is larger than 1,000,000 bytes"


def test_c7_two_documents(problem: One) -> None:
    found = problem("---\nversion: 1\n---\nversion: 1\n")
    assert (place(found), found.message) == ((3, 1), "a second YAML document starts here")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "functions:\n", "{}"])
def test_c7_empty_is_a_warning(loaded, text: str) -> None:
    config = loaded(text)
    assert (config.functions, config.mappings) == ((), ())
    assert [w.message for w in config.warnings] == ["there are no functions, so nothing will run"]


def test_c7_utf8_byte_order_mark_is_accepted(loaded) -> None:
    assert loaded(b"\xef\xbb\xbf" + FUNCTION.encode()).functions[0].name == "f"


def test_c7_positions_after_a_byte_order_mark(problem: One) -> None:
    assert place(problem(b"\xef\xbb\xbfbogus: 1\n")) == (1, 1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_c7_utf16(problem: One, encoding: str) -> None:
    found = problem(FUNCTION.encode(encoding))
    assert (place(found), found.message) == ((1, 1), "the file is UTF-16")
    assert found.hint == "save it as UTF-8"


def test_c7_invalid_utf8(problem: One) -> None:
    found = problem(b"version: 1\nstate: caf\xe9\n")
    assert (place(found), found.message) == ((2, 11), "byte 0xe9 is not valid UTF-8")


@pytest.mark.parametrize(
    ("character", "name"), [("\0", "NUL"), ("\x1b", "control character U+001B")]
)
def test_c7_control_characters(problem: One, character: str, name: str) -> None:
    found = problem(f"version: 1\nstate: ab{character}c\n")
    assert (place(found), found.message) == ((2, 10), f"a {name} is not allowed")


def test_c7_nul_by_escape(problem: One) -> None:
    found = problem(FUNCTION + '    env: {A: "x\\0y"}\n')
    assert found.message == "'env': A has a NUL character in its value"
    found = problem(FUNCTION + '    code: "x\\0y"\n')
    assert found.message == "'code': a path cannot be empty or contain NUL"


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "5\n"])
def test_c7_not_a_map(problem: One, text: str) -> None:
    found = problem(text)
    assert place(found) == (1, 1)
    assert found.message == "the file must be a map that starts with 'functions:'"


@pytest.mark.parametrize(
    "key", ["bacth_size", "BatchSize", "batchSize", "batch-size", "BATCH_SIZE"]
)
def test_c8_unknown_option(event_problem: One, key: str) -> None:
    found = event_problem(f"s3: {{bucket: x, {key}: 5}}")
    assert place(found) == (5, 25)
    assert found.message == f"unknown key '{key}'"
    assert found.hint == "did you mean 'batch_size'?"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("fuctions: {}\n", 1, "did you mean 'functions'?"),
        (FUNCTION + "    MemorySize: 128\n", 4, "did you mean 'memory'?"),
        (FUNCTION + "server: {max_conections: 5}\n", 4, "did you mean 'max_connections'?"),
        ("logs: {xyz: 1}\n", 1, "known keys: directory, format"),
    ],
)
def test_c8_unknown_setting(problem: One, text: str, line: int, hint: str) -> None:
    found = problem(text)
    assert (found.line, found.hint) == (line, hint)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "'batch_size' must be from 1 to 10000, not the number 0"),
        ("-1", "'batch_size' must be from 1 to 10000, not the number -1"),
        ("10001", "'batch_size' must be from 1 to 10000, not the number 10001"),
        ('"10"', "'batch_size' must be a whole number, not the text '10'"),
        ("1e3", "'batch_size' must be a whole number, not the number 1e3"),
        ("null", "'batch_size' must be a whole number, not empty"),
        ("true", "'batch_size' must be a whole number, not true"),
        ("[1]", "'batch_size' must be a whole number, not a list"),
        ("1.5", "'batch_size' must be a whole number, not the number 1.5"),
        ("9" * 5000, "'batch_size' must be a whole number, not the text '" + "9" * 57 + "...'"),
    ],
)
def test_c9_batch_size(event_problem: One, value: str, message: str) -> None:
    found = event_problem(f"s3: {{bucket: x, batch_size: {value}}}")
    assert (place(found), found.message) == ((5, 37), message)


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("timeout", ["0", "901", "16m", "-1", "soon", "true", "null", "[3]"]),
        ("memory", ["127", "10241", "11GB", "1e400"]),
        ("ephemeral_storage", ["511", "10241"]),
        ("reserved_concurrency", ["-1", '"1"', "1.0"]),
        ("provisioned_concurrency", ["-1"]),
        ("maximum_retry_attempts", ["-1", "3"]),
        ("max_retries", ["3"]),
        ("maximum_event_age", ["59", "6h1", "7h"]),
        ("max_event_age", ["59s"]),
        ("layers", ["[., ., ., ., ., .]", "."]),
        ("isolation", ["thread"]),
        ("strict_json", ["yes", "1"]),
        ("handler", ["app", "app.", ".app", "a b.c", "app:handler", "5", "''"]),
        ("description", ["x" * 257]),
    ],
)
def test_c9_function_settings(problem: One, key: str, bad: list[str]) -> None:
    for value in bad:
        other = "" if key == "handler" else "    handler: a.b\n"
        found = problem(f"functions:\n  f:\n    {key}: {value}\n{other}")
        assert (place(found), key in found.message) == ((3, 7 + len(key)), True), found


def test_c10_unknown_auth_type(event_problem: One) -> None:
    found = event_problem("s3: {bucket: x, auth: {type: imam}}")
    assert found.message == "'type' must be 'none' or 'iam', not the text 'imam'"
    assert found.hint == "did you mean 'iam'?"


def test_c10_misspelt_auth(event_problem: One) -> None:
    found = event_problem("s3: {bucket: x, atuh: {type: iam}}")
    assert (found.message, found.hint) == ("unknown key 'atuh'", "did you mean 'auth'?")


def test_c10_exact_types_inside_nested_options(event_problem: One) -> None:
    found = event_problem('s3: {bucket: x, auth: {type: iam, retries: "3"}}')
    assert found.message == "'retries' must be a whole number, not the text '3'"


def test_c11_handler_without_a_dot(problem: One) -> None:
    found = problem("functions:\n  f:\n    handler: app\n")
    assert place(found) == (3, 14)
    assert found.message == "'handler': a handler is module.function, such as app.handler"


def test_c12_same_source_and_function_twice(problem: One) -> None:
    found = problem(FUNCTION + "    events:\n      - s3: ./a\n      - s3: {bucket: ./a}\n")
    assert place(found) == (6, 9)
    assert found.message == "two mappings are named 'f/s3:./a': lines 5 and 6"
    assert found.hint == "give one of them a 'name:' of its own"


def test_c12_same_name_in_two_functions(problem: One) -> None:
    event = "    events: [{s3: ./a, name: twin}]\n"
    found = problem(FUNCTION + event + "  g:\n    handler: a.b\n" + event)
    assert found.message == "two mappings are named 'twin': lines 4 and 7"


def test_c12_a_name_resolves_it(loaded) -> None:
    config = loaded(
        FUNCTION + "    events:\n      - s3: ./a\n      - s3: ./a\n        name: second\n"
    )
    assert [mapping.name for mapping in config.mappings] == ["f/s3:./a", "second"]


def test_c14_what_a_connector_refuses_is_shown_at_the_value(event_problem: One) -> None:
    """Expressions are the connector's own to check; their place in the file is ours."""
    found = event_problem("schedule: {bucket: x, window: '0 0 31 2 ?'}")
    assert place(found) == (5, 39)
    assert found.message.startswith("'window': not a duration")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n" * 100_000,
        "".join(f"k{n}: 1\n" for n in range(20_000)),
        "functions:\n" + "".join(f"  f{n}: {{}}\n" for n in range(20_000)),
        FUNCTION + "    events:\n" + "      - x\n" * 20_000,
        "a: [" + "'${X}'," * 20_000 + "]",
    ],
    ids=["duplicates", "unknown", "missing", "events", "variables"],
)
def test_c17_a_file_of_garbage_yields_a_bounded_list(problems, text: str) -> None:
    assert 100 <= len(problems(text)) <= 101
