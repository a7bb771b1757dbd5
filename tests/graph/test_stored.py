"""Fields in the store: every type comes back, and what does not fit the classes of today is told."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

import msgspec
import pydantic
import pytest
from sqlalchemy import text

from wireloom.graph.edge import Edge
from wireloom.graph.graph import Graph
from wireloom.graph.node import Node
from wireloom.graph.stored import StoredMisfit

from .conftest import Open
from .kit import ALICE, Item, Link, run, versions

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(msgspec.Struct):
    street: str
    number: int = 1


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.5


class Person(pydantic.BaseModel):
    name: str
    born: datetime.date | None = None


class Everything(Node):
    colour: Colour
    place: Place
    point: Point
    person: Person
    people: list[Person]
    by_name: dict[str, Person]
    when: datetime.datetime
    number: decimal.Decimal
    key: uuid.UUID
    raw: bytes
    words: set[str]
    pair: tuple[int, str]
    nothing: Place | None = None
    anything: Any = None


class Described(Edge):
    colour: Colour = Colour.RED
    person: Person | None = None


VALUES: dict[str, Any] = {
    "colour": Colour.BLUE,
    "place": Place("Hauptstraße", 7),
    "point": Point(1.5),
    "person": Person(name="Ada", born=datetime.date(1815, 12, 10)),
    "people": [Person(name="a"), Person(name='quote " and \0')],
    "by_name": {"é\u2028": Person(name="b")},
    "when": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
    "number": decimal.Decimal("1.10"),
    "key": uuid.UUID(int=5),
    "raw": b"\0\xff",
    "words": {"a", "b", "c", "d", "e"},
    "pair": (1, "😀"),
    "anything": {"deep": [1, None, {"x": 1.5}]},
}


async def test_values_of_every_type_come_back(graph: Graph) -> None:
    graph.types.declare([Everything, Described])
    async with run(graph) as root:
        root.connect(Everything(**VALUES), Described(colour=Colour.BLUE, person=VALUES["person"]))
    async with run(graph) as root:
        [node] = await root.nodes(Everything)
        [edge] = await root.edges(Described)
        assert {name: getattr(node, name) for name in VALUES} == VALUES and node.nothing is None
        assert (edge.colour, edge.person) == (Colour.BLUE, VALUES["person"])
        kept = node.id
    assert await versions(graph, kept) == (1, 2)  # of the connection itself
    async with run(graph) as root:
        [node] = await root.nodes(Everything)
        node.place.number, node.point.y, node.person.name = 8, 1.0, "Bob"
        node.people.append(Person(name="c"))
        node.words.add("f")
        node.anything["deep"][2]["x"] = 2
    async with run(graph) as root:
        [node] = await root.nodes(Everything)
        assert (node.place.number, node.point.y, node.person.name, node.people[2].name) == (8, 1.0, "Bob", "c")
        assert "f" in node.words and node.anything["deep"][2]["x"] == 2


def declared(base: Any, title: str, defaults: dict[str, Any] | None = None, /, **annotations: Any) -> Any:
    """A class as another version of the application has it."""
    return type(base)(title, (base,), {"__module__": __name__, "__annotations__": annotations, **(defaults or {})})


async def keep(graph: Graph, node: Node, edge: Edge | None = None) -> str:
    async with run(graph) as root:
        root.connect(node, edge)
    return node.id


async def stored_context(graph: Graph, node_id: str) -> str:
    async with graph.database.reading() as connection:
        query = text("SELECT context FROM wireloom_nodes WHERE node_id = :id")
        return str(await connection.scalar(query, {"id": node_id}))


async def test_a_new_field_has_its_default_and_a_removed_one_stays_as_it_is(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url, ()), await open_graph(file_url, ())
    before = declared(Node, "Visit", {"gone": 1}, name=str, gone=int)
    after = declared(Node, "Visit", {"tags": []}, name=str, tags=list[str])
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, before(name="x", gone=2))
    async with run(new) as root:
        [visit] = await root.nodes(after)
        assert (visit.name, visit.tags, hasattr(visit, "gone")) == ("x", [], False)
    # Looking changes nothing: an older server beside this one finds its field
    assert await versions(old, node_id) == (1, 2)
    assert await stored_context(old, node_id) == '{"name":"x","gone":2}'
    async with run(new) as root:
        [visit] = await root.nodes(after)
        visit.tags.append("b")
    assert await stored_context(old, node_id) == '{"name":"x","tags":["b"],"gone":2}'


async def test_what_another_version_knows_stays_though_the_text_is_as_long(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url, ()), await open_graph(file_url, ())
    before = declared(Node, "Parcel", {"kind": 1, "name": "a"}, name=str, kind=int)
    after = declared(Node, "Parcel", {"size": 1, "name": "a"}, name=str, size=int)
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, before(kind=2))
    async with run(new) as root:
        [parcel] = await root.nodes(after)
        parcel.size = 3
    assert '"kind":2' in await stored_context(old, node_id) and '"size":3' in await stored_context(old, node_id)


async def test_an_edges_new_field_has_its_default_and_is_not_written(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url), await open_graph(file_url)
    before = declared(Edge, "Road", {"miles": 1}, miles=int)
    after = declared(Edge, "Road", {"miles": 1, "toll": 5}, miles=int, toll=int)
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, Item(), before(miles=3))
    async with run(new) as root:
        [road] = await root.edges(after)
        assert (road.miles, road.toll) == (3, 5)
    assert await versions(old, node_id) == (1, 2)


async def test_a_new_field_without_default_is_told(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url), await open_graph(file_url)
    before, after = declared(Node, "Visit", name=str), declared(Node, "Visit", name=str, count=int)
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, before(name="x"))
    with pytest.raises(StoredMisfit) as caught:
        async with run(new) as root:
            await root.nodes(after)
    assert str(caught.value).startswith(f"{node_id} as it is stored does not fit Visit (")
    assert __file__ in str(caught.value) and "missing required field `count`" in str(caught.value)


async def test_a_field_that_has_another_type_by_now_is_told(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url), await open_graph(file_url)
    before, after = declared(Node, "Visit", count=str), declared(Node, "Visit", count=int)
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, before(count="x"))
    with pytest.raises(StoredMisfit, match=rf"{node_id} .* does not fit Visit .*Expected `int`, got `str`.*\$\.count"):
        async with run(new) as root:
            await root.nodes(after)


async def test_a_pydantic_value_that_does_not_fit_any_more_is_told(open_graph: Open, file_url: str) -> None:
    old, new = await open_graph(file_url), await open_graph(file_url)
    before, after = declared(Node, "Visit", who=dict[str, int]), declared(Node, "Visit", who=Person)
    old.types.declare([before])
    new.types.declare([after])
    node_id = await keep(old, before(who={"name": 5}))
    with pytest.raises(StoredMisfit, match=rf"{node_id} as it is stored does not fit Visit"):
        async with run(new) as root:
            await root.nodes(after)


async def keep_ghost(graph: Graph, base: Any) -> str:
    """Keeps a node or an edge of a class that there is not."""
    edge = Link()
    node_id = await keep(graph, Item(), edge)
    table, key = ("wireloom_nodes", "node_id") if base is Node else ("wireloom_edges", "edge_id")
    kept = node_id if base is Node else edge.id
    async with graph.database.writing() as connection:
        await connection.execute(text(f"UPDATE {table} SET type = 'Ghostly' WHERE {key} = :id"), {"id": kept})
        ends = text("UPDATE wireloom_edges SET target_type = 'Ghostly' WHERE target = :id")
        await connection.execute(ends, {"id": kept})
    return kept


@pytest.mark.parametrize(("base", "near"), [(Node, "Ghost"), (Edge, "Ghost")])
async def test_a_class_that_is_gone_is_told_with_the_nearest(
    open_graph: Open, file_url: str, base: Any, near: str
) -> None:
    graph = await open_graph(file_url)
    gone = await keep_ghost(graph, base)
    ghost = declared(base, near)
    with pytest.raises(StoredMisfit) as caught:
        async with run(graph) as root:
            await (root.nodes() if base is Node else root.edges())
    assert str(caught.value) == f"{gone} is stored, but there is no class 'Ghostly' any more; did you mean 'Ghost'?"
    del ghost


async def test_nodes_of_a_class_that_is_gone_are_in_nobody_elses_way(open_graph: Open, file_url: str) -> None:
    graph = await open_graph(file_url)
    await keep_ghost(graph, Node)
    await keep(graph, Item(name="x"))
    async with run(graph) as root:
        [item] = await root.nodes(Item)
        assert item.name == "x"


async def test_a_class_that_was_loaded_again_reads_what_the_old_one_wrote(open_graph: Open, file_url: str) -> None:
    graph = await open_graph(file_url, ())
    before = declared(Node, "Reloaded", {"a": 1}, a=int)
    await keep(graph, before(a=2))
    after = declared(Node, "Reloaded", {"a": 1, "b": 2}, a=int, b=int)
    async with run(graph) as root:
        [found] = await root.nodes()
        assert (type(found), found.a, found.b) == (after, 2, 2)  # type: ignore[attr-defined]


async def test_a_value_of_a_wrong_type_is_not_kept(graph: Graph) -> None:
    """It could be read by nobody again, not even to be put right."""
    node_id = await keep(graph, Item(name="x"), Link())
    for wrong in (Item(count="many"), Item(tags=[1])):  # type: ignore[arg-type, list-item]
        with pytest.raises(TypeError, match=r"Item"):
            await keep(graph, wrong)
    with pytest.raises(TypeError, match=rf"{node_id}.*count.*`int`|{node_id}.*`int`.*count"):
        async with run(graph) as root:
            [item] = await root.nodes(Item)
            item.count = "many"  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Link.*weight|weight.*Link|e:Link"):
        async with run(graph) as root:
            [link] = await root.edges(Link)
            link.weight = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="cannot be stored"):
        async with run(graph) as root:
            [item] = await root.nodes(Item)
            item.tags = [object()]  # type: ignore[list-item]
    async with run(graph) as root:
        [item], [link] = await root.nodes(Item), await root.edges(Link)
        assert (item.name, item.count, item.tags, link.weight) == ("x", 0, [], 0)
    assert await graph.count() == (2, 1)
    assert await versions(graph, ALICE) == (1, 2)
