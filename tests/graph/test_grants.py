"""Grants: what is another user's can be neither read nor reached, but by a grant, and no further than it goes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from sqlalchemy import func, select

from wireloom.errors import RequestError
from wireloom.graph.graph import Graph, erase
from wireloom.graph.node import Node, Root
from wireloom.graph.tables import edges, grants, nodes

from .kit import ALICE, BOB, CAROL, TIMEOUT_SECONDS, Folder, Item, Link, Special, names, run, versions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def kept(graph: Graph) -> dict[str, str]:
    """What Alice keeps: a list with two items, one of which has a note; beside it a secret. Ids by name."""
    async with run(graph) as root:
        top = root.connect(Folder(name="list"))
        one, two = top.connect(Item(name="one"), Link(weight=1)), top.connect(Item(name="two"))
        note = one.connect(Item(name="note"))
        secret = root.connect(Item(name="secret"))
        secret.connect(two)
    return {node.name: node.id for node in (top, one, two, note, secret)}


async def grant(graph: Graph, node_id: str, level: Any, *, deep: bool = False, to: Any = BOB) -> None:
    async with run(graph) as root:
        (await root._run().node(node_id)).grant(to, level, deep=deep)


async def look_up(root: Root, node_id: str) -> Any:
    return await root._run().node(node_id)


async def refuse(graph: Graph, node_id: str, who: str = BOB) -> None:
    async with run(graph, who) as root:
        with pytest.raises(RequestError) as caught:
            await look_up(root, node_id)
    # The same as of a node that there is not
    assert (caught.value.code, caught.value.message) == ("NOT_FOUND", f"There is no node {node_id!r}")


async def forbid(graph: Graph, node_id: str, change: Callable[[Any], Any], message: str) -> None:
    """A change by Bob is refused, at once or when his run ends, and is not kept."""
    before = await graph.count(), await versions(graph, node_id)
    with pytest.raises(RequestError) as caught:
        async with run(graph, BOB) as root:
            change(await look_up(root, node_id))
    assert (caught.value.code, caught.value.message) == ("FORBIDDEN", message)
    assert (await graph.count(), await versions(graph, node_id)) == before


def another_users(node_id: str) -> str:
    return f"{node_id.split(':')[1] or 'Root'} {node_id} is another user's"


def may_only_be_read(node_id: str) -> str:
    return f"{node_id.split(':')[1]} {node_id} may only be read"


async def test_nothing_of_another_user_is_found_by_its_id(graph: Graph, kept: dict[str, str]) -> None:
    for node_id in (*kept.values(), ALICE):
        await refuse(graph, node_id)
    async with run(graph, BOB) as root:
        assert (await root.nodes(direction="any"), await root.edges(direction="any"), await root.granted()) == (
            [],
            [],
            [],
        )


async def test_a_node_that_may_only_be_read_notices_nothing_of_who_leads_to_it(
    graph: Graph, kept: dict[str, str]
) -> None:
    await grant(graph, kept["one"], "read")
    before = await versions(graph, kept["one"])
    async with run(graph, BOB) as root:
        root.connect(await look_up(root, kept["one"]))
    assert await versions(graph, kept["one"]) == before  # else Bob could overtake Alice's runs again and again
    async with run(graph, BOB) as root:
        assert names(await root.nodes()) == ["one"]


async def test_what_is_connected_is_still_its_owners(graph: Graph, kept: dict[str, str]) -> None:
    """Edges between nodes of two users lead nowhere for who may read only one end."""
    await grant(graph, kept["one"], "write")
    async with run(graph, BOB) as root:
        one = await look_up(root, kept["one"])
        mine = root.connect(Item(name="bob's"))
        one.connect(mine, Link(weight=7))
        mine.connect(one)
    async with run(graph) as root:
        one = await look_up(root, kept["one"])
        assert names(await one.nodes()) == ["note"]
        assert names(await one.nodes(direction="in")) == ["list"]
        assert (names(await one.nodes(direction="any")), len(await one.edges(direction="any"))) == (["list", "note"], 2)
    await refuse(graph, mine.id, ALICE)
    async with run(graph, BOB) as root:
        one = await look_up(root, kept["one"])
        assert names(await one.nodes(direction="any")) == ["bob's"]
        assert len(await one.edges(direction="any")) == 2


@pytest.mark.parametrize("level", ["read", "write"])
@pytest.mark.parametrize("user", [BOB, SimpleNamespace(root_id=BOB)], ids=["id", "user"])
async def test_a_granted_node_is_read_and_nothing_around_it(
    graph: Graph, kept: dict[str, str], level: str, user: Any
) -> None:
    await grant(graph, kept["one"], level, to=user)
    for name in ("list", "two", "note", "secret"):
        await refuse(graph, kept[name])
    await refuse(graph, kept["one"], CAROL)
    async with run(graph, BOB) as root:
        one = await look_up(root, kept["one"])
        assert (one.name, type(one)) == ("one", Item)
        for how in ("out", "in", "any"):
            assert (await one.nodes(direction=how), await one.edges(direction=how)) == ([], [])
        assert await root.granted() == [one]
    async with run(graph, CAROL) as root:
        assert await root.granted() == []


async def test_a_read_grant_allows_no_change(graph: Graph, kept: dict[str, str]) -> None:
    one = kept["one"]
    await grant(graph, one, "read", deep=True)
    await forbid(graph, one, lambda node: setattr(node, "count", 5), may_only_be_read(one))
    await forbid(graph, one, lambda node: node.tags.append("x"), may_only_be_read(one))
    for change in (
        lambda node: node.connect(Item()),
        lambda node: node.disconnect(node),
        lambda node: node.delete(),
        lambda node: node.grant(CAROL, "read"),
        lambda node: node.grant(BOB, "write"),
        lambda node: node.revoke(CAROL),
    ):
        await forbid(graph, one, change, another_users(one))
    async with run(graph, BOB) as root:  # to lead there from one's own is no change of it
        root.connect(await look_up(root, one))
    async with run(graph, BOB) as root:
        assert names(await root.nodes()) == ["one"]


async def test_a_write_grant_allows_changes_but_neither_the_end_nor_grants(graph: Graph, kept: dict[str, str]) -> None:
    one = kept["one"]
    await grant(graph, one, "write")
    async with run(graph, BOB) as root:
        node = await look_up(root, one)
        node.count = 5
        node.connect(Special(name="by bob"))
    for change in (
        lambda node: node.delete(),
        lambda node: node.grant(CAROL, "read"),
        lambda node: node.grant(BOB, "write", deep=True),
        lambda node: node.revoke(CAROL),
    ):
        await forbid(graph, one, change, another_users(one))
    async with run(graph) as root:
        node = await look_up(root, one)
        assert (node.count, names(await node.nodes())) == (5, ["note", "by bob"])


async def test_what_a_grantee_adds_below_belongs_to_the_owner(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["list"], "write")
    async with run(graph, BOB) as root:
        tree = Item(name="by bob")
        tree.connect(Item(name="below"))
        (await look_up(root, kept["list"])).connect(tree)
        tree.count = 1
        with pytest.raises(RequestError, match="FORBIDDEN"):
            tree.grant(BOB, "write")
    await refuse(graph, tree.id)
    async with run(graph) as root:
        mine = await look_up(root, tree.id)
        [below] = await mine.nodes()
        assert (mine.count, below.name) == (1, "below")
        below.delete()
        mine.delete()


async def test_a_deep_grant_goes_where_the_node_leads(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["list"], "read", deep=True)
    async with run(graph, BOB) as root:
        [top] = await root.granted(Folder)
        one, two = await top.nodes(Item)
        [note] = await one.nodes()
        assert (names([one, two, note]), [edge.weight for edge in await top.edges(Link)]) == (
            ["one", "two", "note"],
            [1],
        )
        assert await root.granted() == [top]
    # Only through the granted node
    for name in ("one", "two", "note", "secret"):
        await refuse(graph, kept[name])


@pytest.mark.parametrize("level", ["read", "write"])
async def test_a_deep_grant_goes_not_backwards(graph: Graph, kept: dict[str, str], level: str) -> None:
    """Else it would reach the owner's root, and all there is."""
    await grant(graph, kept["list"], level, deep=True)
    await grant(graph, kept["note"], "read")
    async with run(graph, BOB) as root:
        top = await look_up(root, kept["list"])
        for how in ("in", "any"):
            assert await top.nodes(Root, direction=how) == []
            assert [edge for edge in await top.edges(direction=how) if await edge.target() is top] == []
        one, two = await top.nodes(Item)
        assert await two.nodes(direction="in") == await two.nodes(direction="any") == [top]  # which is granted itself
        note = await look_up(root, kept["note"])
        assert await note.nodes(direction="in") == [] and names(await one.nodes(direction="any")) == ["list", "note"]


