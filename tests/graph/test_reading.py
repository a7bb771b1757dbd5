"""Reading: which nodes and edges a run is given, in which order, and that nothing else is read."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from wireloom.errors import RequestError
from wireloom.graph.edge import Edge
from wireloom.graph.graph import Graph
from wireloom.graph.node import Node, Root

from .kit import (
    ALICE,
    BOB,
    TIMEOUT_SECONDS,
    Also,
    Folder,
    Item,
    Link,
    Special,
    StrongLink,
    begin,
    names,
    run,
    statements,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def filled(graph: Graph) -> Graph:
    """Alice keeps: an item, a folder, a special one, an item, over edges of several classes."""
    async with run(graph) as root:
        root.connect(Item(name="a", count=1), Link(weight=1))
        root.connect(Folder(name="b"), Also)
        root.connect(Special(name="c", count=1, stars=2), StrongLink(weight=2))
        root.connect(Item(name="d", count=2))
    return graph


@pytest.mark.parametrize(
    ("kind", "edge", "expected"),
    [
        (None, None, "abcd"),
        (Node, Edge, "abcd"),
        (Item, None, "acd"),
        (Special, None, "c"),
        (Folder, None, "b"),
        (None, Link, "ac"),
        (None, StrongLink, "c"),
        (Item, Link, "ac"),
        (Folder, Link, ""),
        (Root, None, ""),
    ],
)
async def test_nodes_of_a_class_and_its_subclasses_over_edges_of_one(
    filled: Graph, kind: Any, edge: Any, expected: str
) -> None:
    async with run(filled) as root:
        assert names(await root.nodes(kind, edge=edge)) == [*expected]
    async with run(filled) as root:  # the same of what is not stored yet
        folder = root.connect(Folder())
        for node, between in ((Item(name="a"), Link()), (Folder(name="b"), Also()), (Special(name="c"), StrongLink())):
            folder.connect(node, between)
        folder.connect(Item(name="d"))
        assert names(await folder.nodes(kind, edge=edge)) == [*expected]


@pytest.mark.parametrize(
    ("kind", "expected"), [(None, [1, None, 2, None]), (Link, [1, 2]), (StrongLink, [2]), (Also, [None])]
)
async def test_edges_of_a_class_and_its_subclasses(filled: Graph, kind: Any, expected: list[int]) -> None:
    async with run(filled) as root:
        found = await root.edges(kind)
        assert [getattr(edge, "weight", None) for edge in found] == expected
        if kind is None:
            assert [type(edge) for edge in found] == [Link, Also, StrongLink, Edge]
            assert names([await edge.target() for edge in found]) == [*"abcd"]
            assert {await edge.source() for edge in found} == {root}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"count": 1}, "ac"),
        ({"count": 1, "name": "c"}, "c"),
        ({"count": 7}, ""),
        ({}, "acd"),
        (lambda item: item.count == 1, "ac"),
        (lambda item: "", ""),
    ],
)
async def test_where_is_a_mapping_or_a_function(filled: Graph, where: Any, expected: str) -> None:
    async with run(filled) as root:
        assert names(await root.nodes(Item, where=where)) == [*expected]
        assert names(await root.nodes(Item, where=where, limit=1)) == [*expected][:1]


async def test_where_of_edges(filled: Graph) -> None:
    async with run(filled) as root:
        assert [edge.weight for edge in await root.edges(Link, where={"weight": 2})] == [2]
        assert [edge.weight for edge in await root.edges(Link, where=lambda edge: edge.weight < 2)] == [1]
        assert len(await root.edges(where={"note": ""})) == 1


async def test_where_sees_what_the_run_has_changed(filled: Graph) -> None:
    async with run(filled) as root:
        [first, *_] = await root.nodes(Item)
        first.count = 9
        assert names(await root.nodes(Item, where={"count": 9})) == ["a"]
        assert names(await root.nodes(Item, where={"count": 1})) == ["c"]


async def test_where_with_a_field_that_there_is_not_is_refused(filled: Graph) -> None:
    async with run(filled) as root:
        with pytest.raises(AttributeError, match=r"Item has no field 'conut'; did you mean 'count'?"):
            await root.nodes(Item, where={"conut": 1})
        with pytest.raises(AttributeError, match="Link has no field 'wait'"):
            await root.edges(Link, where={"wait": 1})


@pytest.mark.parametrize(("limit", "expected"), [(0, ""), (1, "a"), (3, "abc"), (4, "abcd"), (99, "abcd")])
async def test_limit(filled: Graph, limit: int, expected: str) -> None:
    async with run(filled) as root:
        assert names(await root.nodes(limit=limit)) == [*expected]
        assert len(await root.edges(limit=limit)) == len(expected)
        assert names(await root.nodes(where=lambda node: True, limit=limit)) == [*expected]
        first = await root.nodes(Item, where=lambda item: item.name != "a", limit=limit)
        assert names(first) == [*"cd"][:limit]
    async with run(filled) as root:  # what was cut is not counted
        [gone] = await root.nodes(Folder)
        root.disconnect(gone)
        assert names(await root.nodes(limit=limit)) == [*"acd"][:limit]
        root.connect(Item(name="e"))
        assert names(await root.nodes(limit=limit)) == [*"acde"][:limit]


async def test_a_negative_limit_is_refused(filled: Graph) -> None:
    async with run(filled) as root:
        for ask in (root.nodes(limit=-1), root.edges(limit=-1), root.granted(limit=-1)):
            with pytest.raises(ValueError, match="limit"):
                await ask


async def test_directions(graph: Graph) -> None:
    async with run(graph) as root:
        one, two = root.connect(Item(name="one")), root.connect(Item(name="two"))
        one.connect(two, Link(weight=1))
        two.connect(one, Link(weight=2))
        one.connect(Item(name="three"), Link(weight=3))
        both = [
            (
                names(await one.nodes(Item, direction=how)),
                [edge.weight for edge in await one.edges(Link, direction=how)],
            )
            for how in ("out", "in", "any")
        ]
    async with run(graph) as root:
        [one] = await root.nodes(Item, limit=1)
        for how, expected in zip(("out", "in", "any"), both, strict=True):
            found = names(await one.nodes(Item, direction=how)), await one.edges(Link, direction=how)
            assert (found[0], [edge.weight for edge in found[1]]) == expected
        assert both == [(["two", "three"], [1, 3]), (["two"], [2]), (["two", "three"], [1, 2, 3])]
        assert await one.nodes(Root, direction="in") == [root]
        assert (await one.nodes(direction="any"))[0] is root
        assert await one.nodes(Root, direction="out") == []


async def test_parallel_edges_list_a_node_once(graph: Graph) -> None:
    async with run(graph) as root:
        item = root.connect(Item(name="a"), Link(weight=1))
        root.connect(item, Link(weight=2))
        root.connect(Item(name="b"))
        root.connect(item, Link(weight=3))
        assert (names(await root.nodes()), len(await root.edges())) == (["a", "b"], 4)
    async with run(graph) as root:
        assert (names(await root.nodes()), names(await root.nodes(limit=2))) == (["a", "b"], ["a", "b"])
        assert [edge.weight for edge in await root.edges(Link)] == [1, 2, 3]


async def test_a_node_that_leads_to_itself_and_circles(graph: Graph) -> None:
    async with run(graph) as root:
        item = root.connect(Item(name="a"))
        item.connect(item)
        item.connect(root)
        circle = Folder(name="x")
        circle.connect(Folder(name="y")).connect(circle)
        root.connect(circle)
    async with run(graph) as root:
        [item], [x] = await root.nodes(Item), await root.nodes(Folder)
        for how in ("out", "in", "any"):
            assert await item.nodes(Item, direction=how) == [item]
            assert {*await item.nodes(direction=how)} == {item, root}
        assert len(await item.edges(direction="any")) == 3
        [y] = await x.nodes()
        assert (await y.nodes(), x.name, y.name) == ([x], "x", "y")  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [499, 500, 501, 1203])
async def test_many_neighbours_are_all_read_in_order(graph: Graph, number: int) -> None:
    async with run(graph) as root:
        for count in range(number):
            root.connect(Item(count=count))
    async with run(graph) as root:
        found = await root.nodes(Item)
        assert [item.count for item in found] == [*range(number)]
        assert len(await root.edges()) == number
        assert [item.count for item in await root.nodes(Item, where=lambda item: item.count >= 450, limit=60)] == [
            *range(450, min(510, number))
        ]
        for item in found:
            item.count += 1
            if item.count % 2:
                item.delete()
    async with run(graph) as root:
        assert [item.count for item in await root.nodes(Item)] == [*range(2, number + 1, 2)]


async def test_one_node_is_one_object(filled: Graph) -> None:
    async with run(filled) as root:
        first = await root.nodes()
        assert [*map(id, await root.nodes(direction="any"))] == [*map(id, first)]
        assert [*map(id, await root.edges())] == [*map(id, await root.edges(direction="any"))]
        assert await first[0].nodes(direction="in") == [root]
        assert await first[0]._run().node(first[0].id) is first[0]


async def test_what_the_run_has_done_is_seen_at_once(filled: Graph) -> None:
    async with run(filled) as root:
        a, b, c, d = await root.nodes()
        a.delete()
        root.disconnect(b)
        e = root.connect(Item(name="e"))
        root.connect(c, Also())
        b.connect(d)
        assert names(await root.nodes()) == ["c", "d", "e"]
        assert names(await root.nodes(Item, edge=Also)) == ["c"]
        assert len(await root.edges()) == 4
        assert (await b.nodes(), await b.nodes(direction="in"), await e.nodes(direction="in")) == ([d], [], [root])
        assert names(await d.nodes(Folder, direction="any")) == ["b"]
        for gone in (a.id, "n:Item:" + "0" * 24, "nonsense", ""):
            with pytest.raises(RequestError) as caught:
                await a._run().node(gone)
            assert (caught.value.code, caught.value.message) == ("NOT_FOUND", f"There is no node {gone!r}")
        e.delete()
        root.connect(b)
        assert names(await root.nodes()) == ["c", "d", "b"]
        kept = b.id
    async with run(filled) as root:
        assert names(await root.nodes()) == ["c", "d", "b"]
        assert names(await (await root._run().node(kept)).nodes()) == ["d"]


async def test_an_id_that_is_too_long_is_not_repeated_whole(graph: Graph) -> None:
    async with run(graph) as root:
        with pytest.raises(RequestError) as caught:
            await root._run().node("x" * 10_000)
        assert len(caught.value.message) < 150


async def test_several_reads_at_once_in_one_run(filled: Graph) -> None:
    """They are not in each other's way, neither for the turn nor for the connection of an exclusive run."""
    for exclusive in (False, True):
        with anyio.fail_after(TIMEOUT_SECONDS):
            async with run(filled, exclusive=exclusive) as root:
                found: dict[Any, list[Any]] = {}

                async def read(kind: Any, root: Root = root, found: Any = found) -> None:
                    found[kind] = await root.nodes(kind)

                async with anyio.create_task_group() as group:
                    for kind in (Item, Folder, Special, Node):
                        group.start_soon(read, kind)
                assert {kind: len(each) for kind, each in found.items()} == {Item: 3, Folder: 1, Special: 1, Node: 4}
                assert {*found[Item]} < {*found[Node]}


