"""Page 3, "Declaring": where a walker goes, in which order its abilities run, and what they may do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from wireloom import App, Edge, Node, Root, Walker, entry, exit, spec, wait
from wireloom.errors import RequestError
from wireloom.faces.walkers import run as running
from wireloom.testing import TestServer

from .kit import asked, register, run

pytestmark = pytest.mark.anyio


class Place(Node):
    name: str = ""


class City(Place):
    people: int = 0


class Road(Edge):
    km: int = 0


@spec(public=True)
class Order(Walker):
    @exit(Root)
    async def last(self, here: Root) -> None:
        self.report("exit")

    @entry(Root)
    async def second(self, here: Root) -> None:
        self.report("second")

    @entry()
    async def any_node(self, here: Node) -> None:
        self.report("any")

    @entry(Place)
    async def elsewhere(self, here: Place) -> None:
        self.report("never")

    @entry(Place, Root)
    async def several(self, here: Node) -> None:
        self.report("several")

    @exit()
    async def very_last(self, here: Node) -> None:
        self.report("exit of any")


@spec(public=True)
class Both(Walker):
    @entry(Root)
    @exit(Root)
    async def both(self, here: Root) -> None:
        self.report("both")


@spec(public=True)
class Tour(Walker):
    """Visits places that it makes, breadth first, whatever their class."""

    @entry(Root)
    async def begin(self, here: Root) -> None:
        first, second = Place(name="a"), City(name="b")
        first.connect(Place(name="c"))
        self.visit([first, second])
        self.visit(here.connect(City(name="d")))
        self.report("root")

    @entry(Place)
    async def come(self, here: Place) -> None:
        self.report(f"{type(here).__name__} {here.name}")
        if here.name == "a":
            self.visit(City(name="e"))

    @entry(City)
    async def live(self, here: City) -> None:
        self.report(f"lives in {here.name}")


class Base(Walker):
    greeting: str = "hello"

    @entry(Root)
    async def one(self, here: Root) -> None:
        self.report("one of Base")

    @entry(Root)
    async def two(self, here: Root) -> None:
        self.report("two of Base")

    @entry(Root)
    async def three(self, here: Root) -> None:
        self.report("three of Base")


@spec(public=True)
class Derived(Base):
    @entry(Root)
    async def own(self, here: Root) -> None:
        self.report(f"own {self.greeting}")

    @entry(Root)
    async def two(self, here: Root) -> None:
        self.report("two of Derived")

    async def three(self, here: Root) -> None:
        """Overridden without a mark: no ability any more."""
        self.report("never")


@spec(public=True)
class Circle(Walker):
    @entry(Root)
    async def again(self, here: Root) -> None:
        self.visit(here)


@spec(public=True)
class Revisit(Walker):
    times: int

    @entry(Root)
    async def again(self, here: Root) -> None:
        self.times -= 1
        self.report(self.times)
        if self.times:
            self.visit(here)


class Stop(Walker):
    where: str
    how: str = "async"

    @entry(Root)
    async def begin(self, here: Root) -> None:
        here.connect(Place(name="kept"))
        self.report("before")
        if self.where == "root":
            try:
                self.disengage()
            except Exception:
                self.report("swallowed")
        self.visit([City(name="x"), City(name="y")])

    @entry(City)
    def walk(self, here: City) -> None:
        self.report(here.name)
        if self.where == here.name:
            try:
                self.disengage()
            except Exception:
                self.report("swallowed")
        self.report(f"after {here.name}")

    @exit(City)
    async def leave(self, here: City) -> None:
        self.report(f"left {here.name}")


class Names(Walker):
    @entry(Root)
    async def names(self, here: Root) -> None:
        self.report(sorted([place.name for place in await here.nodes(Place)]))


class Threaded(Walker):
    """All that an async ability awaits, a plain one gets by wait()."""

    @entry(Root)
    def work(self, here: Root) -> None:
        here.connect(City(name="t", people=2), Road(km=5))
        [city] = wait(here.nodes(City))
        [road] = wait(here.edges(Road))
        found = wait(self.find_user("alice"))
        assert found is not None
        self.report([city.people, road.km, found.username, threading.current_thread() is threading.main_thread()])


class Reports(Walker):
    what: str

    @entry(Root)
    async def tell(self, here: Root) -> None:
        edge = Road(km=3)
        city = here.connect(City(name="b", people=1), edge)
        known: dict[str, Any] = {
            "node": city,
            "edge": edge,
            "root": here,
            "list": [city, [edge, 1], (city,)],
            "dict": {"city": city, "deep": {"road": edge}, "more": [city]},
            "plain": {"a": 1, "b": [1.5, None, True, "ü"]},
            "none": None,
            "set": {1},
            "bytes": b"ab",
            "object": object(),
            "nested object": {"deep": [object()]},
            "nan key": {(1, 2): 3},
        }
        if self.what == "changed later":
            self.report(city)
            city.people = 7
        else:
            self.report(known[self.what])


class Committing(Walker):
    how: str

    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Place(name=self.how))
        self.on_commit(lambda: CALLED.append("sync"))
        self.on_commit(self.later)
        self.on_commit(self.broken)
        self.on_commit(lambda: CALLED.append("last"))
        if self.how == "raises":
            raise RuntimeError("no")
        if self.how == "refuses":
            raise RequestError("NOT_TODAY", "no")
        if self.how == "cannot be told":
            self.report(object())
        if self.how == "disengages":
            self.disengage()

    async def later(self) -> None:
        assert APP.graph is not None
        CALLED.append(f"async {await APP.graph.count()}")

    async def broken(self) -> None:
        CALLED.append("broken")
        raise RuntimeError("a bug after the commit")


@spec(public=True)
class CommittingNothing(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.on_commit(lambda: CALLED.append("nothing was changed"))


class Find(Walker):
    name: str

    @entry(Root)
    async def find(self, here: Root) -> None:
        found = await self.find_user(self.name)
        self.report(None if found is None else [found.username, found.root_id, found.token_id])


CALLED: list[str] = []
ALL = [Order, Both, Tour, Derived, Circle, Revisit, Stop, Names, Threaded, Reports, Committing, CommittingNothing, Find]
APP = App(ALL, database="sqlite://")
USERS = iter(range(1000))


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with asked(APP) as client:
        yield client


@pytest.fixture
async def user() -> Any:
    """Somebody new, who keeps nothing yet."""
    return await register(APP, f"user{next(USERS)}")


# -- order -------------------------------------------------------------------------------------------------------------


async def test_entries_run_in_the_order_of_their_definition_and_exits_after_them(client: httpx.AsyncClient) -> None:
    assert await run(client, "Order") == ["second", "any", "several", "exit", "exit of any"]


async def test_an_ability_may_be_both(client: httpx.AsyncClient) -> None:
    assert await run(client, "Both") == ["both", "both"]


async def test_nodes_are_visited_in_the_order_in_which_they_were_queued(client: httpx.AsyncClient) -> None:
    expected = ["root", "Place a", "City b", "lives in b", "City d", "lives in d", "City e", "lives in e"]
    assert await run(client, "Tour") == expected


async def test_abilities_are_inherited_and_overridden_in_their_place(client: httpx.AsyncClient) -> None:
    assert await run(client, "Derived", {"greeting": "hi"}) == ["one of Base", "two of Derived", "own hi"]


async def test_a_node_may_be_visited_again(client: httpx.AsyncClient) -> None:
    assert await run(client, "Revisit", {"times": 3}) == [2, 1, 0]


async def test_a_walk_in_a_circle_ends(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "_MAX_STEPS", 50)
    answer = await client.post("/walker/Circle", json={})
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "EXECUTION_ERROR"
    assert "a walk ends after 50 nodes; does it go in a circle?" in caplog.text
    assert len(await run(client, "Revisit", {"times": 50})) == 50
    assert (await client.post("/walker/Revisit", json={"times": 51})).status_code == 500


def test_the_limit_of_steps_is_far_away() -> None:
    assert running._MAX_STEPS == 100_000


# -- disengage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("root", ["before"]),
        ("x", ["before", "x"]),
        ("y", ["before", "x", "after x", "left x", "y"]),
        ("nowhere", ["before", "x", "after x", "left x", "y", "after y", "left y"]),
    ],
)
async def test_disengage_ends_the_walk_and_keeps_what_was_done(
    client: httpx.AsyncClient, user: Any, where: str, expected: list[str]
) -> None:
    assert await run(client, "Stop", {"where": where}, user) == expected
    assert await run(client, "Names", {}, user) == [["kept"]]


# -- worker threads ----------------------------------------------------------------------------------------------------


async def test_a_plain_ability_runs_in_a_thread_where_wait_gets_the_same(client: httpx.AsyncClient, user: Any) -> None:
    await register(APP, "alice")
    assert await run(client, "Threaded", {}, user) == [[2, 5, "alice", False]]
    assert await run(client, "Names", {}, user) == [["t"]]


async def test_wait_is_for_worker_threads() -> None:
    async def nothing() -> None: ...

    made = nothing()
    with pytest.raises(RuntimeError):
        wait(made)
    made.close()


# -- reports -----------------------------------------------------------------------------------------------------------


def written(node: Any) -> Any:
    """The shape of a node or an edge as it is reported, without what is chosen at random."""
    kind, name, tail = node["id"].split(":")
    assert len(tail) == 24 and int(tail, 16) >= 0 and list(node) == ["id", "context"]
    return kind, name, node["context"]


CITY = ("n", "City", {"name": "b", "people": 1})
ROAD = ("e", "Road", {"km": 3})


async def test_a_node_and_an_edge_are_written_with_their_id_and_fields(client: httpx.AsyncClient, user: Any) -> None:
    [node] = await run(client, "Reports", {"what": "node"}, user)
    assert written(node) == CITY
    [edge] = await run(client, "Reports", {"what": "edge"}, user)
    assert written(edge) == ROAD
    assert await run(client, "Reports", {"what": "root"}, user) == [{"id": user.user.root_id, "context": {}}]


async def test_nodes_in_lists_and_dicts_are_written_the_same(client: httpx.AsyncClient, user: Any) -> None:
    [[city, [edge, one], [same]]] = await run(client, "Reports", {"what": "list"}, user)
    assert (written(city), written(edge), one, written(same)) == (CITY, ROAD, 1, CITY)
    [found] = await run(client, "Reports", {"what": "dict"}, user)
    assert list(found) == ["city", "deep", "more"]
    assert (written(found["city"]), written(found["deep"]["road"])) == (CITY, ROAD)
    assert [written(each) for each in found["more"]] == [CITY]


@pytest.mark.parametrize(
    ("what", "expected"),
    [("plain", {"a": 1, "b": [1.5, None, True, "ü"]}), ("none", None), ("set", [1]), ("bytes", "YWI=")],
)
async def test_what_has_a_json_form_is_reported(client: httpx.AsyncClient, user: Any, what: str, expected: Any) -> None:
    assert await run(client, "Reports", {"what": what}, user) == [expected]


async def test_a_node_is_written_as_it_is_when_the_run_ends(client: httpx.AsyncClient, user: Any) -> None:
    [node] = await run(client, "Reports", {"what": "changed later"}, user)
    assert node["context"]["people"] == 7


@pytest.mark.parametrize("what", ["object", "nested object", "nan key"])
async def test_what_cannot_be_told_is_not_kept(client: httpx.AsyncClient, user: Any, what: str) -> None:
    answer = await client.post(
        "/walker/Reports", json={"what": what}, headers={"Authorization": f"Bearer {user.token}"}
    )
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "EXECUTION_ERROR"
    assert await run(client, "Names", {}, user) == [[]]


# -- after the commit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ends well", "disengages"])
async def test_on_commit_is_called_in_order_once_all_is_kept(
    client: httpx.AsyncClient, user: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert APP.graph is not None
    nodes, edges = await APP.graph.count()
    CALLED.clear()
    assert await run(client, "Committing", {"how": how}, user) == []
    # the root gets its row with its first edge
    # plain functions first, before the next run of this user; what is awaited after that
    assert CALLED == ["sync", "last", f"async {(nodes + 2, edges + 1)}", "broken"]
    assert "a bug after the commit" in caplog.text and "in on_commit of rest /walker/Committing" in caplog.text


@pytest.mark.parametrize("how", ["raises", "refuses", "cannot be told"])
async def test_on_commit_is_not_called_for_a_run_that_fails(client: httpx.AsyncClient, user: Any, how: str) -> None:
    CALLED.clear()
    headers = {"Authorization": f"Bearer {user.token}"}
    assert (await client.post("/walker/Committing", json={"how": how}, headers=headers)).status_code >= 400
    assert CALLED == []
    assert await run(client, "Names", {}, user) == [[]]


async def test_on_commit_is_called_where_nothing_was_changed(client: httpx.AsyncClient) -> None:
    CALLED.clear()
    assert await run(client, "CommittingNothing") == []
    assert CALLED == ["nothing was changed"]


# -- others ------------------------------------------------------------------------------------------------------------


async def test_find_user_gives_users_by_name_without_their_tokens(client: httpx.AsyncClient, user: Any) -> None:
    [[name, root_id, token_id]] = await run(client, "Find", {"name": user.user.username.upper()}, user)
    assert (name, root_id, token_id) == (user.user.username, user.user.root_id, "")
    assert await run(client, "Find", {"name": "nobody"}, user) == [None]


async def test_a_walker_that_no_door_runs_says_so() -> None:
    made = Order()
    for call in (
        lambda: made.report(1),
        lambda: made.visit(Place()),
        lambda: made.on_commit(list),
        lambda: made.root,
        lambda: made.request,
    ):
        with pytest.raises(RuntimeError, match="this Order does not run: no door was used"):
            call()
    with pytest.raises(RuntimeError, match="does not run"):
        await made.find_user("x")


@spec(protocol="websocket", public=True)
class Again(Walker):
    """Never waits, and changes nothing."""

    times: int

    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(self.times)
        self.times -= 1
        if self.times:
            self.visit(here)


async def test_a_walk_that_is_begun_at_once_goes_on_where_it_is_told_to() -> None:
    async with TestServer(App([Again], database="sqlite://")) as server, server.websocket("/ws/Again") as ws:
        for times in (1, 3):
            await ws.send_json({"times": times})
            assert await ws.receive_json() == {"ok": True, "data": {"reports": list(range(times, 0, -1))}}


@spec(public=True)
class Long(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        if not TURNS:
            asyncio.get_running_loop().call_soon(TURNS.append, "another")
            TURNS.append("walk")
            self.visit([here] * 200)
        elif len(TURNS) > 1:
            self.report("others had a turn")
            self.disengage()


TURNS: list[str] = []


async def test_others_have_a_turn_while_a_long_walk_goes_on() -> None:
    async with asked(App([Long], database="sqlite://")) as client:
        assert await run(client, "Long") == ["others had a turn"]
