"""Turns: runs of one root are serial in one process, and what is cancelled leaves nothing in the way."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from wireloom.errors import RequestError
from wireloom.graph import graph as graph_module
from wireloom.graph.changes import Conflict
from wireloom.graph.graph import Graph

from .conftest import Open
from .kit import ALICE, BOB, TIMEOUT_SECONDS, Folder, Item, begin, hook, names, run

pytestmark = pytest.mark.anyio


async def test_runs_of_one_root_are_serial(graph: Graph) -> None:
    at_once = most = 0

    async def visit() -> None:
        nonlocal at_once, most
        async with run(graph) as root:
            [item] = await root.nodes(Item) or [root.connect(Item())]
            at_once += 1
            most = max(most, at_once)
            await anyio.lowlevel.checkpoint()
            item.count += 1
            await item.nodes()
            at_once -= 1

    with anyio.fail_after(TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(visit)
    async with run(graph) as root:
        [item] = await root.nodes(Item)
        assert (item.count, most) == (20, 1)
    assert graph._turns == {}


async def test_runs_of_different_roots_do_not_wait_for_each_other(graph: Graph) -> None:
    with anyio.fail_after(TIMEOUT_SECONDS):
        async with run(graph) as alice:
            await alice.nodes()
            async with run(graph, BOB) as bob:
                await bob.nodes()
                bob.connect(Item(name="b"))
            alice.connect(Item(name="a"))


async def test_a_run_that_only_adds_waits_when_it_is_kept(graph: Graph) -> None:
    first = begin(graph)
    await first.root.nodes()
    order: list[str] = []

    async def second() -> None:
        async with run(graph) as root:
            root.connect(Item())
            order.append("ready")
        order.append("kept")

    with anyio.fail_after(TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            assert order == ["ready"]
            first.root.connect(Item())
            await first.commit()
            assert order == ["ready"]
            await first.close()
    assert order == ["ready", "kept"]


async def take_turn(graph: Graph) -> None:
    with anyio.fail_after(TIMEOUT_SECONDS):
        async with run(graph) as root:
            await root.nodes()
            root.connect(Folder())


@pytest.mark.parametrize("exclusive", [False, True])
async def test_the_turn_is_given_back_after_an_error(graph: Graph, exclusive: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with run(graph, exclusive=exclusive) as root:
            await root.nodes()
            raise ZeroDivisionError
    await take_turn(graph)
    assert graph._turns == {}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_the_turn_is_given_back_after_cancellation(graph: Graph, exclusive: bool) -> None:
    begun = anyio.Event()

    async def stay() -> None:
        async with run(graph, exclusive=exclusive) as root:
            root.connect(Item())
            await root.nodes()
            begun.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(stay)
        await begun.wait()
        group.cancel_scope.cancel()
    await take_turn(graph)
    async with run(graph) as root:
        assert [type(node) for node in await root.nodes()] == [Folder]
    assert graph._turns == {}


async def test_who_is_cancelled_while_waiting_leaves_the_queue(graph: Graph) -> None:
    first = begin(graph)
    await first.root.nodes()

    async def wait() -> None:
        async with run(graph) as root:
            await root.nodes()

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert graph._turns[ALICE].count == 2
        group.cancel_scope.cancel()
    assert graph._turns[ALICE].count == 1
    await first.close()
    await take_turn(graph)


async def test_a_turn_that_does_not_come_is_a_conflict(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "_TURN_SECONDS", 0.01)
    first = begin(graph)
    await first.root.nodes()
    with pytest.raises(RequestError, match=r"^CONFLICT") as caught:
        await begin(graph).root.nodes()
    assert not isinstance(caught.value, Conflict)  # which would be tried once more
    await first.close()
    await take_turn(graph)


async def test_who_waits_for_the_lock_of_an_exclusive_run_can_be_cancelled(open_graph: Open, shared: str) -> None:
    """The lock that comes when nobody wants it any more is given back."""
    graph, other = await open_graph(shared), await open_graph(shared)
    with anyio.fail_after(TIMEOUT_SECONDS):
        async with run(other, exclusive=True) as root:
            await root.nodes()

            async def wait() -> None:
                async with run(graph, exclusive=True) as root:
                    await root.nodes()

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        await take_turn(graph)
        await take_turn(other)
    assert graph._turns == {}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_cancelled_commit_is_done_whole_or_not_at_all(graph: Graph, exclusive: bool) -> None:
    async with run(graph) as root:
        for name in "abc":
            root.connect(Item(name=name))
    kept = []
    at = 0
    while True:
        at += 1
        count, scope = 0, anyio.CancelScope()

        def cancel(statement: str, at: int = at, scope: Any = scope) -> None:
            nonlocal count
            count += 1
            if count == at:
                scope.cancel()

        with hook(graph.database, cancel), scope:
            async with run(graph, exclusive=exclusive) as root:
                first, second, third = await root.nodes(Item)
                for item in (first, second, third):
                    item.count += 1
                root.connect(Folder(name=f"{at}"))
        if not scope.cancel_called:
            break
        with anyio.fail_after(TIMEOUT_SECONDS):
            async with run(graph) as root:
                counts, folders = [item.count for item in await root.nodes(Item)], await root.nodes(Folder)
        assert counts == [len(folders)] * 3
        assert names(folders) == [*kept, *([f"{at}"] if len(folders) > len(kept) else [])]
        kept = names(folders)
        assert graph._turns == {}
    assert at > 6
    assert 1 <= len(kept) < at - 1  # before the commit nothing is kept, in the middle all


async def test_the_pool_is_whole_after_many_cancellations(graph: Graph) -> None:
    for number in range(40):
        with anyio.CancelScope() as scope:
            if number % 3 == 0:
                scope.cancel()
            async with anyio.create_task_group() as group:

                async def work(scope: Any = scope, number: int = number) -> None:
                    async with run(graph, exclusive=bool(number % 2)) as root:
                        await root.nodes()
                        if number % 3 == 1:
                            scope.cancel()
                        root.connect(Item())

                group.start_soon(work)
                await anyio.lowlevel.checkpoint()
                if number % 3 == 2:
                    scope.cancel()
    with anyio.fail_after(TIMEOUT_SECONDS):
        await take_turn(graph)
        assert graph.database._at_work == set()
    pool = graph.database._engine.pool  # type: ignore[union-attr]
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
