"""Types: which class a stored name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from wireloom.errors import ConfigError, did_you_mean
from wireloom.graph.declared import source_of_class
from wireloom.graph.edge import Edge, edge_type_name
from wireloom.graph.node import Node, Root, node_type_name
from wireloom.graph.stored import StoredMisfit, require_storable

__all__ = ["Types", "names_of"]

K = TypeVar("K", bound="type[Node] | type[Edge]")


class Types:
    """The classes of an application's nodes and edges by the names that the store has."""

    def __init__(self) -> None:
        self._declared: dict[str, type[Node] | type[Edge]] = {}

    def declare(self, kinds: Iterable[type[Node] | type[Edge]]) -> None:
        """Takes in classes.

        Raises:
            ConfigError: two have one name, or one has fields that cannot be stored.
        """
        for kind in kinds:
            if kind in (Node, Root, Edge):
                continue
            require_storable(kind)
            other = self._declared.setdefault(kind.__name__, kind)
            if other is not kind:
                raise ConfigError(
                    f"{kind.__name__} is the name of another class too ({source_of_class(other)});"
                    " the store knows nodes and edges by it",
                    source_of_class(kind),
                )

    def find(self, name: str, kind: K, id: str) -> K:
        """The class of a stored name, of one kind.

        Args:
            name: as it is stored.
            kind: the class that was asked for; it or one of its subclasses is found.
            id: of what is stored, for errors.

        Raises:
            StoredMisfit: no class has the name any more.
        """
        declared = self._declared.get(name)
        if declared is not None and issubclass(declared, kind):
            return declared  # type: ignore[return-value]
        found = [each for each in _with_subclasses(kind) if _name_of(each) == name]
        if not found:
            known = sorted({_name_of(each) for each in _with_subclasses(kind)} - {""})
            raise StoredMisfit(f"{id} is stored, but there is no class {name!r} any more{did_you_mean(name, known)}")
        newest: K = found[-1]  # where a file was loaded again
        return newest


def _name_of(kind: type[Node] | type[Edge]) -> str:
    return edge_type_name(kind) if issubclass(kind, Edge) else node_type_name(kind)


def _with_subclasses(kind: Any) -> Iterator[Any]:
    yield kind
    for each in kind.__subclasses__():
        yield from _with_subclasses(each)


def names_of(kind: type[Node] | type[Edge]) -> tuple[str, ...] | None:
    """The stored names of a class and its subclasses; None is every name."""
    if kind in (Node, Edge):
        return None
    return tuple({_name_of(each): None for each in _with_subclasses(kind)})
