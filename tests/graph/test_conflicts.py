"""Conflicts: a run is kept only if nothing that it read has changed meanwhile. Who only reads, or adds, is let be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from wireloom.graph.changes import Conflict
from wireloom.graph.graph import Graph
from wireloom.graph.node import Root
from wireloom.graph.unit import Unit

from .conftest import Open
from .kit import ALICE, BOB, TIMEOUT_SECONDS, Also, Folder, Item, Link, begin, names, run, versions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def item_id(graph: Graph) -> str:
    async with run(graph) as root:
        return root.connect(Item(name="a"), Link(weight=1)).id


@asynccontextmanager
async def overtaken(graph: Graph) -> AsyncIterator[Root]:
    """A run that others have overtaken: nothing of it is kept."""
    counted = 0
    with pytest.raises(Conflict) as caught:
        async with run(graph) as root:
            yield root
            counted = sum(await graph.count())
    assert caught.value.code == "CONFLICT"
    assert sum(await graph.count()) == counted


async def item_of(root: Root) -> Item:
    [item] = await root.nodes(Item, limit=1)
    return item


async def test_two_that_change_what_both_have_read(graph: Graph, other: Graph, item_id: str) -> None:
    async with overtaken(graph) as root:
        item = await item_of(root)
        async with run(other) as second:
            (await item_of(second)).count += 1
        item.count += 10
    async with run(graph) as root:
        assert (await item_of(root)).count == 1


async def test_a_change_that_rests_on_another_node_that_was_read(graph: Graph, other: Graph, item_id: str) -> None:
    """Two who each read both and change one: the result would be none of both orders."""
    async with run(graph) as root:
        root.connect(Item(name="b"))
    async with overtaken(graph) as root:
        a, b = await root.nodes(Item)
        async with run(other) as second:
            a2, b2 = await second.nodes(Item)
            a2.count = b2.count + 1
        b.count = a.count + 1


@pytest.mark.parametrize("read", ["nodes", "edges", "in", "any", "nothing is there"])
async def test_listing_then_connecting_against_connecting(graph: Graph, other: Graph, read: str) -> None:
    """As ``[visits] = await here.nodes(Visits) or [here.connect(Visits())]`` in two processes."""
    async with run(graph) as root:
        folder_id = root.connect(Folder()).id
    async with overtaken(graph) as root:
        [folder] = await root.nodes(Folder)
        if read == "edges":
            assert await folder.edges() == []
        elif read in ("in", "any"):
            assert await folder.nodes(direction=read) == [root]  # type: ignore[arg-type]
        else:
            assert await folder.nodes(Item if read == "nodes" else Folder) == []
        async with run(other) as second:
            (await second.nodes(Folder))[0].connect(Item())
        folder.connect(Item())
    async with run(graph) as root:
        assert len(await (await root._run().node(folder_id)).nodes()) == 1


async def test_of_two_reads_at_once_the_older_counts(
    graph: Graph, other: Graph, item_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, calls, late, go = Unit._fetch, 0, anyio.Event(), anyio.Event()

    async def fetch_second_late(self: Unit, *arguments: Any) -> Any:
        nonlocal calls
        if self.graph is graph:
            calls += 1
            if calls == 2:
                late.set()
                await go.wait()
        return await fetch(self, *arguments)

    monkeypatch.setattr(Unit, "_fetch", fetch_second_late)
    with anyio.fail_after(TIMEOUT_SECONDS):
        async with overtaken(graph) as root:
            async with anyio.create_task_group() as group:
                group.start_soon(root.nodes)
                group.start_soon(root.nodes)
                await late.wait()
                await anyio.wait_all_tasks_blocked()  # the first is done, or waits for the database
                assert await root.nodes(Item, limit=1) != []
                async with run(other) as second:
                    second.connect(Folder())
                go.set()
            root.connect(Folder())


@pytest.mark.parametrize(
    "change",
    [
        lambda root, item, edge: root.disconnect(item),
        lambda root, item, edge: root.disconnect(edge),
        lambda root, item, edge: item.delete(),
        lambda root, item, edge: setattr(edge, "weight", 9),
        lambda root, item, edge: item.connect(root),
        lambda root, item, edge: root.connect(Item()),
    ],
    ids=["cut", "cut edge", "delete", "edge changed", "connected back", "connected"],
)
async def test_every_change_of_edges_overtakes_who_has_read_them(
    graph: Graph, other: Graph, item_id: str, change: Callable[..., Any]
) -> None:
    async with overtaken(graph) as root:
        await root.edges()
        async with run(other) as second:
            [edge] = await second.edges(Link)
            change(second, await item_of(second), edge)
        root.connect(Folder())


async def test_two_that_connect_without_looking_both_succeed(graph: Graph, other: Graph, item_id: str) -> None:
    units = [begin(graph), begin(other), begin(graph, BOB)]
    for number, unit in enumerate(units):
        unit.root.connect(Item(name=f"{number}"))
    for unit in units:
        await unit.commit()
        await unit.close()
    async with run(graph) as root:
        assert names(await root.nodes(Item)) == ["a", "0", "1"]


async def test_connecting_without_looking_at_a_node_whose_fields_change(
    graph: Graph, other: Graph, item_id: str
) -> None:
    """Adding at a node is no change of its fields, and the other way round."""
    async with run(graph) as root:
        item = await root._run().node(item_id)
        async with run(other) as second:
            (await second._run().node(item_id)).connect(Folder(name="new"))
        item.count = 5  # type: ignore[attr-defined]
    async with run(graph) as root:
        item = await item_of(root)
        assert (item.count, names(await item.nodes())) == (5, ["new"])


async def test_connecting_to_a_node_that_was_deleted_meanwhile(graph: Graph, other: Graph, item_id: str) -> None:
    for blind in (False, True):
        async with run(graph) as root:
            item_id = root.connect(Item(name="b")).id
        async with overtaken(graph) as root:
            item = await root._run().node(item_id)
            if blind:
                root._run()._changes.read.clear()
            async with run(other) as second:
                (await second._run().node(item_id)).delete()
            root.connect(item, Also())


async def test_reading_edges_of_a_node_that_was_deleted_meanwhile(graph: Graph, other: Graph, item_id: str) -> None:
    async with overtaken(graph) as root:
        item = await item_of(root)
        async with run(other) as second:
            (await item_of(second)).delete()
        counted = item.nodes()
        with pytest.raises(Conflict):
            await counted
        root.connect(Folder())


@pytest.mark.parametrize("listed", [False, True])
async def test_the_first_edge_of_a_fresh_root(graph: Graph, other: Graph, listed: bool) -> None:
    one, two = begin(graph), begin(other)
    for unit in (one, two):
        if listed:
            assert await unit.root.nodes() == []
        unit.root.connect(Item())
    await one.commit()
    if listed:
        with pytest.raises(Conflict):
            await two.commit()
    else:
        await two.commit()
    await one.close()
    await two.close()
    async with run(graph) as root:
        assert len(await root.nodes()) == (1 if listed else 2)


async def test_a_root_that_was_only_made_has_changed_for_nobody(graph: Graph, other: Graph) -> None:
    """An exclusive run makes the row; that is no edge."""
    async with run(graph) as root:
        assert await root.nodes() == []
        async with run(other, exclusive=True) as second:
            second.connect(Item()).delete()
        root.connect(Item(name="x"))
    async with run(graph) as root:
        assert names(await root.nodes(Item)) == ["x"]


async def test_who_only_reads_is_never_in_conflict(graph: Graph, other: Graph, item_id: str) -> None:
    async with run(graph) as root:
        item = await item_of(root)
        await root.edges()
        async with run(other) as second:
            twin = await item_of(second)
            twin.count = 9
            second.disconnect(twin)
            second.connect(Item())
    assert item.count == 0


async def test_a_grant_overtakes_who_has_read_the_node(graph: Graph, other: Graph, item_id: str) -> None:
    async with run(graph) as root:
        (await item_of(root)).grant(BOB, "write")
    async with overtaken(graph) as root:
        pass_on = await item_of(root)
        async with run(other) as second:
            (await item_of(second)).revoke(BOB)
        pass_on.count += 1


async def test_a_grantee_whose_grant_was_revoked_meanwhile_changes_nothing(
    graph: Graph, other: Graph, item_id: str
) -> None:
    async with run(graph) as root:
        (await item_of(root)).grant(BOB, "write")
    unit = begin(graph, BOB)
    [item] = await unit.root.granted(Item)
    async with run(other) as second:
        (await item_of(second)).revoke(BOB)
    item.count = 66
    with pytest.raises(Conflict):
        await unit.commit()
    await unit.close()
    async with run(graph) as root:
        assert (await item_of(root)).count == 0


# -- exclusive -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["nodes", "edges", "by id", "granted"])
async def test_an_exclusive_run_cannot_be_overtaken(open_graph: Open, shared: str, read: str) -> None:
    graph, other = await open_graph(shared), await open_graph(shared)
    async with run(graph) as root:
        item = root.connect(Item(name="a"))
        item.grant(BOB, "write")
        root.connect(Folder())
    tried, gave_up = anyio.Event(), anyio.Event()

    async def overtake() -> None:
        unit = begin(other)
        (await item_of(unit.root)).count += 1
        unit.root.connect(Folder())
        tried.set()
        with pytest.raises(Conflict):
            await unit.commit()
        gave_up.set()
        await unit.close()

    with anyio.fail_after(TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            async with run(graph, BOB if read == "granted" else ALICE, exclusive=True) as root:
                if read == "granted":
                    [found] = await root.granted(Item)
                elif read == "by id":
                    found = await root._run().node(item.id)  # type: ignore[assignment]
                elif read == "edges":
                    [edge, _] = await root.edges()
                    found = await edge.target()  # type: ignore[assignment]
                else:
                    found = await item_of(root)
                group.start_soon(overtake)
                await tried.wait()
                if graph.database.is_postgresql:
                    await gave_up.wait()
                else:  # it waits for the one writer that there may be
                    await anyio.wait_all_tasks_blocked()
                    assert not gave_up.is_set()
                found.count += 10
    async with run(graph) as root:
        assert (await item_of(root)).count == 10
    assert (await versions(graph, item))[0] == 3  # kept, granted, changed


async def test_an_exclusive_run_waits_for_another_and_sees_what_it_did(open_graph: Open, shared: str) -> None:
    graph, other = await open_graph(shared), await open_graph(shared)
    async with run(graph) as root:
        root.connect(Item(name="a"))
    waits = anyio.Event()

    async def second() -> None:
        async with run(other, exclusive=True) as root:
            waits.set()
            (await item_of(root)).count += 1

    with anyio.fail_after(TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            async with run(graph, exclusive=True) as root:
                item = await item_of(root)
                group.start_soon(second)
                await waits.wait()
                await anyio.wait_all_tasks_blocked()
                item.count += 1
    async with run(graph) as root:
        assert (await item_of(root)).count == 2


async def test_a_deadlock_is_a_conflict(open_graph: Open, shared: str) -> None:
    """Two exclusive runs that read two nodes in different order; SQLite has one writer, so it has no such."""
    graph, other = await open_graph(shared), await open_graph(shared)
    async with run(graph) as root:
        first, second = root.connect(Item(name="1")).id, root.connect(Item(name="2")).id
    results: list[str] = []
    met = [anyio.Event(), anyio.Event()]

    async def read(graph: Graph, mine: int, ids: tuple[str, str]) -> None:
        try:
            async with run(graph, exclusive=True) as root:
                await root._run().node(ids[0])
                met[mine].set()
                if graph.database.is_postgresql:
                    await met[1 - mine].wait()
                (await root._run().node(ids[1])).count += 1  # type: ignore[attr-defined]
            results.append("kept")
        except Conflict:
            results.append("conflict")

    with anyio.fail_after(TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(read, graph, 0, (first, second))
            group.start_soon(read, other, 1, (second, first))
    assert sorted(results) == (["conflict", "kept"] if graph.database.is_postgresql else ["kept", "kept"])
