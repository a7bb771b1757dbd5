"""Scope: the variables that an expression of a hook sees, and how the hook's Python reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from wireloom.faces.routes.expressions.emit import Code

__all__ = ["ALWAYS", "IN_HTTP", "IN_MESSAGES", "RESERVED", "Scope"]

# What is always there: the Python that reads it once, at the beginning of the hook, and its kind.
ALWAYS: dict[str, tuple[str, str]] = {
    "connection_id": ("visit.connection_id", "text"),
    "params": ("visit.params", "object"),
    "query": ("visit.query", "object"),
    "headers": ("visit.headers", "object"),
    "user": ("visit.user", "any"),
    "route": ("ROUTE", "object"),
}
IN_MESSAGES: dict[str, tuple[str, str]] = {"json": ("json_of_message(message)", "any")}
IN_HTTP: dict[str, tuple[str, str]] = {"payload": ("visit.payload", "any"), "request": ("visit.request", "object")}
RESERVED = {*ALWAYS, *IN_MESSAGES, *IN_HTTP, "message"}  # names that no operation may set

_FUEL = "Fuel(MAX_OPERATIONS, MAX_SECONDS)"


class Scope:
    """The variables of one function.

    Args:
        assigned: those that operations set.
        given: those that are there from the beginning, with the Python that reads them and their kinds.
        message_kind: of ``message``; None where there is none.
        open: further names are members of the payload, which are known when it comes.

    Attributes:
        uses: those of `given` that are read, so that the others cost nothing.
        local_reads: how often a name of a loop, a catch or a function was read.
    """

    def __init__(
        self,
        assigned: Iterable[str],
        given: dict[str, tuple[str, str]],
        *,
        message_kind: str | None = None,
        open: bool = False,
    ) -> None:
        self._assigned = assigned
        self._given = given
        self._message_kind = message_kind
        self._open = open
        self._local: dict[str, Code] = {}
        self.uses: set[str] = set()
        self.local_reads = 0

    def find(self, name: str) -> Code | None:
        """How a variable is read; None where there can be none of this name."""
        if name in self._local:
            self.local_reads += 1
            return self._local[name]
        if name == "message" and self._message_kind is not None:
            self.uses.add("message")
            return Code("message", self._message_kind)
        if name in self._given:
            self.uses.add(name)
            return Code(f"given_{name}", self._given[name][1])
        if name in self._assigned:
            self.uses.add("V")  # of HTTP too: a client must not set what the route means to set itself
            return Code(f"V[{name!r}]", or_null=f"V.get({name!r})")
        if self._open and name not in RESERVED:
            return Code(f"visit.named({name!r})", or_null=f"visit.named({name!r}, None)")
        return None

    @property
    def names(self) -> Iterable[str]:
        """The names of all."""
        message = ["message"] if self._message_kind is not None else []
        return [*self._local, *message, *self._given, *self._assigned]

    def is_local(self, name: str) -> bool:
        """Whether a name belongs to a loop, a catch or a function around here."""
        return name in self._local

    @contextmanager
    def local(self, names: dict[str, Code]) -> Iterator[None]:
        """Names that there are only here: of a loop, a catch, a function."""
        before = self._local
        self._local = {**before, **names}
        yield
        self._local = before

    def prologue(self) -> list[str]:
        """The Python at the beginning of the function: everything that it uses, looked up once."""
        lines = ["V = visit.variables"] if "V" in self.uses else []
        lines += [f"F = {_FUEL}"] if "F" in self.uses else []
        return lines + [f"given_{name} = {code}" for name, (code, _) in self._given.items() if name in self.uses]
