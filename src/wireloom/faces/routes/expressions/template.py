"""Template: a text in which expressions stand → its parts. Law: what is put in is never looked at again."""

from __future__ import annotations

from wireloom.faces.routes.expressions.parser import parse
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.tree import Node

__all__ = ["parse_condition", "split"]

_MAX_LENGTH = 100_000  # characters of a text in which expressions stand
_MAX_EXPRESSIONS = 100  # in one text


def split(text: str) -> list[str | Node]:
    """The parts of a text: what stands as it is, and expressions. A text without any is its own one part.

    Raises:
        ExpressionProblem: an expression cannot be.
    """
    _require_text(text)
    parts: list[str | Node] = []
    at, expressions = 0, 0
    while (opening := text.find("{{", at)) >= 0:
        if opening > at:
            parts.append(text[at:opening])
        _require_short(text)
        tree, at = parse(text, opening + 2, braces=True)
        parts.append(tree)
        expressions += 1
        if expressions > _MAX_EXPRESSIONS:
            raise ExpressionProblem(f"a text has at most {_MAX_EXPRESSIONS} expressions", opening, at)
    if at < len(text) or not parts:
        parts.append(text[at:])
    return parts


def parse_condition(text: str) -> Node:
    """The expression of a condition, with or without its braces.

    Raises:
        ExpressionProblem: there is more, or less, than one expression.
    """
    if "{{" not in text:
        _require_text(text)
        _require_short(text)
        return parse(text)[0]
    found = [part for part in split(text) if not (isinstance(part, str) and part.isspace())]
    if len(found) > 1 or isinstance(found[0], str):
        raise ExpressionProblem("a condition is one expression; write all of it within {{ }}", 0, len(text))
    return found[0]


def _require_short(text: str) -> None:
    if len(text) > _MAX_LENGTH:
        raise ExpressionProblem(f"a text with expressions has at most {_MAX_LENGTH} characters", 0, len(text))


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ExpressionProblem("half of a surrogate pair is no text", error.start, error.end) from None
