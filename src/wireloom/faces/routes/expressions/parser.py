"""Parser: the text of an expression → its tree. Law: all of the text is read, or it is refused."""

from __future__ import annotations

import re

from wireloom.faces.routes.expressions.operators import BINARY, UNARY, WORDS
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.tokens import Token, tokens
from wireloom.faces.routes.expressions.tree import (
    Binary,
    Call,
    Choice,
    Constant,
    Filtered,
    Items,
    Member,
    Name,
    Node,
    Pairs,
    Unary,
)
from wireloom.faces.routes.expressions.values import parse_number, tidy

__all__ = ["parse"]

_MAX_DEPTH = 32  # levels of parentheses, lists, branches, and operators that bind from the right
_CONSTANTS = {"true": True, "false": False, "null": None}
_SUM = BINARY["+"].level  # the pipe stands beside + and -
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}


def parse(source: str, start: int = 0, *, braces: bool = False) -> tuple[Node, int]:
    """The tree of an expression, and where behind it the text goes on.

    Args:
        start: where it begins.
        braces: it ends at ``}}``; else at the end of the source.

    Raises:
        ExpressionProblem: it is none.
    """
    parser = _Parser(list(tokens(source, start, braces=braces)))
    tree = parser.expression()
    last = parser.next
    if last.kind != "end":
        raise ExpressionProblem(f"{last.text!r} is left over; an operator is missing before it", last.start, last.end)
    return tree, last.end


class _Parser:
    """Reads tokens from the first to the last: precedence climbing."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._index = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._tokens[self._index]
        self._index += 1
        return token

    def _at(self, symbol: str) -> bool:
        return self.next.kind == "symbol" and self.next.text == symbol

    def _expect(self, symbol: str, after: str) -> Token:
        if not self._at(symbol):
            raise self._unexpected(f"{symbol!r} is missing after {after}")
        return self._take()

    def _unexpected(self, what: str) -> ExpressionProblem:
        token = self.next
        met = "" if token.kind == "end" else f", before {token.text!r}"
        return ExpressionProblem(what + met, token.start, max(token.end, token.start + 1))

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._unexpected(f"the expression is nested more than {_MAX_DEPTH} levels deep")

    # -- from the weakest binding to the strongest -----------------------------------------------------------------

    def expression(self) -> Node:
        """A whole expression: ``a ? b : c`` or what binds stronger."""
        self._enter()
        tree = self._binary(0)
        if self._at("?"):
            self._take()
            then = self.expression()
            self._expect(":", "the second part of ? :")
            otherwise = self.expression()
            tree = Choice(tree.start, otherwise.end, tree, then, otherwise)
        self._depth -= 1
        return tree

    def _binary(self, weakest: int) -> Node:
        left = self._unary()
        while True:
            symbol = self._symbol()
            if symbol == "|" and weakest <= _SUM:
                left = self._filtered(left)
                continue
            operator = BINARY.get(symbol)
            if operator is None or operator.level < weakest:
                return left
            self._take()
            right = self._from_right(operator.level) if operator.from_right else self._binary(operator.level + 1)
            left = Binary(left.start, right.end, symbol, left, right)

    def _from_right(self, level: int) -> Node:
        self._enter()
        right = self._binary(level)
        self._depth -= 1
        return right

    def _symbol(self) -> str:
        """The operator that comes next, if one does, without its synonyms."""
        if self.next.kind == "name":
            return WORDS.get(self.next.text, "")
        return self.next.text if self.next.kind == "symbol" else ""

    def _filtered(self, of: Node) -> Node:
        self._take()
        if self.next.kind != "name":
            raise self._unexpected("the name of a filter is missing after '|'")
        name = self._take()
        arguments = self._arguments() if self._at("(") else ()
        return Filtered(name.start, name.end, of, name.text, arguments)

    def _unary(self) -> Node:
        symbol = self._symbol()
        if symbol not in UNARY:
            return self._postfix()
        token = self._take()
        self._enter()
        of = self._unary()
        self._depth -= 1
        return Unary(token.start, of.end, symbol, of)

    def _postfix(self) -> Node:
        tree = self._primary()
        while self._at(".") or self._at("["):
            if self._take().text == ".":
                if self.next.kind != "name":
                    raise self._unexpected("the name of a member is missing after '.'")
                name = self._take()
                tree = Member(tree.start, name.end, tree, Constant(name.start, name.end, name.text))
            else:
                key = self.expression()
                tree = Member(tree.start, self._expect("]", "the key").end, tree, key)
        return tree

    def _primary(self) -> Node:
        token = self.next
        if token.kind == "number":
            self._take()
            return Constant(token.start, token.end, _number(token))
        if token.kind == "text":
            self._take()
            return Constant(token.start, token.end, _unescape(token))
        if token.kind == "name":
            return self._named()
        if self._at("("):
            self._take()
            inner = self.expression()
            self._expect(")", "the expression")
            return inner
        if self._at("["):
            return self._items()
        if self._at("{"):
            return self._pairs()
        raise self._unexpected("a value is missing")

    def _named(self) -> Node:
        token = self._take()
        if token.text in _CONSTANTS:
            return Constant(token.start, token.end, _CONSTANTS[token.text])
        if self._at("("):
            return Call(token.start, token.end, token.text, self._arguments())
        return Name(token.start, token.end, token.text)

    def _arguments(self) -> tuple[Node, ...]:
        self._take()
        found = self._list(")")
        self._expect(")", "the arguments")
        return found

    def _items(self) -> Node:
        start = self._take().start
        found = self._list("]")
        return Items(start, self._expect("]", "the items").end, found)

    def _list(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._at(closing):
            found.append(self.expression())
            if not self._at(","):
                break
            self._take()
        return tuple(found)

    def _pairs(self) -> Node:
        start, pairs = self._take().start, []
        while not self._at("}"):
            key = self.next
            if key.kind not in ("name", "text"):
                raise self._unexpected("the name of a member is missing")
            self._take()
            self._expect(":", "the name of the member")
            pairs.append((key.text if key.kind == "name" else _unescape(key), self.expression()))
            if not self._at(","):
                break
            self._take()
        return Pairs(start, self._expect("}", "the members").end, tuple(pairs))


def _number(token: Token) -> int | float:
    number = parse_number(token.text)
    if number is None:
        raise ExpressionProblem("no number of 64 bits", token.start, token.end)
    return tidy(number)


def _unescape(token: Token) -> str:
    """A text in quotes as the value that it writes."""

    def written(match: re.Match[str]) -> str:
        sign = match[1]
        if len(sign) == 5:
            return chr(int(sign[1:], 16))
        if sign in _ESCAPES:
            return _ESCAPES[sign]
        if sign.isalnum():
            raise ExpressionProblem(f"there is no escape \\{sign}", token.start, token.end)
        return sign

    text = _ESCAPE.sub(written, token.text[1:-1])
    try:  # two escapes of a surrogate pair are one character (RFC 8259 §7)
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ExpressionProblem("half of a surrogate pair is no text", token.start, token.end) from None
