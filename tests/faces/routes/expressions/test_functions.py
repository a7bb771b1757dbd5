"""Functions: what each gives of every kind, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.identity.kit import make_passwords_cheap

from wireloom.faces.routes.expressions.functions import FUNCTIONS

from .function_cases import FUNCTION_CASES, FUNCTION_ROWS
from .kit import Fails, Row, fits, outcome, outcomes, problem_of, short, value_of


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)


def written(name: str) -> Callable[[list[str]], str]:
    return lambda values: f"{name}({', '.join(values)})"


def test_every_function_has_cases() -> None:
    assert FUNCTION_CASES.keys() == FUNCTIONS.rows.keys()


@pytest.mark.parametrize(("name", "row"), FUNCTION_ROWS, ids=short)
def test_a_function(name: str, row: Row) -> None:
    for mode, met, expected in outcomes(written(name), row):
        assert fits(mode, met, expected), (mode, name, short(row), short(met))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS.rows if "_" in name])
def test_both_spellings_are_one_function(name: str) -> None:
    first, *rest = name.split("_")
    camel = FUNCTIONS.find(first + "".join(word.title() for word in rest))
    assert camel is FUNCTIONS.find(name)
    assert camel is FUNCTIONS.rows[name]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("uid()", "there is no function 'uid'; did you mean 'uuid'?"),
        ("upper('a')", "'upper' is a filter; write value | upper"),
        ("frobnicate()", "there is no function 'frobnicate'"),
        ("__import__('os')", "there is no function '__import__'"),
        ("random_int(1)", "random_int takes 2 arguments, not 1"),
        ("format_timestamp()", "format_timestamp takes 1 to 2 arguments, not 0"),
        ("random_string(1, 2)", "random_string takes 0 to 1 arguments, not 2"),
    ],
)
def test_what_there_is_not_is_refused_at_its_name(expression: str, message: str) -> None:
    name = expression.split("(")[0]
    assert problem_of("{{ " + expression + " }}") == (message, 3, 3 + len(name))


def test_the_name_of_a_function_alone_is_a_variable() -> None:
    assert value_of("len", len=5) == 5
    assert problem_of("{{ uuid }}")[0] == "there is no variable 'uuid'"


def test_a_password_fits_its_hash_and_no_other() -> None:
    kept = value_of("hash_password('sécret')")
    assert value_of("verify_password('sécret', kept)", kept=kept) is True
    assert value_of("verifyPassword('secret', kept)", kept=kept) is False
    assert value_of("verify_password('sécret', null)", kept=kept) is False
    assert value_of("hash_password('sécret') == hash_password('sécret')") is False
    assert value_of("verify_password(a, hash_password(a)) && 'yes'", a="x") == "yes"


def test_random_things_differ() -> None:
    for expression in ("uuid()", "random_string()", "random_int(0, 9223372036854775807)"):
        assert value_of(f"{expression} == {expression}") is False


@pytest.mark.parametrize("expression", ["sha256(x)", "hmac_sha256(x, 'k')", "hmac_sha256('k', x)", "x | json"])
def test_half_of_a_surrogate_pair_is_refused(expression: str) -> None:
    assert outcome("{{ " + expression + " }}", {"x": "\ud800"}) == Fails("WRONG_VALUE")


def odd_patterns() -> Iterator[str]:
    yield from (f"%{chr(sign)}" for sign in range(256))
    yield from ("\0", "%\0", "%Y\0%d", "\ud800", "%\udfff", "%%%", "%E", "%O", "%:z", "%-d", "%99999999d", "%c" * 100)
    yield from ("%Z" * 100, "%p" * 100, "(?P<Y>", "[", "\\", "%Y(.*)*$", "%d%m%y%H%M%S%f%j%U%w%p%z")


@pytest.mark.parametrize("pattern", list(odd_patterns()), ids=short)
def test_odd_patterns_of_times_give_a_text_or_a_failure(pattern: str) -> None:
    written = outcome("{{ format_timestamp(0, p) }}", {"p": pattern})
    assert written == Fails("WRONG_VALUE") or (isinstance(written, str) and len(written) < 10_000)
    for text in ("1970", "", "1" * 500, pattern):
        read = outcome("{{ parse_timestamp(t, p) }}", {"p": pattern, "t": text})
        assert read == Fails("WRONG_VALUE") or isinstance(read, int | float)


def test_every_function_has_a_line_for_the_documents() -> None:
    assert [row.name for row in FUNCTIONS.rows.values() if not row.help.endswith((".", "`."))] == []
