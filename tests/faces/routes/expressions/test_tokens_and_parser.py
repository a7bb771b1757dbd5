"""Tokens and parser: what an expression may look like, where each problem is, and how large one may be."""

from __future__ import annotations

import pytest

from wireloom.faces.routes.expressions.parser import parse
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.template import parse_condition, split

from .kit import Refused, evaluate, holds, outcome, problem_of, short, value_of

# -- literals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("007", 7),
        ("1.5", 1.5),
        ("1.0", 1),
        ("1e3", 1000),
        ("1E+3", 1000),
        ("25e-1", 2.5),
        ("-1", -1),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("true", True),
        ("false", False),
        ("null", None),
        ("[]", []),
        ("[1, 'a', [null]]", [1, "a", [None]]),
        ("[1, 2,]", [1, 2]),
        ("{}", {}),
        ("{a: 1, 'b c': 2, \"d\": {e: []},}", {"a": 1, "b c": 2, "d": {"e": []}}),
        ("{true: 1, null: 2}", {"true": 1, "null": 2}),
        ("{a: 1, a: 2}", {"a": 2}),
        ("''", ""),
        ("'a' ", "a"),
        ("'a\nb'", "a\nb"),
        ("\t\n'a'\r", "a"),
        ("\u00a0'a'", "a"),
    ],
)
def test_a_literal(written: str, value: object) -> None:
    met = value_of(written)
    assert repr(met) == repr(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"'\n\t\r\b\f\0'", "\n\t\r\b\f\0"),
        (r"'\'\"\\\/'", "'\"\\/"),
        (r"'it\'s'", "it's"),
        (r'"say \"so\""', 'say "so"'),
        ("'\"'", '"'),
        (r"'\u00e9\u00E9'", "éé"),
        (r"'\ud83d\ude00'", "😀"),
        (r"'\ud83d\ude00\ud83d\ude00!'", "😀😀!"),
        ("'😀\\ud83d\\ude00'", "😀😀"),
        (r"'\ufeffa'", "\ufeffa"),
        (r"'\{\}'", "{}"),
        ("'\\\n'", "\n"),
        ("'{{ }} {{'", "{{ }} {{"),
        ('"}}"', "}}"),
        (r"'\u007d}'", "}}"),
    ],
)
def test_an_escape(written: str, value: str) -> None:
    assert value_of(written) == value
    assert evaluate(f"<{{{{ {written} }}}}>") == f"<{value}>"


def test_braces_within_an_expression_do_not_end_it() -> None:
    assert evaluate("{{ {a: {b: 1}} }}") == {"a": {"b": 1}}
    assert evaluate("{{{a: {b: {}}}}}") == {"a": {"b": {}}}
    assert evaluate("{{{}}}") == {}
    assert evaluate("<{{ {a: {b: 1}}.a.b }}{{'}}'}}>}}") == "<1}}>}}"
    assert evaluate("}} { } {{1}} }") == "}} { } 1 }"
    assert evaluate("{{1}}{{2}}") == "12"


def test_a_member() -> None:
    variables = {"a": {"b": [{"c": 5}], "x y": 6, "1": 7, "true": 8}, "l": [1, 2], "t": "añ", "n": None, "i": 1}
    for written, value in {
        "a.b[0].c": 5,
        "a['b'][0]['c']": 5,
        'a["x y"]': 6,
        "a[i]": 7,
        "a[i == 1]": 8,
        "a.nothing": None,
        "a.nothing.more[0]": None,
        "n.a": None,
        "i.a": None,
        "l[0]": 1,
        "l[-1]": 2,
        "l[-2]": 1,
        "l[2]": None,
        "l[-3]": None,
        "l['0']": None,
        "l[0.5]": None,
        "l[2 / 2]": 2,
        "l.length": None,
        "t[1]": "ñ",
        "t[2]": None,
        "a.__class__": None,
        "t.upper": None,
        "[1, 2][1]": 2,
        "{a: 5}.a": 5,
        "{a: 5}['a']": 5,
        "(a).b | length": 1,
        "a . b [ 0 ] . c": 5,
    }.items():
        assert value_of(written, **variables) == value, written


