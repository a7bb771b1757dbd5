"""A problem of an expression, with the part of the text that it is about."""

from __future__ import annotations

__all__ = ["ExpressionProblem"]


class ExpressionProblem(Exception):
    """An expression that cannot be, found when it is loaded.

    Args:
        message: what is wrong and what is expected.
        start: where in the text it begins.
        end: where it ends.
    """

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