async def cost(graph: Graph, who: str, limit: int | None) -> int:
    with statements(graph.database) as found:
        async with run(graph, who) as root:
            for folder in await root.nodes(Folder, limit=limit):
                [item] = await folder.nodes(Item)
                item.count += 1
    return len([statement for statement in found if "PRAGMA" not in statement])


async def fill(graph: Graph, who: str, number: int) -> None:
    async with run(graph, who) as root:
        for count in range(number):
            root.connect(Folder(name=str(count))).connect(Item(count=count))


async def test_only_what_is_asked_for_is_read(graph: Graph) -> None:
    await fill(graph, ALICE, 3)
    with statements(graph.database) as found:
        unit = begin(graph)
        assert (found, unit.is_untouched) == ([], True)
        folders = await unit.root.nodes(Folder)
        before = len(found)
        assert 1 <= before <= 2
        await folders[0].nodes()
        await folders[0].nodes()
        assert unit._nodes is not None and len(unit._nodes) == 5  # the root, three folders, one item
        await unit.close()


async def test_a_run_costs_the_same_statements_however_much_is_stored(graph: Graph) -> None:
    await fill(graph, ALICE, 3)
    few = await cost(graph, ALICE, 3)
    await fill(graph, BOB, 400)
    await fill(graph, ALICE, 600)
    assert await cost(graph, ALICE, 3) == few