# -- problems and their places -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "start", "end"),
    [
        ("{{ }}", "a value is missing", 3, 5),
        ("{{}}", "a value is missing", 2, 4),
        ("a {{ x", "'{{' without its '}}'", 2, 4),
        ("{{", "'{{' without its '}}'", 0, 2),
        ("{{ {a: 1 }}", "'{{' without its '}}'", 0, 2),
        ("{{ x } }}", "'}' is left over; an operator is missing before it", 5, 6),
        ("{{ x x }}", "'x' is left over; an operator is missing before it", 5, 6),
        ("{{ x 'abc' }}", "\"'abc'\" is left over; an operator is missing before it", 5, 10),
        ("{{ 1 2 }}", "'2' is left over; an operator is missing before it", 5, 6),
        ("{{ x ) }}", "')' is left over; an operator is missing before it", 5, 6),
        ("{{ x ! y }}", "'!' is left over; an operator is missing before it", 5, 6),
        ("{{ x not y }}", "'not' is left over; an operator is missing before it", 5, 8),
        ("{{ 1_000 }}", "'_000' is left over; an operator is missing before it", 4, 8),
        ("{{ x : y }}", "':' is left over; an operator is missing before it", 5, 6),
        ("{{ true(1) }}", "'(' is left over; an operator is missing before it", 7, 8),
        ("{{ x + }}", "a value is missing", 7, 9),
        ("{{ x and }}", "a value is missing", 9, 11),
        ("{{ * x }}", "a value is missing, before '*'", 3, 4),
        ("{{ .5 }}", "a value is missing, before '.'", 3, 4),
        ("{{ x == == x }}", "a value is missing, before '=='", 8, 10),
        ("{{ (x }}", "')' is missing after the expression", 6, 8),
        ("{{ (x] }}", "')' is missing after the expression, before ']'", 5, 6),
        ("{{ () }}", "a value is missing, before ')'", 4, 5),
        ("{{ [x }}", "']' is missing after the items", 6, 8),
        ("{{ [x x] }}", "']' is missing after the items, before 'x'", 6, 7),
        ("{{ [,] }}", "a value is missing, before ','", 4, 5),
        ("{{ x[0 }}", "']' is missing after the key", 7, 9),
        ("{{ x[] }}", "a value is missing, before ']'", 5, 6),
        ("{{ x[0:1] }}", "']' is missing after the key, before ':'", 6, 7),
        ("{{ x. }}", "the name of a member is missing after '.'", 6, 8),
        ("{{ x.0 }}", "the name of a member is missing after '.', before '0'", 5, 6),
        ("{{ len(x }}", "')' is missing after the arguments", 9, 11),
        ("{{ len(x x) }}", "')' is missing after the arguments, before 'x'", 9, 10),
        ("{{ x | }}", "the name of a filter is missing after '|'", 7, 9),
        ("{{ x | 'a' }}", "the name of a filter is missing after '|', before \"'a'\"", 7, 10),
        ("{{ x ? 1 }}", "':' is missing after the second part of ? :", 9, 11),
        ("{{ x ? : 1 }}", "a value is missing, before ':'", 7, 8),
        ("{{ x ? 1 : }}", "a value is missing", 11, 13),
        ("{{ {1: 2} }}", "the name of a member is missing, before '1'", 4, 5),
        ("{{ {a} }}", "':' is missing after the name of the member, before '}'", 5, 6),
        ("{{ {a: } }}", "a value is missing, before '}'", 7, 8),
        ("{{ {a: 1 b: 2} }}", "'}' is missing after the members, before 'b'", 9, 10),
        ("{{ 'a }}", "a text that begins with ' and does not end", 3, 4),
        ('{{ "a\\" }}', 'a text that begins with " and does not end', 3, 4),
        ("{{ x = 1 }}", "'=' means nothing here; write == to compare", 5, 6),
        ("{{ x & 1 }}", "'&' means nothing here; write && for and", 5, 6),
        ("{{ x # 1 }}", "'#' means nothing here", 5, 6),
        ("{{ é }}", "'é' means nothing here", 3, 4),
        ("{{ ١ }}", "'١' means nothing here", 3, 4),
        ("{{ \0 }}", "'\\x00' means nothing here", 3, 4),
        ("{{ 1e999 }}", "no number of 64 bits", 3, 8),
        (r"{{ 'a\q' }}", r"there is no escape \q", 3, 8),
        (r"{{ '\u12' }}", r"there is no escape \u", 3, 9),
        (r"{{ '\x41' }}", r"there is no escape \x", 3, 9),
        (r"{{ '\ud83d' }}", "half of a surrogate pair is no text", 3, 11),
        (r"{{ '\ude00\ud83d' }}", "half of a surrogate pair is no text", 3, 17),
        (r"{{ {'\udfff': 1} }}", "half of a surrogate pair is no text", 4, 12),
        ("a\ud800b", "half of a surrogate pair is no text", 1, 2),
        ("{{ xx }}", "there is no variable 'xx'; did you mean 'x'?", 3, 5),
        ("{{ message }}", "there is no variable 'message'", 3, 10),
        ("{{ or }}", "there is no variable 'or'", 3, 5),
        ("a {{ x }} {{ x + }}", "a value is missing", 17, 19),
    ],
)
def test_a_problem_and_its_place(text: str, message: str, start: int, end: int) -> None:
    assert problem_of(text, "x") == (message, start, end)