async def test_who_comes_backwards_brings_no_deep_grant_along(graph: Graph, kept: dict[str, str]) -> None:
    """The secret is granted by itself and leads to the list's item: that makes it no more than it was granted."""
    await grant(graph, kept["two"], "write", deep=True)
    await grant(graph, kept["secret"], "read")
    async with run(graph) as root:
        (await look_up(root, kept["secret"])).connect(Item(name="deeper"))
    for how in ("in", "any"):
        async with run(graph, BOB) as root:
            two = await look_up(root, kept["two"])
            [secret] = await two.nodes(Item, direction=how, where={"name": "secret"})
            assert names(await secret.nodes()) == ["two"]
        with pytest.raises(RequestError, match="FORBIDDEN"):
            async with run(graph, BOB) as root:
                two = await look_up(root, kept["two"])
                [secret] = await two.nodes(Item, direction=how)
                secret.count = 6


async def test_a_deep_grant_stays_with_its_owners_nodes(graph: Graph, kept: dict[str, str]) -> None:
    """Alice's list leads to a node of Carol's that Alice may read; Bob may not."""
    async with run(graph, CAROL) as root:
        hers = root.connect(Item(name="carol's"))
        hers.connect(Item(name="carol's too"))
        hers.grant(ALICE, "read", deep=True)
    async with run(graph) as root:
        top, [found] = await look_up(root, kept["list"]), await root.granted(Item)
        assert names(await found.nodes()) == ["carol's too"]
        top.connect(found)
        top.grant(BOB, "write", deep=True)
        assert names(await top.nodes()) == ["one", "two", "carol's"]
    async with run(graph, BOB) as root:
        top = await look_up(root, kept["list"])
        assert names(await top.nodes(direction="any")) == ["one", "two"]
        assert len(await top.edges()) == 2
        mine = top.connect(root.connect(Item(name="bob's")))
        assert names(await top.nodes()) == ["one", "two", "bob's"]
        assert await mine.nodes() == []


