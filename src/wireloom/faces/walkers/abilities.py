"""Abilities: which functions of a walker run where, found once. Law: a mistake is told where the walker is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wireloom.core.provide import Parameters, may_wait, source_of
from wireloom.errors import ConfigError
from wireloom.faces.walkers.walker import ENTRY, EXIT, Walker
from wireloom.graph.node import Node

__all__ = ["Abilities", "Ability"]


@dataclass(frozen=True, slots=True)
class Ability:
    """One function of a walker.

    Args:
        function: of the walker and the node.
        is_async: else it runs in a worker thread.
        waits: whether it may wait for something.
    """

    function: Callable[[Any, Any], Any]
    is_async: bool
    waits: bool


class Abilities:
    """What a walker does at each class of nodes.

    Args:
        walker: its class.

    Raises:
        ConfigError: a function that cannot be an ability.
    """

    def __init__(self, walker: type[Walker]) -> None:
        self._entries: list[tuple[tuple[type[Node], ...], Ability]] = []
        self._exits: list[tuple[tuple[type[Node], ...], Ability]] = []
        self._at: dict[type[Node], tuple[Ability, ...]] = {}
        for function in _functions(walker):
            ability = _read(walker, function)
            for mark, kept in ((ENTRY, self._entries), (EXIT, self._exits)):
                if hasattr(function, mark):
                    kept.append((getattr(function, mark), ability))

    @property
    def all(self) -> list[Ability]:
        """Every ability."""
        return [ability for _, ability in (*self._entries, *self._exits)]

    @property
    def kinds(self) -> set[type[Node]]:
        """The classes of nodes that they name."""
        return {kind for kinds, _ in (*self._entries, *self._exits) for kind in kinds}

    def at(self, kind: type[Node]) -> tuple[Ability, ...]:
        """What runs at a node of this class, in order: entries, then exits, each as they are defined."""
        found = self._at.get(kind)
        if found is None:
            both = (*self._entries, *self._exits)
            found = self._at[kind] = tuple(ability for kinds, ability in both if issubclass(kind, kinds))
        return found


def _functions(walker: type[Walker]) -> list[Callable[..., Any]]:
    """The functions that are marked, base classes' first; one that is overridden runs in its first place."""
    found: dict[str, Any] = {}
    for cls in reversed(walker.__mro__):
        for name, value in vars(cls).items():
            if name in found or hasattr(value, ENTRY) or hasattr(value, EXIT):
                found[name] = value
    return [value for value in found.values() if hasattr(value, ENTRY) or hasattr(value, EXIT)]


def _read(walker: type[Walker], function: Callable[..., Any]) -> Ability:
    name, source = f"{walker.__name__}.{getattr(function, '__name__', '?')}", source_of(function)
    if not inspect.isfunction(function):
        raise ConfigError(f"{name}: an ability is a plain method", source)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name}: an ability reports by self.report(…); it does not yield", source)
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise ConfigError(f"{name}: an ability takes self and here, the node", source) from None
    is_async = inspect.iscoroutinefunction(function)
    return Ability(function, is_async, not is_async or may_wait(function, Parameters()))
