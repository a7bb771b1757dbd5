"""Declaring nodes and edges: names, defaults, ids, and what cannot be stored."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from wireloom.errors import ConfigError
from wireloom.graph.edge import Edge
from wireloom.graph.ids import is_node_id
from wireloom.graph.node import Node, Root
from wireloom.graph.types import Types

from .kit import Item, Link, Special


class Left(msgspec.Struct):
    a: int


class Right(msgspec.Struct):
    b: int


NODE_NAMES = ["id", "nodes", "edges", "connect", "disconnect", "delete", "grant", "revoke", "grants"]
EDGE_NAMES = ["id", "source", "target"]


@pytest.mark.parametrize(
    ("base", "name"), [*((Node, name) for name in NODE_NAMES), *((Edge, name) for name in EDGE_NAMES)]
)
@pytest.mark.parametrize("removed", [0, 1])
def test_a_field_that_would_hide_a_method_is_refused_where_it_is_written(base: Any, name: str, removed: int) -> None:
    class Between(base):  # type: ignore[misc]
        fine: int = 0

    begin = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=f"Wrong: a field cannot be called {name!r}; that") as caught:
        type(base)("Wrong", ((base, Between)[removed],), {"__module__": __name__, "__annotations__": {name: int}})
    file, _, line = caught.value.source.rpartition(":")
    assert file == __file__ and begin < int(line) < begin + 5


def test_a_class_body_with_a_reserved_name_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:

        class Wrong(Node):
            nodes: int = 0

    file, _, line = caught.value.source.rpartition(":")
    with open(file) as source:
        assert source.readlines()[int(line) - 1].strip() == "class Wrong(Node):"


def test_names_that_are_an_edges_only_may_be_a_nodes() -> None:
    class Arrow(Node):
        source: str = ""
        target: str = ""

    assert Arrow(source="a").source == "a"


def test_dunder_fields_are_refused() -> None:
    with pytest.raises(ConfigError, match="'__secret'"):
        type(Node)("Wrong", (Node,), {"__module__": __name__, "__annotations__": {"__secret": int}})


def test_fields_are_given_by_name() -> None:
    assert (Item(name="a").name, Item(name="a").count) == ("a", 0)
    with pytest.raises(TypeError):
        Item("a")  # type: ignore[misc]
    with pytest.raises(TypeError, match="nmae"):
        Item(nmae="a")  # type: ignore[call-arg]


def test_a_field_without_default_is_required() -> None:
    class Strict(Node):
        name: str

    with pytest.raises(TypeError, match="name"):
        Strict()  # type: ignore[call-arg]


def test_mutable_defaults_are_not_shared() -> None:
    one, two = Item(), Item()
    one.tags.append("a")
    assert (two.tags, Item().tags) == ([], [])


@pytest.mark.parametrize("made", [Item(), Link()])
def test_an_attribute_that_is_no_field_is_refused_with_the_nearest(made: Any) -> None:
    wrong, right = ("conut", "count") if isinstance(made, Item) else ("wieght", "weight")
    with pytest.raises(AttributeError, match=f"{type(made).__name__} has no field '{wrong}'; did you mean '{right}'?"):
        setattr(made, wrong, 1)
    with pytest.raises(AttributeError) as caught:
        made.zzzzzzzz = 1
    assert str(caught.value) == f"{type(made).__name__} has no field 'zzzzzzzz'"


def test_a_subclass_has_the_fields_of_its_base() -> None:
    special = Special(name="a", stars=3)
    special.count += 2
    assert (special.name, special.count, special.stars) == ("a", 2, 3)


def test_ids_tell_the_class_and_stay() -> None:
    item, special, link = Item(), Special(), Link()
    assert re.fullmatch(r"n:Item:[0-9a-f]{24}", item.id) and re.fullmatch(r"n:Special:[0-9a-f]{24}", special.id)
    assert re.fullmatch(r"e:Link:[0-9a-f]{24}", link.id) and re.fullmatch(r"e::[0-9a-f]{24}", Edge().id)
    assert (item.id, link.id) == (item.id, link.id)
    assert item.id != Item().id
    assert re.fullmatch(r"n::[0-9a-f]{24}", Root().id)


@pytest.mark.parametrize("text", [Item().id, Root().id, "n:Überschrift:" + "0" * 24, "n:_a1:" + "f" * 24], ids=range(4))
def test_what_is_a_nodes_id(text: str) -> None:
    assert is_node_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n",
        Link().id,
        Item().id[:-1],
        Item().id + "\n",
        Item().id.upper(),
        "n:1a:" + "0" * 24,
        "n:a b:" + "0" * 24,
        "n:a:" + "g" * 24,
        "n:" + "a" * 300 + ":" + "0" * 24,
    ],
    ids=range(10),
)
def test_what_is_no_nodes_id(text: str) -> None:
    assert not is_node_id(text)


def make_namesake(base: Any) -> Any:
    class Item(base):  # type: ignore[misc]
        other: int = 0

    return Item


@pytest.mark.parametrize("base", [Node, Edge])
def test_two_classes_of_one_name_are_refused_naming_both(base: Any) -> None:
    types, second = Types(), make_namesake(base)
    types.declare([Item, Item])  # the same again is no other
    with pytest.raises(ConfigError, match="Item is the name of another class too") as caught:
        types.declare([second])
    assert "kit.py" in str(caught.value) and caught.value.source.startswith(__file__)


def test_the_classes_that_are_ours_need_no_declaring() -> None:
    Types().declare([Node, Root, Edge, Node])


def misfit(kind: Any) -> type[Node]:
    made = type(Node)("Misfit", (Node,), {"__module__": __name__, "__annotations__": {"value": kind}, "value": None})
    assert isinstance(made, type)
    return made


@pytest.mark.parametrize(
    "kind",
    [
        Left | Right | None,
        set[str] | list[int] | None,
        "NoSuchName",
        threading.Thread,
        list[threading.Thread],
        dict[str, tuple[int, threading.Thread | None]],
        Callable[[], None],
        complex,
    ],
    ids=str,
)
def test_a_field_that_cannot_be_stored_is_refused_naming_the_class(kind: Any) -> None:
    with pytest.raises(ConfigError, match="Misfit cannot be stored: ") as caught:
        Types().declare([misfit(kind)])
    assert caught.value.source.startswith(__file__)


@pytest.mark.parametrize("base", [Node, Edge])
def test_what_is_connected_to_nothing_says_so(base: Any) -> None:
    made = base()
    ask = made.nodes if base is Node else made.source
    with pytest.raises(RuntimeError, match=r"connected to nothing yet|connects nothing yet"):
        ask().send(None)
