"""Tokens: the words of an expression, each with its place. Law: what is no token is told where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from wireloom.faces.routes.expressions.problem import ExpressionProblem

__all__ = ["Token", "tokens"]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<symbol>\*\*|&&|\|\||==|!=|<=|>=|[-+*/%!<>()\[\]{}.,:?|])
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BLANKS = re.compile(r"\s*")


class Token(NamedTuple):
    """One word: what kind it is, how it is written, and where in the text it begins and ends.

    Kinds are ``number``, ``name``, ``text``, ``symbol`` and, behind the last, ``end``.
    """

    kind: str
    text: str
    start: int
    end: int


def tokens(source: str, start: int, *, braces: bool) -> Iterator[Token]:
    """The tokens of an expression.

    Args:
        start: where it begins.
        braces: it ends at ``}}``, as those within a text do; else at the end of the source.

    Raises:
        ExpressionProblem: a character that begins no token, a text without its end, no ``}}``.
    """
    at, depth = start, 0
    while True:
        blanks = _BLANKS.match(source, at)
        at = blanks.end() if blanks is not None else at
        if braces and depth <= 0 and source.startswith("}}", at):
            yield Token("end", "}}", at, at + 2)
            return
        if at >= len(source):
            if braces:
                raise ExpressionProblem("'{{' without its '}}'", max(start - 2, 0), start)
            yield Token("end", "", at, at)
            return
        match = _TOKEN.match(source, at)
        if match is None:
            raise _no_token(source, at)
        kind = str(match.lastgroup)
        token = Token(kind, match[kind], match.start(kind), match.end(kind))
        depth += (token.text == "{") - (token.text == "}") if kind == "symbol" else 0
        yield token
        at = token.end


def _no_token(source: str, at: int) -> ExpressionProblem:
    if source[at] in "'\"":
        return ExpressionProblem(f"a text that begins with {source[at]} and does not end", at, at + 1)
    instead = {"=": "; write == to compare", "&": "; write && for and"}.get(source[at], "")
    return ExpressionProblem(f"{source[at]!r} means nothing here{instead}", at, at + 1)