def test_a_bare_expression_ends_with_its_text() -> None:
    for text, message, start, end in (
        ("", "a value is missing", 0, 1),
        ("x +", "a value is missing", 3, 4),
        ("x }}", "'}' is left over; an operator is missing before it", 2, 3),
        ("(x", "')' is missing after the expression", 2, 3),
    ):
        with pytest.raises(ExpressionProblem) as caught:
            parse(text)
        problem = caught.value
        assert (problem.message, problem.start, problem.end) == (message, start, end)


# -- conditions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    ["x == 1", "{{ x == 1 }}", " \n{{ x == 1 }}\n", "x == 1 ", "{{x==1}}", "{{ {a: 1}.a == x }}", "'}}' && x == 1"],
)
def test_a_condition_is_written_with_or_without_braces(condition: str) -> None:
    assert holds(condition, {"x": 1}) is True
    assert holds(condition, {"x": 2}) is False


def test_a_condition_of_the_reference() -> None:
    for condition, message, held in (
        ("{{ message | contains('hello') }}", "say hello", True),
        ("{{ message | contains('hello') }}", "say hi", False),
        ("{{ message == 'score' }}", "score", True),
        ("{{ message == 'score' }}", "scores", False),
        ("{{ message | startsWith('subscribe:') }}", "subscribe:news", True),
        ("{{ message | startsWith('subscribe:') }}", "news", False),
        ("{{ message | length > 1000 }}", "x" * 1001, True),
        ("{{ message | length > 1000 }}", "x" * 1000, False),
    ):
        assert holds(condition, {"message": message}) is held
    assert evaluate("{{ message | split(':') | last }}", {"message": "subscribe:news"}) == "news"
    assert evaluate("{{ score + 1 }}", {"score": "0"}) == 1


@pytest.mark.parametrize("condition", ["{{ 1 }} == 1", "{{ 1 }}{{ 2 }}", "x == {{ 1 }}", "{{ 1 }} && {{ 2 }}"])
def test_a_condition_is_one_expression(condition: str) -> None:
    with pytest.raises(ExpressionProblem) as caught:
        parse_condition(condition)
    assert caught.value.message == "a condition is one expression; write all of it within {{ }}"
    assert (caught.value.start, caught.value.end) == (0, len(condition))


def test_places_within_a_condition_count_from_its_very_beginning() -> None:
    for condition in ("  {{ x + }}", "    x +  "):
        with pytest.raises(ExpressionProblem) as caught:
            parse_condition(condition)
        assert caught.value.start == 9


def test_an_empty_condition_is_refused() -> None:
    for condition in ("", "  ", "{{ }}"):
        with pytest.raises(ExpressionProblem, match="a value is missing"):
            parse_condition(condition)