async def test_a_deep_write_grant_allows_changes_below(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["list"], "write", deep=True)
    async with run(graph, BOB) as root:
        [top] = await root.granted(Folder)
        one, two = await top.nodes(Item)
        [edge] = await top.edges(Link)
        [note] = await one.nodes(Item)
        note.count, edge.weight = 5, 9
        note.connect(Item(name="below the note"))
        top.disconnect(two)
        with pytest.raises(RequestError, match=another_users(kept["one"])):
            one.grant(CAROL, "read")
        with pytest.raises(RequestError, match=another_users(kept["list"])):
            top.delete()
        two.delete()
    async with run(graph) as root:
        note = await look_up(root, kept["note"])
        assert (note.count, names(await note.nodes())) == (5, ["below the note"])
        [edge] = await (await look_up(root, kept["list"])).edges()
        assert edge.weight == 9


async def test_a_deep_read_grant_allows_no_change_below(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["list"], "read", deep=True)
    with pytest.raises(RequestError) as caught:
        async with run(graph, BOB) as root:
            [one, _] = await (await look_up(root, kept["list"])).nodes(Item)
            one.count = 5
    assert str(caught.value) == f"FORBIDDEN: {may_only_be_read(kept['one'])}"
    with pytest.raises(RequestError) as caught:
        async with run(graph, BOB) as root:
            [edge] = await (await look_up(root, kept["list"])).edges(Link)
            edge.weight = 5
    assert str(caught.value) == f"FORBIDDEN: {may_only_be_read(edge.id)}"
    async with run(graph) as root:
        top = await look_up(root, kept["list"])
        assert ([edge.weight for edge in await top.edges(Link)], (await top.nodes(Item))[0].count) == ([1], 0)


