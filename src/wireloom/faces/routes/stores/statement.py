"""Statement: one SQL statement of a route, read once, and the values that are bound to it.

Laws:
- A value is bound, never pasted: the text that a database gets depends on the route's text alone.
- What stands in strings, quoted names and comments is never a placeholder.
- What would change the connection instead of the data (`_REFUSED`) is refused, for connections are shared by all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wireloom.errors import did_you_mean
from wireloom.faces.routes.expressions.values import a_kind, tidy
from wireloom.faces.routes.stores.arguments import as_text, invalid

__all__ = ["SQL_OPERATIONS", "Statement"]

SQL_OPERATIONS = ("query", "query_one", "execute")
"""What can be asked with a statement: all rows, the first, or what it has changed."""

_TOKEN = re.compile(
    r"""
      (?P<blank> \s+ | --[^\n]* | /\*(?:(?!/\*|\*/).)*+\*/ )
    | (?P<quoted> [eE]'(?:[^'\\]|\\.|'')*+' | '(?:[^']|'')*+' | "(?:[^"]|"")*+"
        | \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? \$(?P=tag)\$ )
    | (?P<unended> /\* | [eE]?' | " | \$(?:[^\W\d]\w*)?\$ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<numbered> [?$]\d+ )
    | (?P<cast> :: )
    | : (?P<name> [^\W\d]\w* )
    | (?P<mark> \? )
    | (?P<semicolon> ; )
    | (?P<other> \d[\w.]* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})
_LOOKS = frozenset({"SELECT", "VALUES", "EXPLAIN", "WITH"})
_REFUSED = {
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"), "every statement is a transaction"),
    **dict.fromkeys(("SAVEPOINT", "RELEASE"), "every statement is a transaction"),
    **dict.fromkeys(("SET", "RESET", "DISCARD", "PRAGMA"), "connections are shared by all routes"),
    **dict.fromkeys(("PREPARE", "DEALLOCATE", "LISTEN", "UNLISTEN"), "connections are shared by all routes"),
    **dict.fromkeys(("ATTACH", "DETACH", "VACUUM"), "a route has one database"),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement.

    Placeholders are ``:name`` (the values are an object) or ``?`` (they are a list). Casts (``::``), comments, ``'…'``,
    ``"…"``, ``E'…'`` and ``$tag$…$tag$`` are known. So a PostgreSQL slice is written ``[1 : n]``, and for its
    operators ``?``, ``?|`` and ``?&`` there are functions (``jsonb_exists`` and the like).

    Attributes:
        query: as it is written.
        names: of the placeholders, each once, in their order.
        count: of the placeholders ``?``.
        keyword: the first word, in capitals.
        words: all words outside of strings, quoted names and comments, in capitals.
    """

    query: str
    names: tuple[str, ...] = ()
    count: int = 0
    keyword: str = ""
    words: frozenset[str] = field(default=frozenset(), repr=False)
    _pieces: tuple[str | int, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, query: str) -> Statement:
        """Reads a statement.

        Raises:
            ValueError: it is not one statement that a route may run; the message says why.
        """
        if "{{" in query:
            raise ValueError("values are bound, never pasted: write :name in the query, and the expression in params")
        pieces, names, count, words = _read(query)
        if not words:
            raise ValueError("there is no SQL statement")
        if words[0] in _REFUSED:
            raise ValueError(f"a route may not use {words[0]}: {_REFUSED[words[0]]}")
        return cls(query, names, count, words[0], frozenset(words), pieces)

    @property
    def changes_rows(self) -> bool:
        """Whether it inserts, updates or deletes rows."""
        return self.keyword in _CHANGES or (self.keyword == "WITH" and not _CHANGES.isdisjoint(self.words))

    @property
    def only_looks(self) -> bool:
        """Whether it surely changes nothing in SQLite; PostgreSQL's functions may change anything."""
        return self.keyword in _LOOKS and not self.changes_rows

    @property
    def places(self) -> int:
        """How many values it is bound to."""
        return len(self.names) or self.count

    def written(self, place: Callable[[int], str]) -> str:
        """The statement as a driver takes it.

        Args:
            place: writes the placeholder of a value by its number, from 1 on.
        """
        return "".join(piece if isinstance(piece, str) else place(piece) for piece in self._pieces)

    def bind(self, values: Mapping[str, Any] | Sequence[Any] | None) -> tuple[Any, ...]:
        """The values to bind, by their places: null, bools, numbers and texts; lists and objects become compact JSON.

        Args:
            values: an object for ``:name``, a list for ``?``; with neither, None or an empty one of them.

        Raises:
            Failure: ``INVALID_ARGUMENT``: a value lacks, is one too many or cannot be bound.
        """
        if not self.places:
            if values:
                raise invalid("the query has no placeholders, but params are given")
            return ()
        return tuple(map(_bindable, self._by_name(values) if self.names else self._by_place(values)))

    def _by_name(self, values: Any) -> Iterator[Any]:
        if not isinstance(values, Mapping):
            raise invalid(f"the query has placeholders by name: params must be an object, not {a_kind(values)}")
        for name in self.names:
            if name not in values:
                raise invalid(f"params lack {name!r}{did_you_mean(name, values)}")
        for name in values:
            if name not in self.names:
                raise invalid(f"params have {name!r}, which the query has not{did_you_mean(name, self.names)}")
        return (values[name] for name in self.names)

    def _by_place(self, values: Any) -> Sequence[Any]:
        if isinstance(values, str | Mapping) or not isinstance(values, Sequence):
            raise invalid(f"the query has placeholders ?: params must be a list, not {a_kind(values)}")
        if len(values) != self.count:
            raise invalid(f"the query has {self.count} placeholders ?, but params are {len(values)}")
        return values


def _read(query: str) -> tuple[tuple[str | int, ...], tuple[str, ...], int, list[str]]:
    """The pieces of a query (text, and numbers of placeholders), names and count of the placeholders, and its words."""
    pieces: list[str | int] = []
    names: dict[str, int] = {}
    count = 0
    words: list[str] = []
    for token in _tokens(query):
        text, kind = token[0], token.lastgroup
        if kind == "name":
            pieces.append(names.setdefault(token["name"], len(names) + 1))
        elif kind == "mark":
            count += 1
            pieces.append(count)
        else:
            pieces.append(text)
        if kind == "word":
            words.append(text.upper())
        if names and count:
            raise ValueError("a query has placeholders :name or ?, not both")
    return tuple(pieces), tuple(names), count, words


def _tokens(query: str) -> Iterator[re.Match[str]]:
    """The tokens of one statement; a semicolon at its end is left out."""
    ended = False
    for token in _TOKEN.finditer(query):
        kind = token.lastgroup
        if kind == "unended":
            what = "comment (comments in comments are not taken)" if token[0] == "/*" else "string"
            raise ValueError(f"at {_place(query, token.start())} begins a {what} that does not end")
        if kind == "numbered":
            raise ValueError(f"{token[0]} at {_place(query, token.start())}: placeholders are written :name or ?")
        if ended and kind not in ("blank", "semicolon"):
            raise ValueError(f"a second statement begins at {_place(query, token.start())}: there may be but one")
        if kind == "semicolon":
            ended = True
        else:
            yield token


def _place(query: str, at: int) -> str:
    line = query.count("\n", 0, at) + 1
    return f"line {line}, column {at - query.rfind(chr(10), 0, at)}"


def _bindable(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return tidy(value)
    if isinstance(value, str | list | dict):
        return as_text(value)
    raise invalid(f"a {type(value).__name__} cannot be bound")
