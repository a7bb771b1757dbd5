"""Failure: what an operation of a route ends with when it cannot do what it says; `Try` catches it."""

from __future__ import annotations

from wireloom.errors import WireloomError

__all__ = ["CODES", "ErrorText", "Failure", "OutOfFuel"]

# Every code that an operation fails with by itself, for the documents.
CODES: dict[str, str] = {
    "NOT_SET": "a variable is read that nothing has set yet; `default` gives another value in its place",
    "WRONG_TYPE": "a value, or a key of the store, is of a kind that does not fit",
    "WRONG_VALUE": "a value is of the right kind, but cannot be",
    "NOT_A_NUMBER": "a result is no number of 64 bits; `INCR` or `DECR` of what is no whole number",
    "DIVISION_BY_ZERO": "a division by zero",
    "TOO_LARGE": "a text, list, object or answer is larger than its bound",
    "INVALID_JSON": "a text is not JSON",
    "NO_CHANNEL": "a value cannot be the name of a channel",
    "TOO_MANY_ITERATIONS": "a `While` went on beyond its `max_iterations`",
    "OUT_OF_OPERATIONS": "the run took more operations than the option `routes_max_operations` allows",
    "OUT_OF_TIME": "the run took longer than `routes_max_seconds` allows, or kept others waiting for a second",
    "OUT_OF_DEPTH": "too many functions wait for each other",
    "THROWN": "`Throw` without a `code`",
    "INVALID_ARGUMENT": "`SqlOp` or `RedisOp` was given values that do not fit the statement or command",
    "SQL_ERROR": "the database refuses the statement, or it took too long",
    "CONSTRAINT": "the database refuses a row: it is there already, or breaks another rule of the table",
    "TOO_MANY_ROWS": "a query gives more rows than are taken; add a LIMIT",
    "REDIS_ERROR": "Redis refuses the command",
    "STORE_FULL": "the store of this process, or Redis, has no room",
    "UNAVAILABLE": "the database, Redis or another server cannot be reached, or does not answer in time",
    "NOT_ALLOWED": "`HttpRequest` to a host that the option `routes_http_hosts` does not name",
    "OVERLOADED": "too many passwords are being hashed at once",
}


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