async def test_an_edge_that_comes_from_a_node_that_may_only_be_read(graph: Graph, kept: dict[str, str]) -> None:
    """An edge is its source's: who may write where it ends changes nothing of it."""
    await grant(graph, kept["list"], "read")
    await grant(graph, kept["one"], "write")
    with pytest.raises(RequestError, match=r"FORBIDDEN: Link e:Link:.* may only be read"):
        async with run(graph, BOB) as root:
            [edge] = await (await look_up(root, kept["one"])).edges(Link, direction="in")
            edge.weight = 5


async def test_two_grants_do_not_make_a_greater_one(graph: Graph, kept: dict[str, str]) -> None:
    """To read all below the list, and to write one item of it: what is below that item is still only read."""
    await grant(graph, kept["list"], "read", deep=True)
    await grant(graph, kept["one"], "write")

    async def change(name: str, first: bool) -> None:
        async with run(graph, BOB) as root:
            if first:
                await look_up(root, kept["one"])
            one, _ = await (await look_up(root, kept["list"])).nodes(Item)
            [note] = await one.nodes(Item)
            (one if name == "one" else note).count = 5

    for first in (False, True):
        await change("one", first)
        with pytest.raises(RequestError) as caught:
            await change("note", first)
        assert str(caught.value) == f"FORBIDDEN: {may_only_be_read(kept['note'])}"


async def test_a_new_level_takes_the_place_of_the_old(graph: Graph, kept: dict[str, str]) -> None:
    one = kept["one"]
    await grant(graph, one, "write", deep=True)
    await grant(graph, one, "read")
    await forbid(graph, one, lambda node: setattr(node, "count", 5), may_only_be_read(one))
    async with run(graph, BOB) as root:
        assert await (await look_up(root, one)).nodes() == []
    await grant(graph, one, "write")
    async with run(graph, BOB) as root:
        (await look_up(root, one)).count = 6


async def test_what_was_revoked_is_seen_no_more(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["list"], "write", deep=True)
    await grant(graph, kept["list"], "read", to=CAROL)
    async with run(graph) as root:
        (await look_up(root, kept["list"])).revoke(SimpleNamespace(root_id=BOB))
    await refuse(graph, kept["list"])
    async with run(graph, BOB) as root:
        assert await root.granted() == []
    async with run(graph, CAROL) as root:
        assert names(await root.granted(Folder)) == ["list"]


async def test_a_root_can_be_granted(graph: Graph, kept: dict[str, str]) -> None:
    async with run(graph) as root:
        root.grant(BOB, "read", deep=True)
    async with run(graph, BOB) as mine:
        [hers] = await mine.granted(Root)
        assert (hers.id, hers is mine) == (ALICE, False)
        assert names(await hers.nodes()) == ["list", "secret"]
        with pytest.raises(RequestError, match=r"FORBIDDEN: Root n::a{24} is another user's"):
            hers.connect(Item())
        with pytest.raises(RequestError, match="FORBIDDEN: What was granted to another user is not this run's to see"):
            await hers.granted()


async def test_a_root_without_nodes_can_be_granted(graph: Graph) -> None:
    async with run(graph) as root:
        root.grant(BOB, "write")
    async with run(graph, BOB) as root:
        [hers] = await root.granted()
        hers.connect(Item(name="for alice"))
    async with run(graph) as root:
        assert names(await root.nodes()) == ["for alice"]


async def test_granted_nodes_by_class_and_limit(graph: Graph, kept: dict[str, str]) -> None:
    for name in ("list", "one", "two"):
        await grant(graph, kept[name], "read")
    async with run(graph, BOB) as root:
        assert {*names(await root.granted(Item))} == {"one", "two"}
        assert names(await root.granted(Folder)) == ["list"]
        assert [len(await root.granted(limit=limit)) for limit in (0, 1, 2, 9)] == [0, 1, 2, 3]


async def rows(graph: Graph, query: Any) -> int:
    async with graph.database.reading() as connection:
        return await connection.scalar(query) or 0


GRANTS = select(func.count()).select_from(grants)


async def test_grants_go_with_their_node(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["one"], "read")
    await grant(graph, kept["two"], "read")
    async with run(graph) as root:
        (await look_up(root, kept["one"])).delete()
    assert await rows(graph, GRANTS) == 1
    async with run(graph, BOB) as root:
        assert names(await root.granted()) == ["two"]


