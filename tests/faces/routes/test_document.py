"""Documents: YAML and JSON become values that know their places; nothing is guessed and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.golden.golden import report

from wireloom.errors import ConfigError
from wireloom.faces.routes.document import File, Value, read
from wireloom.faces.routes.loading import read_routes
from wireloom.faces.routes.report import Problem, RoutesInvalid

ROUTE = "path: /a\nws_hooks: {}\n"


def plain(value: Value) -> Any:
    if isinstance(value.data, list):
        return [plain(item) for item in value.data]
    if isinstance(value.data, dict):
        return {name: plain(inner) for name, (_, inner) in value.data.items()}
    return value.data


def yaml(text: str) -> Any:
    (value,) = read(File("a.yaml", text))
    return plain(value)


def json(text: str) -> Any:
    (value,) = read(File("a.json", text))
    return plain(value)


def problem(text: str, name: str = "a.yaml") -> str:
    with pytest.raises(Problem) as caught:
        read(File(name, text))
    return str(caught.value)


def test_scalars_are_those_of_yaml_1_2() -> None:
    texts = "yes no on off y n Yes NO 2024-01-31 12:30:00 1_000 0b1 0x 0o8 1e e1 . +  nulL ~a 1.2.3 - =".split()
    assert yaml("".join(f"- '{text}'\n" for text in texts)) == texts
    assert yaml("".join(f"- {text}\n" for text in texts if text not in ("-", "+"))) == [
        text for text in texts if text not in ("-", "+")
    ]
    assert yaml("[null, ~, Null, NULL, , true, True, TRUE, false, False, FALSE]"[:-1].replace(" ,", "") + "]") == [
        *[None] * 4,
        *[True] * 3,
        *[False] * 3,
    ]
    assert yaml("[0, -0, 007, +5, 0o17, 0xfF, 9223372036854775807, -9223372036854775808]") == [
        *(0, 0, 7, 5, 15, 255, 9223372036854775807, -9223372036854775808)
    ]
    floats = yaml("[1.0, 1., .5, -1e3, 1E-2, 0.1]")
    assert floats == [1.0, 1.0, 0.5, -1000.0, 0.01, 0.1]
    assert {type(number) for number in floats} == {float}


def test_a_scalar_in_quotes_or_a_block_is_a_text() -> None:
    assert yaml("- '1'\n- \"null\"\n- |\n  true\n- >-\n  1.5\n- ! 5\n") == ["1", "null", "true\n", "1.5", "5"]


@pytest.mark.parametrize(
    "number", ["1e309", "-1e309", "9223372036854775808", "-9223372036854775809", "1" * 50, "0x" + "f" * 17, "1" * 5000]
)
def test_a_number_that_would_lose_digits_is_refused(number: str) -> None:
    assert problem(f"a: {number}").startswith("a.yaml:1:4: no number of 64 bits; a text stands in quotes")
    if not number.startswith("0x"):
        assert problem(f'{{"a": {number}}}', "a.json").startswith("a.json:1:7: no number of 64 bits")


def test_json_is_read_as_json() -> None:
    assert json('\t{"a":\t[1, 2.5, -3e2, "\\u00e9\\ud83d\\ude00\\/", true, false, null, {}, []]\t}\n') == {
        "a": [1, 2.5, -300.0, "é😀/", True, False, None, {}, []]
    }
    separators = "a\u2028b\u2029c\u0085d\u007fe\ufefff"
    assert json(f'{{"{separators}": "{separators}"}}') == {separators: separators}
    long_name = "n" * 5000  # longer than YAML's names may be
    assert json(f'{{"{long_name}":1}}') == {long_name: 1}
    assert json('["yes", "1", "2024-01-31", "<<", "!a", "*b", "&c"]') == [
        "yes",
        "1",
        "2024-01-31",
        "<<",
        "!a",
        "*b",
        "&c",
    ]
    assert read(File("a.json", " \n")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "a": 1,\n}', "a.json:2:8: not JSON: a comma stands between two, not behind the last"),
        ('{"a": [1,\n ]}', "a.json:1:9: not JSON: a comma stands between two, not behind the last"),
        ('{"a": 1} {"b": 2}', "a.json:1:10: not JSON: Extra data"),
        ("{'a': 1}", "a.json:1:2: not JSON: Expecting property name enclosed in double quotes"),
        ('{"a": Infinity}', "a.json:1:7: not JSON: there is no Infinity"),
        ('{"a": yes}', "a.json:1:7: not JSON: Expecting value"),
        ('{"a": "\t"}', "a.json:1:8: not JSON: Invalid control character at"),
        ('{"a": "\\x"}', "a.json:1:8: not JSON: Invalid \\escape"),
        ('{"a": 1, // no\n"b": 2}', "a.json:1:10: not JSON: there are no comments in JSON"),
        ('\ufeff{"a": }', "a.json:1:7: not JSON: Expecting value"),
        ('{"é😀": "\\udc00"}', "a.json:1:8: half of a surrogate pair is no text"),
        ('{"a": 1,\r\n "a": 2}', "a.json:2:2: 'a' is there already, in line 1"),
        ("[" * 300 + "]" * 300, "a.json:1:202: nested more than 200 levels deep"),
    ],
)
def test_a_mistake_in_json_is_told_where_it_is(text: str, message: str) -> None:
    assert problem(text, "a.json").startswith(message)


def test_names_are_texts_and_occur_once() -> None:
    assert yaml("1: a\n2.50: b\nyes: c\ntrue_: d\nnull: e\n") == {
        "1": "a",
        "2.50": "b",
        "yes": "c",
        "true_": "d",
        "null": "e",
    }
    assert problem("a: 1\nb: {c: 1, 'c': 2}").startswith("a.yaml:2:11: 'c' is there already, in line 2")
    assert problem("1: a\n'1': b").startswith("a.yaml:2:1: '1' is there already, in line 1")
    assert problem("? [a]\n: b").startswith("a.yaml:1:3: the name of a member is a text")


def test_an_alias_stands_for_a_value_with_its_place() -> None:
    (value,) = read(File("a.yaml", "one: &one [1, {a: 2}]\ntwo: *one\nthree: &one 3\nfour: *one\n"))
    assert plain(value) == {"one": [1, {"a": 2}], "two": [1, {"a": 2}], "three": 3, "four": 3}
    members = value.members()
    assert str(members["two"][1].spot()) == "a.yaml:1:6"
    assert str(members["two"][0].spot()) == "a.yaml:2:1"
    assert problem("a: &a 1\n---\nb: *a\n").startswith("a.yaml:3:4: the alias *a stands for nothing")
    assert problem("a: &a {b: [*a]}").startswith("a.yaml:1:12: the alias *a stands for what it is a part of")


def test_merge_keys_are_none_of_yaml_1_2() -> None:
    text = "- &base {path: /a}\n- {<<: *base}\n"
    assert problem(text).startswith("a.yaml:2:4: YAML 1.2 has no '<<'; write the members out")
    assert yaml("'<<': 1") == {"<<": 1}


def test_tags_are_names_of_operations_in_lists() -> None:
    (value,) = read(File("a.yaml", "- !Return {value: 1}\n- !Log\n  message: a\n- !Break\n"))
    assert [(item.tag, str(item.spot_of_tag())) for item in value.items()] == [
        ("Return", "a.yaml:1:3"),
        ("Log", "a.yaml:2:3"),
        ("Break", "a.yaml:4:3"),
    ]
    for tag in ("!!python/object:os.system", "!!str", "!a.b", "!<tag:x>"):
        assert "means nothing here; a tag is the name of an operation" in problem(f"- {tag} a")
    assert problem("!Return {value: 1}").startswith("a.yaml:1:1: the tag !Return stands before no item of a list")


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('"a {{ oops }}"', "1:9"),
        ("'it''s {{ oops }}'", "1:13"),
        ("a {{ oops }}", "1:8"),
        ('"\\t\\u00e9\\x20\\U0001F600\\N{{ oops }}"', "1:31"),
        ('"a\\\n   b {{ oops }}"', "2:9"),
        ('"a\n\n   b {{ oops }}"', "3:9"),
        ("a\n  b {{ oops }}\n  c", "2:8"),
        ("|\n  oop oops\n   {{ oops }}\n", "3:7"),
        ("|2-\n   oop oops\n    {{ oops }}\n", "3:8"),
        (">+\n  oop oops\n\n  b\n  {{ oops }}\n\n", "5:6"),
        ("&anchor '{{ oops }}'", "1:15"),
        ("&anchor\n  |\n  {{ oops }}", "3:6"),
    ],
)
def test_a_part_of_a_text_is_found_however_it_is_written(written: str, place: str) -> None:
    (value,) = read(File("a.yaml", f"- {written}"))
    (text,) = value.items()
    start = str(text.data).rindex("oops")
    spot = text.within(start, start + 4)
    assert (str(spot), spot.length) == (f"a.yaml:{place}", 4)
    assert spot.text[spot.column - 1 :].startswith("oops")


def test_a_part_of_a_json_text_is_found_behind_surrogates() -> None:
    (value,) = read(File("a.json", '["\\ud83d\\ude00 \\n \\" {{ oops }}", 1]'))
    text = value.items()[0]
    start = str(text.data).index("oops")
    assert text.within(start, start + 4).column == 25
    assert value.items()[1].spot().column == 35


def test_carets_stand_below_wide_characters_and_tabs() -> None:
    lines = report(
        [File("a.yaml", "path: /a\nws_hooks: {on_connect: [Return: {value: '日本\te\u0301 {{ oops }}'}]}\n")]
    )
    _, line, carets = lines.splitlines()
    wide, combining = 2, 1
    assert carets.index("^") == line.index("oops") + wide - combining
    assert carets.count("^") == 4 and "\t" not in line


def test_terminals_are_not_spoken_to() -> None:
    lines = report([File("a.json", '{"path": "/a", "ws_hooks": {}, "x\u009b31m\u202e": "\u0085"}')])
    assert "\u009b" not in lines and "\u202e" not in lines and "\\x9b31m" in lines


def test_line_ends_are_alike() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(
            ["\ufeffpath: /a", "ws_hooks:", "  on_connect:", "  - Return:", "      value: |", "        a {{ b }}", ""]
        )
        assert report([File("a.yaml", text)]).startswith(
            "a.yaml:6:14: route '/a', on_connect[0]: there is no variable 'b'\n    6 |         a {{ b }}\n"
        )


def test_several_documents_and_lists_are_routes() -> None:
    files = [
        File(
            "a.yaml",
            "---\npath: /a\nws_hooks: {}\n---\n# nothing\n---\n- {path: /b, logic: []}\n- {path: /c, logic: []}\n...\n",
        )
    ]
    assert report(files) == ""
    assert [len(read(file)) for file in files] == [2]
    assert report([File("a.yaml", "# nothing\n")]).startswith("a.yaml:1:1: the file has no route")
    assert report([File("a.json", "[]")]).startswith("a.json:1:1: the file has no route")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "a.yaml:1:4: not YAML: "),
        ("a: b: c\n", "a.yaml:1:5: not YAML: mapping values are not allowed in this context; a text with ': '"),
        ("a:\n\tb: 1\n", "a.yaml:2:1: not YAML: found character that cannot start any token; indent with spaces"),
        ("a: @b\n", "a.yaml:1:4: not YAML: found character that cannot start any token; a text that begins"),
        ("a: 1\nb: '\n", "a.yaml:2:4: not YAML: "),
        ("a: {{ b }}\n", "a.yaml:1:5: the name of a member is a text; a text that begins with {{ stands in quotes"),
        ("a: 'b\x1b'\n", "a.yaml:1:6: not YAML: the character U+001B cannot stand here"),
        ("a:\n b\n  c: d\n", "a.yaml:3:4: not YAML: "),
    ],
)
def test_a_mistake_in_yaml_is_told_where_it_is(text: str, message: str) -> None:
    assert problem(text).startswith(message)


# -- files and folders -------------------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))


def names(files: Any, folder: Path) -> list[str]:
    return [os.path.relpath(file.name, folder) for file in files]


def test_folders_are_read_with_all_within_them_but_what_is_hidden(tmp_path: Path) -> None:
    write(tmp_path, b_yaml=ROUTE, a_yml=ROUTE, sub__c_json="{}", sub__deep__d_yaml=ROUTE, notes_txt="?", e_YAML="?")
    write(tmp_path, **{"_hidden_yaml": "?", "_git__f_yaml": "?", "sub___g__h_yaml": "?"})
    assert names(read_routes(tmp_path).files, tmp_path) == ["a.yml", "b.yaml", "sub/c.json", "sub/deep/d.yaml"]


def test_a_file_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, b_yaml=ROUTE)
    assert names(read_routes(tmp_path, tmp_path / "b.yaml", tmp_path).files, tmp_path) == ["b.yaml"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    write(tmp_path, sub__a_yaml=ROUTE)
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "itself.yaml").symlink_to(tmp_path / "itself.yaml")
    assert names(read_routes(tmp_path).files, tmp_path) == ["sub/a.yaml"]


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="path: /\xe9\n", b_yaml="path: [\n", c_json='{"path"}', d_yaml=f"# {'x' * 1024 * 1024}\n")
    with pytest.raises(RoutesInvalid) as caught:
        raise RoutesInvalid(read_routes(tmp_path).problems)
    told = [str(problem).splitlines()[0].removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert told == [
        "a.yaml:1:1: the file is not UTF-8, in line 1",
        "b.yaml:1:7: not YAML: did not find expected node content",
        "c.json:1:8: not JSON: Expecting ':' delimiter",
        "d.yaml:1:1: the file has more than 1048576 characters",
    ]


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a_yaml=ROUTE)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # as the file's rights do, but root's

    monkeypatch.setattr(Path, "open", refuse)
    assert "the file cannot be read: Permission denied" in str(read_routes(tmp_path).problems[0])


def test_targets_that_are_not_there_are_all_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_routes(tmp_path / "a.yaml", tmp_path, tmp_path / "b")
    assert [problem.message.replace(str(tmp_path), "…") for problem in caught.value.problems] == [
        "there is no file or folder '…/a.yaml'",
        "there is no .yaml, .yml or .json file in the folder '…'",
        "there is no file or folder '…/b'",
    ]


def test_what_stands_in_quotes_already_brings_no_hint_to_put_it_there() -> None:
    text = 'message: "{{ a }}: {{ b }}"\nx: [\n'
    with pytest.raises(Problem) as caught:
        read(File("a.yaml", text))
    assert caught.value.problem == "not YAML: did not find expected node content"
