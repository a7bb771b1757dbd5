"""Where a token is found."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers, QueryParams

from wireloom.identity.bearer import BEARER_SUBPROTOCOL, bare_token, find_token

NONE: list[tuple[str, str]] = []
PAIR = [BEARER_SUBPROTOCOL, "sub"]


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols", "in_query", "found"),
    [
        ([("authorization", "Bearer abc")], "", [], False, "abc"),
        ([("authorization", "bEARER   abc ")], "", [], False, "abc"),
        ([("authorization", "Basic abc")], "", [], False, None),
        ([("authorization", "abc")], "", [], False, None),
        ([("authorization", "Bearer ")], "", [], False, None),
        ([("authorization", "Basic x"), ("authorization", "Bearer abc")], "", [], False, "abc"),
        ([("authorization", "Bearer abc")], "token=q", PAIR, True, "abc"),
        (NONE, "", PAIR, False, "sub"),
        (NONE, "", ["chat", *PAIR, "more"], False, "sub"),
        (NONE, "", ["sub", BEARER_SUBPROTOCOL], False, None),
        (NONE, "", [BEARER_SUBPROTOCOL], False, None),
        (NONE, "token=q", PAIR, True, "sub"),
        (NONE, "token=q", [], True, "q"),
        (NONE, "token=p&token=Bearer%20q", [], True, "q"),
        (NONE, "token=", [], True, None),
        (NONE, "token=q", [], False, None),
        (NONE, "", [], True, None),
    ],
)
def test_the_place_of_a_token(
    headers: list[tuple[str, str]], query: str, subprotocols: list[str], in_query: bool, found: str | None
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    assert find_token(Headers(raw=raw), QueryParams(query), subprotocols, in_query=in_query) == found


@pytest.mark.parametrize(
    ("token", "bare"), [("x", "x"), ("Bearer x", "x"), ("BEARER  x ", "x"), ("bearer", ""), ("", ""), ("a b", "a b")]
)
def test_a_token_without_its_scheme(token: str, bare: str) -> None:
    assert bare_token(token) == bare