async def test_erasing_a_user_leaves_nothing_of_them(graph: Graph, kept: dict[str, str]) -> None:
    async with run(graph, BOB) as root:
        root.connect(Item(name="bob's")).grant(ALICE, "read")
        root.connect(Item(name="bob's too")).grant(CAROL, "read")
    await grant(graph, kept["one"], "write")
    await grant(graph, kept["two"], "read", to=CAROL)
    async with run(graph, BOB) as root:  # edges from one to the other
        one = await look_up(root, kept["one"])
        root.connect(one)
        one.connect((await root.nodes(Item))[0])
    counted = await graph.count()
    with pytest.raises(ZeroDivisionError):
        async with graph.database.writing() as connection:
            await erase(connection, ALICE)
            raise ZeroDivisionError  # in the transaction that removes the user
    assert (await graph.count(), await rows(graph, GRANTS)) == (counted, 4)
    async with graph.database.writing() as connection:
        await erase(connection, ALICE)
    assert await graph.count() == (3, 2)
    assert await rows(graph, GRANTS) == 1  # Carol's, by Bob
    assert await rows(graph, select(func.count()).select_from(nodes).where(nodes.c.owner == ALICE)) == 0
    assert await rows(graph, select(func.count()).select_from(edges).where(edges.c.source == ALICE)) == 0
    async with run(graph, BOB) as root:
        assert (names(await root.nodes(Node)), await root.granted()) == (["bob's", "bob's too"], [])
    async with run(graph) as root:
        assert (await root.nodes(), await root.granted()) == ([], [])


async def test_what_was_granted_can_be_given_back(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["one"], "read")
    async with run(graph, BOB) as root:
        (await look_up(root, kept["one"])).revoke(BOB)
    await refuse(graph, kept["one"])


async def test_the_owner_sees_who_was_granted_what(graph: Graph, kept: dict[str, str]) -> None:
    await grant(graph, kept["one"], "read")
    async with run(graph) as root:
        one = await look_up(root, kept["one"])
        one.grant(CAROL, "write")
        assert await one.grants() == {BOB: "read", CAROL: "write"}
        one.revoke(BOB)
        assert await one.grants() == {CAROL: "write"}
    async with run(graph, CAROL) as root:
        with pytest.raises(RequestError, match="FORBIDDEN"):
            await (await look_up(root, kept["one"])).grants()


async def test_a_deep_grant_does_not_grow_by_connecting(graph: Graph, kept: dict[str, str]) -> None:
    """Else Bob could change and delete what he may only read, by leading there from what he may change."""
    await grant(graph, kept["list"], "write", deep=True)
    await grant(graph, kept["secret"], "read")
    async with run(graph, BOB) as root:
        top, secret = await look_up(root, kept["list"]), await look_up(root, kept["secret"])
        with pytest.raises(RequestError, match="FORBIDDEN"):
            top.connect(secret)
        top.connect(Item(name="new"))  # what is new is nobody's secret
    async with run(graph) as root:
        assert "secret" not in names(await (await look_up(root, kept["list"])).nodes())


async def test_a_run_of_a_user_who_is_gone_keeps_nothing(graph: Graph) -> None:
    async with run(graph) as root:
        root.connect(Item(name="before"))
    with pytest.raises(RequestError, match=r"^UNAUTHORIZED"):
        async with run(graph) as root:
            root.connect(Item(name="late"))
            async with graph.database.writing() as connection:
                await erase(connection, ALICE)
    assert await graph.count() == (0, 0)


@pytest.mark.parametrize(("level", "expected"), [("read", True), ("write", False)])
async def test_policies_can_ask_what_a_user_may(graph: Graph, kept: dict[str, str], level: Any, expected: bool) -> None:
    await grant(graph, kept["one"], "read")
    assert await graph.may(BOB, kept["one"], level) is expected
    assert await graph.may(ALICE, kept["one"], level) is True
    assert await graph.may(None, kept["one"], level) is False
    assert await graph.may(BOB, kept["secret"], level) is False


async def test_a_policy_waits_for_no_run(graph: Graph, kept: dict[str, str]) -> None:
    async with run(graph) as root:
        await root.nodes()  # it has its turn now
        with anyio.fail_after(TIMEOUT_SECONDS):
            assert await graph.may(ALICE, kept["one"], "write") is True
