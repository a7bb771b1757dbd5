"""Failure: what an operation of a route ends with when it cannot do what it says; `Try` catches it."""

from __future__ import annotations

from wireloom.errors import WireloomError

__all__ = ["ErrorText", "Failure", "OutOfFuel"]


class Failure(WireloomError):
    """An operation or an expression failed. It ends the hook unless a `Try` catches it; the connection stays.

    Args:
        message: for the author of the route; no secret, at most a line.
        code: a stable name for programs, such as ``"DIVISION_BY_ZERO"``; of `Throw`, what the author chose.
    """

    def __init__(self, message: str, code: str = "FAILED") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class OutOfFuel(Failure):
    """A hook used up what it may. It can be caught once, with a little left to say so; then it ends the hook."""


class ErrorText(str):
    """A failure as ``{{ error }}``: its message, with members ``message`` and ``code``."""

    __slots__ = ("code",)

    code: str

    @classmethod
    def of(cls, failure: Failure) -> ErrorText:
        """The text of a failure that was caught."""
        text = cls(failure.message)
        text.code = failure.code
        return text
