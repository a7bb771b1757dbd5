"""The unit of work: all that a run has changed is kept, or nothing, and nothing else is written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from wireloom.errors import RequestError
from wireloom.graph.edge import Edge
from wireloom.graph.graph import Graph
from wireloom.graph.node import Node, Root

from .kit import ALICE, BOB, Also, Folder, Item, Link, StrongLink, begin, hook, names, run, statements, versions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def item_id(graph: Graph) -> str:
    async with run(graph) as root:
        return root.connect(Item(name="a", tags=["x"]), Link(weight=1)).id


async def only_item(root: Root) -> Item:
    [item] = await root.nodes(Item)
    return item


async def test_changes_are_kept(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        item = await only_item(root)
        item.count, item.name = 5, "b"
        item.tags.append("y")
    async with run(graph) as root:
        item = await only_item(root)
        assert (item.id, item.count, item.name, item.tags) == (item_id, 5, "b", ["x", "y"])


@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_only_reads_writes_nothing(graph: Graph, item_id: str, exclusive: bool) -> None:
    before = await versions(graph, item_id), await versions(graph, ALICE)
    async with run(graph, exclusive=exclusive) as root:
        item = await only_item(root)
        item.count += 1
        item.count -= 1
        await item.edges(direction="any")
        with statements(graph.database) as found:
            await item._run().commit()
    assert found == []
    assert (await versions(graph, item_id), await versions(graph, ALICE)) == before == ((1, 2), (1, 2))


async def test_only_what_has_changed_is_written(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        other = root.connect(Item(name="b")).id
    async with run(graph) as root:
        [first, _] = await root.nodes(Item)
        first.count += 1
    assert (await versions(graph, item_id), await versions(graph, other)) == ((2, 2), (1, 2))


async def test_a_run_that_asks_nothing_opens_no_transaction(graph: Graph) -> None:
    with statements(graph.database) as found:
        unit = begin(graph)
        assert unit.root.id == ALICE and unit.is_untouched
        await unit.close()
        async with run(graph):
            pass
    assert found == []


async def test_new_nodes_that_are_connected_to_nothing_are_not_kept(graph: Graph) -> None:
    async with run(graph) as root:
        lonely = Item()
        lonely.connect(Item()).connect(lonely)
        root.connect(Item(name="a"))
    assert await graph.count() == (2, 1)


@pytest.mark.parametrize("stored", [False, True])
async def test_what_was_connected_before_it_was_attached_is_kept(graph: Graph, stored: bool) -> None:
    if stored:
        async with run(graph) as root:
            root.connect(Item(name="there"))
    async with run(graph) as root:
        folder, shared = Folder(name="top"), Item(name="shared")
        folder.connect(Folder(name="left"), Link(weight=1)).connect(shared)
        folder.connect(Folder(name="right"), Link(weight=2)).connect(shared, Also(note="n")).connect(folder)
        if stored:
            [there] = await root.nodes(Item)
            folder.connect(there)
        assert root.connect(folder) is folder
        assert names(await folder.nodes(Folder)) == ["left", "right"]
        folder.connect(Item(name="late"))
    async with run(graph) as root:
        [folder] = await root.nodes(Folder)
        [left, right] = await folder.nodes(Folder)
        assert names([left, right]) == ["left", "right"]
        assert [edge.weight for edge in await folder.edges(Link)] == [1, 2]
        [shared] = await left.nodes(Item)
        assert await right.nodes() == [shared] and await shared.nodes() == [folder]
        assert names(await folder.nodes(Item)) == [*(["there"] if stored else []), "late"]


@pytest.mark.parametrize("exclusive", [False, True])
async def test_closing_without_commit_undoes_everything(graph: Graph, item_id: str, exclusive: bool) -> None:
    unit = begin(graph, exclusive=exclusive)
    item = await only_item(unit.root)
    item.count = 7
    unit.root.connect(Item(name="b"))
    unit.root.disconnect(item)
    await unit.close()
    async with run(graph) as root:
        assert [(one.name, one.count) for one in await root.nodes(Item)] == [("a", 0)]


async def fail_everything(graph: Graph, exclusive: bool, failing: int) -> int:
    """A run that changes all that can be, whose statement of a number fails; gives how many there are."""
    count, committing = 0, False

    def fail(statement: str) -> None:
        nonlocal count
        if committing:
            count += 1
            if count == failing:
                raise ZeroDivisionError

    with hook(graph.database, fail):
        async with run(graph, exclusive=exclusive) as root:
            a, b, c = await root.nodes(Item)
            [edge, *_] = await root.edges(Link)
            a.count, edge.weight = 7, 7
            b.delete()
            root.disconnect(c)
            root.connect(Folder(name="new")).connect(a, Also())
            a.grant(BOB, "read")
            committing = True
    return count


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_write_that_fails_in_the_middle_leaves_nothing(graph: Graph, exclusive: bool) -> None:
    async with run(graph) as root:
        for name in "abc":
            root.connect(Item(name=name), Link(weight=1))
    failing = 1
    while True:
        try:
            total = await fail_everything(graph, exclusive, failing)
            break
        except ZeroDivisionError:
            async with run(graph) as root:
                assert [(item.name, item.count) for item in await root.nodes()] == [("a", 0), ("b", 0), ("c", 0)]  # type: ignore[attr-defined]
                assert [edge.weight for edge in await root.edges(Link)] == [1, 1, 1]
            async with run(graph, BOB) as root:
                assert await root.granted() == []
        failing += 1
    assert failing == total + 1 > 8
    async with run(graph) as root:
        assert names(await root.nodes()) == ["a", "new"]
    assert await graph.count() == (4, 3)


async def test_a_commit_that_the_database_refuses_leaves_nothing(graph: Graph, item_id: str) -> None:
    """Two nodes of one id: the second INSERT fails."""
    with pytest.raises(DBAPIError):
        async with run(graph) as root:
            (await only_item(root)).count = 7
            twin = Item()
            twin.id  # noqa: B018 (made when first asked for)
            twin.__dict__["_state"].node_id = item_id
            root.connect(Item(name="b"))
            root.connect(twin)
    async with run(graph) as root:
        assert [(item.name, item.count) for item in await root.nodes(Item)] == [("a", 0)]


async def test_after_the_end_a_run_says_so(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        item, new = await only_item(root), root.connect(Item())
        [edge, _] = await root.edges()
    assert (item.name, item.id, root.id) == ("a", item_id, ALICE)  # looking is fine
    for ask in (item.nodes(), item.edges(), root.nodes(), root.granted(), new.nodes(), edge.source(), edge.target()):
        with pytest.raises(RuntimeError, match="the run of this node has ended"):
            await ask
    for change in (
        lambda: item.connect(Item()),
        lambda: root.connect(Item()),
        lambda: item.disconnect(item),
        item.delete,
        lambda: item.grant(BOB, "read"),
        lambda: item.revoke(BOB),
    ):
        with pytest.raises(RuntimeError, match="the run of this node has ended"):
            change()


async def test_an_untouched_run_has_ended_too(graph: Graph) -> None:
    unit = begin(graph)
    await unit.close()
    with pytest.raises(RuntimeError, match="has ended"):
        unit.root.connect(Item())
    with pytest.raises(RuntimeError, match="has ended"):
        await unit.node(ALICE)


async def test_nodes_and_edges_of_another_run_are_refused(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        old = await only_item(root)
        [edge] = await root.edges()
        added = Link()
        root.connect(Item(), added)
    async with run(graph) as root:
        with pytest.raises(RuntimeError, match="this Item is of another run; look it up again"):
            root.connect(old)
        for each in (edge, added):
            with pytest.raises(RuntimeError, match="this Link is of another run; look it up again"):
                root.disconnect(each)
        for each in (edge, added):
            with pytest.raises(ValueError, match="this Link connects nodes already; every connection has its own edge"):
                root.connect(Folder(), each)
    assert await graph.count() == (3, 2)  # the folders were not taken in either


async def test_a_root_is_neither_made_nor_deleted(graph: Graph) -> None:
    async with run(graph) as root:
        with pytest.raises(TypeError, match="a root cannot be made"):
            root.connect(Root())
        with pytest.raises(ValueError, match="a root is not deleted"):
            root.delete()


async def test_a_deleted_node_is_gone_with_its_edges_both_ways(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        item = await only_item(root)
        folder = root.connect(Folder(name="f"))
        folder.connect(item)
        item.connect(folder)
        item.connect(item)
    before = await versions(graph, ALICE), await versions(graph, folder)
    async with run(graph) as root:
        item = await only_item(root)
        item.count = 3  # of no consequence
        item.delete()
        item.delete()
        with pytest.raises(ValueError, match="this Item was deleted in this run"):
            item.connect(Item())
        with pytest.raises(ValueError, match="this Item was deleted in this run"):
            root.connect(item)
    assert await graph.count() == (2, 1)
    async with run(graph) as root:
        assert names(await root.nodes()) == ["f"]
        [folder] = await root.nodes(Folder)
        assert (await folder.nodes(), await folder.edges(direction="in")) == ([], await root.edges())
    after = await versions(graph, ALICE), await versions(graph, folder)
    assert [(one[0], one[1] + 1) for one in before] == [*after]  # those who read its neighbours' edges are overtaken


async def test_a_new_node_that_is_deleted_was_never_there(graph: Graph) -> None:
    async with run(graph) as root:
        item = root.connect(Item())
        item.connect(root)
        item.grant(BOB, "read")
        item.delete()
        assert await root.nodes() == []
    assert (await graph.count())[1] == 0


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("how", "left"),
    [("node", []), ("edge", [2, 3, None]), ("kind", [None]), ("subkind", [1, 2, None]), ("plain", [1, 2, 3])],
)
async def test_disconnecting(graph: Graph, stored: bool, how: str, left: list[int | None]) -> None:
    def connect(root: Root) -> Item:
        item = root.connect(Item(name="a"), Link(weight=1))
        root.connect(item, Link(weight=2))
        root.connect(item, StrongLink(weight=3))
        root.connect(item)
        item.connect(root, Also())
        root.connect(Folder(name="other"), Link(weight=9))
        return item

    async with run(graph) as root:
        connect(root)
        if not stored:
            await cut(root, how, left)
    if stored:
        async with run(graph) as root:
            await cut(root, how, left)
    async with run(graph) as root:
        await expect(root, left)
        assert len(await root.edges(Also, direction="in")) == 1


async def cut(root: Root, how: str, left: list[int | None]) -> None:
    [item] = await root.nodes(Item)
    edges = await root.edges()
    if how == "node":
        root.disconnect(item)
    elif how == "kind":
        root.disconnect(item, Link)
    elif how == "subkind":
        root.disconnect(item, StrongLink)
    else:
        root.disconnect(edges[0 if how == "edge" else 3])
    await expect(root, left)


async def expect(root: Root, left: list[int | None]) -> None:
    edges = [edge for edge in await root.edges() if isinstance(await edge.target(), Item)]
    assert [getattr(edge, "weight", None) for edge in edges] == left
    assert len(await root.nodes(Item)) == (1 if left else 0)
    assert names(await root.nodes(Folder)) == ["other"]


async def test_an_edge_is_cut_where_it_begins(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        [edge] = await root.edges()
        with pytest.raises(ValueError, match="this edge begins at another node"):
            (await only_item(root)).disconnect(edge)
    assert await graph.count() == (2, 1)


async def test_what_was_disconnected_can_be_connected_again(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        item = await only_item(root)
        root.disconnect(item)
        root.connect(item, Also(note="again"))
    async with run(graph) as root:
        [edge] = await root.edges()
        assert isinstance(edge, Also) and edge.note == "again"


@pytest.mark.parametrize("exclusive", [False, True])
async def test_an_edges_fields_are_kept(graph: Graph, item_id: str, exclusive: bool) -> None:
    before = await versions(graph, item_id)
    async with run(graph, exclusive=exclusive) as root:
        [edge] = await root.edges(Link)
        edge.weight += 5
    async with run(graph) as root:
        [edge] = await (await only_item(root)).edges(Link, direction="in")
        assert edge.weight == 6
    assert await versions(graph, item_id) == (before[0], before[1] + 1)


async def test_a_change_of_an_edge_that_is_cut_is_of_no_consequence(graph: Graph, item_id: str) -> None:
    async with run(graph) as root:
        [edge] = await root.edges(Link)
        edge.weight = 8
        root.disconnect(edge)
    assert await graph.count() == (2, 0)


async def test_an_edge_class_makes_an_edge_and_none_a_plain_one(graph: Graph) -> None:
    async with run(graph) as root:
        root.connect(Item(), Link)
        root.connect(Item())
    async with run(graph) as root:
        assert [type(edge) for edge in await root.edges()] == [Link, Edge]


async def test_users_have_nothing_of_each_other(graph: Graph, item_id: str) -> None:
    async with run(graph, BOB) as root:
        assert await root.nodes() == []
        root.connect(Item(name="bob's"))
    async with run(graph, BOB) as root:
        assert names(await root.nodes(Item)) == ["bob's"]
    async with run(graph) as root:
        assert names(await root.nodes(Item)) == ["a"]


@pytest.mark.parametrize("level", ["own", "admin", "", None])
async def test_a_grant_is_to_read_or_to_write(graph: Graph, item_id: str, level: Any) -> None:
    async with run(graph) as root:
        with pytest.raises(ValueError, match="a node is granted to 'read' or to 'write', not"):
            (await only_item(root)).grant(BOB, level)
        for nobody in ("bob", item_id, "n::banana", 5, Node()):
            with pytest.raises(TypeError, match="a user, a root or a root's id is wanted, not"):
                (await only_item(root)).grant(nobody, "read")
        with pytest.raises(RequestError, match="NOT_FOUND: There is no such user"):
            (await only_item(root)).grant(None, "read")