# -- how large an expression may be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 1000 + "1" + ")" * 1000,
        "[" * 1000 + "1" + "]" * 1000,
        "{a: " * 1000 + "1" + "}" * 1000,
        "(" * 50_000,
        "[" * 50_000,
        "!" * 50_000 + "1",
        "- " * 10_000 + "x",
        "not " * 10_000 + "x",
        "x ? " * 1000 + "1" + " : 2" * 1000,
        "x ? 1 : " * 1000 + "2",
        "len(" * 1000 + "x" + ")" * 1000,
        "x" + "[x" * 1000 + "]" * 1000,
        " + ".join(["1"] * 10_000),
        " ** ".join(["1"] * 10_000),
        " && ".join(["x"] * 10_000),
        " || ".join(["x"] * 10_000),
        " == ".join(["x"] * 10_000),
        " - ".join(["x ** 2 * 3"] * 5_000),
        "x" + " | upper" * 1000,
        "x" + " | default(x | upper)" * 1000,
        "x" + ".a" * 10_000,
        "x" + "[0]" * 10_000,
    ],
    ids=short,
)
def test_what_is_too_deep_is_refused(expression: str) -> None:
    for text in ("{{ " + expression + " }}", "a {{ " + expression + " }}"):
        message, start, end = problem_of(text, "x")
        assert "levels" in message
        assert 0 <= start < end <= len(text)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(" * 31 + "1" + ")" * 31, 1),
        ("[" * 31 + "]" * 31, None),
        ("{a: " * 31 + "x" + "}" * 31, None),
        ("- " * 31 + "x", -2),
        ("1 ? " * 31 + "3" + " : 2" * 31, 3),
        ("0 ? 1 : " * 31 + "2", 2),
        ("abs(" * 31 + "x" + ")" * 31, 2),
        ("l" + "[l[0]" * 30 + "]" * 30, None),
        (" + ".join(["x"] * 63), 126),
        (" ** ".join(["1"] * 31), 1),
        ("'a'" + " | replace('a', x | default(x)) | string" * 31, "2"),
        ("x" + " | abs" * 63, 2),
        ("true ? {a: [" * 9 + "l[0] ** abs(-x) | round" + "]} : 1" * 9, None),
        ("(1 && (x + (x * 1 ** -abs(" * 5 + "x" + "))))" * 5, 4),
        ("[" + ", ".join(["x"] * 20_000) + "]", [2] * 20_000),
        ("{" + ", ".join(f"a{i}: x" for i in range(5_000)) + "}", None),
        ("min(" + ", ".join(["x"] * 20_000) + ")", 2),
        ("'" + "a" * 99_000 + "'", "a" * 99_000),
    ],
    ids=short,
)
def test_what_is_just_not_too_deep_is_compiled_by_python(expression: str, value: object) -> None:
    met = outcome("{{ " + expression + " }}", {"x": 2, "l": [0]})
    assert not isinstance(met, Refused)
    assert value is None or met == value


def test_all_levels_together_are_compiled_by_python() -> None:
    """The deepest that is emitted: with a bracket or more for a level."""
    inner = "verify_password(" * 30 + "x" + ", x)" * 30
    assert outcome("{{ " + inner + " }}", {"x": None}) == outcome("{{ verify_password(x, x) }}", {"x": None})
    chain = "[" * 31 + "x" + "][0]" * 31
    assert evaluate("{{ " + chain + " }}", {"x": 5}) == 5


def test_a_text_has_its_length() -> None:
    room = 100_000 - len("{{ x }}")
    assert len(evaluate("a" * room + "{{ x }}", {"x": ""})) == room
    text = "a" * (room + 1) + "{{ x }}"
    message = "a text with expressions has at most 100000 characters"
    assert problem_of(text, "x") == (message, 0, len(text))
    with pytest.raises(ExpressionProblem, match=message):
        parse_condition("x" + " " * 100_000)
    assert split("a" * 200_000) == ["a" * 200_000]


def test_a_text_has_so_many_expressions() -> None:
    for text in ("{{ 1 }}", "{{ 1 }}, "):
        assert len(split(text * 100)) >= 100
        start = len(text) * 100
        with pytest.raises(ExpressionProblem, match="a text has at most 100 expressions") as caught:
            split(text * 101)
        assert (caught.value.start, caught.value.end) == (start, start + 7)


def test_a_problem_does_not_count_for_the_next_expression() -> None:
    """One emitter serves all texts of a hook, of which `check` tells every problem."""
    from wireloom.faces.routes.expressions.emit import Emitter, Namespace

    from .kit import Variables

    namespace = Namespace()
    emitter = Emitter(Variables({}, namespace, False), namespace)
    for _ in range(100):
        with pytest.raises(ExpressionProblem, match="there is no variable 'x'"):
            emitter.text(split("{{ -(-(-(1 + x))) }}"))
    assert emitter.text(split("{{ [1] }}")).text == "[1]"
