"""The examples of declarative routes: one server for all five, several clients, wrong input, and what lasts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import Running
from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.errors import ConnectionClosed

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "routes"
SECONDS = 20


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `wireloom serve` in a folder of its own, where the databases are."""
    started: list[Running] = []

    def start(target: Path = EXAMPLES, port: int = 0) -> Running:
        started.append(Running(("serve", str(target), "--port", str(port)), tmp_path, {}))
        return started[-1]

    yield start
    try:
        for running in started:
            running.process.terminate()
            assert running.end() == 0
            assert "Traceback" not in running.stdout + running.stderr
    finally:
        for running in started:
            running.kill()


@pytest.fixture
def url(serve: Callable[..., Running]) -> str:
    """The WebSocket URL of a server of all examples."""
    return serve().started()


class Client:
    """One connection, whose messages are JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """A text as it is, anything else as JSON."""
        self._connection.send(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> Any:
        async with asyncio.timeout(SECONDS):
            return json.loads(await self._connection.receive())

    async def ask(self, message: Any) -> Any:
        """Sends a message and takes the next one that comes."""
        self.send(message)
        return await self.receive()

    async def closed(self) -> int:
        """The code that it is closed with; nothing may come before."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.receive()
        return caught.value.code


@asynccontextmanager
async def clients(url: str, *paths: str) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [Client(await stack.enter_async_context(open_connection(url + path))) for path in paths]


@asynccontextmanager
async def http_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url.replace("ws://", "http://"), timeout=SECONDS) as http:
        yield http


# -- chat ----------------------------------------------------------------------------------------------------------


async def test_a_room_hears_who_comes_says_types_and_leaves(url: str) -> None:
    async with clients(url, "/ws/rooms/tea?name=ann", "/ws/rooms/coffee?name=eve") as (ann, eve):
        assert await ann.receive() == {"type": "welcome", "room": "tea", "here": ["ann"]}
        assert await ann.receive() == {"type": "joined", "name": "ann"}
        async with clients(url, "/ws/rooms/tea?name=b%20%7B%7Bname%7D%7D") as (bob,):
            name = "b {{name}}"  # what a client says is never looked at for expressions
            assert await bob.receive() == {"type": "welcome", "room": "tea", "here": ["ann", name]}
            assert await bob.receive() == await ann.receive() == {"type": "joined", "name": name}
            bob.send({"type": "typing"})
            assert await bob.receive() == await ann.receive() == {"type": "typing", "name": name}
            bob.send({"type": "say", "text": "hello <b>"})
            said = await ann.receive()
            assert (said.pop("at")[:2], said) == ("20", {"type": "said", "name": name, "text": "hello <b>"})
            assert (await bob.receive())["text"] == "hello <b>"
            assert await ann.ask({"type": "who"}) == {"type": "here", "here": ["ann", name]}
        assert await ann.receive() == {"type": "left", "name": name}
        assert await ann.ask({"type": "who"}) == {"type": "here", "here": ["ann"]}
        assert (await eve.receive())["here"] == ["eve"]
        assert await eve.receive() == {"type": "joined", "name": "eve"}
        assert await eve.ask({"type": "who"}) == {"type": "here", "here": ["eve"]}  # nothing came before it


async def test_a_room_refuses_what_is_wrong_and_goes_on(url: str) -> None:
    async with clients(url, "/ws/rooms/tea?name=ann", "/ws/rooms/tea", "/ws/rooms/tea?name=%20") as (ann, *nameless):
        for each in nameless:
            assert (await each.receive())["type"] == "refused"
            assert await each.closed() == 4000
        await ann.receive()
        await ann.receive()
        for wrong in ("hello", {"type": "shout"}, {"type": "say"}, {"type": "say", "text": ""}, "[" * 5_000):
            assert "error" in await ann.ask(wrong)
        assert await ann.ask({"type": "who"}) == {"type": "here", "here": ["ann"]}
        ann.send({"type": "say", "text": "x" * 9000})
        assert await ann.closed() == 1009


# -- quiz ----------------------------------------------------------------------------------------------------------


async def test_players_answer_at_their_own_pace_and_see_the_scores(url: str) -> None:
    async with clients(url, "/ws/quiz/friday?name=ann", "/ws/quiz/friday?name=bob", "/ws/quiz/monday") as (
        ann,
        bob,
        other,
    ):
        first = {"type": "question", "number": 1, "ask": "How many bits has a byte?"}
        assert [await each.receive() for each in (ann, bob, other)] == [first] * 3
        assert await ann.ask("7") == {"type": "wrong", "number": 1}
        scores = await ann.ask(" 8 ")
        assert scores == {"type": "scores", "players": [{"name": "ann", "score": 1}], "total": 1, "best": 1}
        assert (await ann.receive())["number"] == 2
        assert await bob.receive() == scores
        assert (await bob.ask("8"))["total"] == 2
        assert (await bob.receive())["number"] == 2
        assert (await bob.ask("443"))["players"] == [{"name": "bob", "score": 2}, {"name": "ann", "score": 1}]
        assert (await bob.receive())["number"] == 3
        assert (await bob.ask("/skip")) == {"type": "over", "score": 2}
        assert (await bob.ask("and now?")) == {"type": "over", "score": 2}
        assert (await ann.receive())["total"] == 2
        assert (await ann.receive())["total"] == 3
        assert (await ann.ask("/scores"))["best"] == 2
        assert await other.ask("/scores") == {"type": "scores", "players": [], "total": 0, "best": 0}


# -- sensors -------------------------------------------------------------------------------------------------------


async def test_sensors_raise_one_alert_when_they_cross_their_bound(url: str) -> None:
    async with (
        clients(url, "/ws/sensors/boiler?max=80", "/ws/sensors/cellar", "/ws/alerts", "/ws/alerts") as opened,
        http_of(url) as http,
    ):
        boiler, cellar, one, other = opened
        for value in (71.5, 85, 90, 60):
            boiler.send({"value": value})
        cellar.send({"value": 31})
        alerts = [await one.receive() for _ in range(3)]
        assert [await other.receive() for _ in range(3)] == alerts
        of_boiler = [alert for alert in alerts if alert["sensor"] == "boiler"]
        assert [(alert["value"], alert["alert"]) for alert in of_boiler] == [(85, True), (60, False)]
        assert {"sensor": "cellar", "value": 31, "max": 30, "alert": True} in alerts

        for wrong in ("hot", {"value": "85"}, {"value": 1e9}, {}, {"value": 1, "more": 2}):
            assert "error" in await boiler.ask(wrong)  # and nothing else came: a sensor hears no alerts
        answer = (await http.get("/sensors/boiler/readings", params={"limit": 2})).json()
        assert [reading["value"] for reading in answer["readings"]] == [60, 90]
        assert (answer["average"], answer["readings"][1]["alert"]) == (75, False)
        assert (await http.get("/sensors/boiler/readings", params={"limit": "many"})).status_code == 400
        assert len((await http.get("/sensors/boiler/readings", params={"limit": -5})).json()["readings"]) == 1
        assert (await http.get("/sensors/x' OR 1=1 --/readings")).json()["readings"] == []
        assert (await http.post("/sensors/alerts")).status_code == 405
    async with clients(url, "/ws/sensors/boiler?max=hot") as (wrong_bound,):
        assert await wrong_bound.closed() == 4000


async def test_the_history_of_sensors_outlives_the_server(serve: Callable[..., Running]) -> None:
    before = serve()
    url = before.started()
    async with clients(url, "/ws/sensors/boiler?max=80", "/ws/alerts") as (boiler, listener):
        boiler.send({"value": 99})
        await listener.receive()
    before.process.terminate()
    assert before.end() == 0
    url = serve().started()
    async with http_of(url) as http, clients(url, "/ws/sensors/boiler?max=80", "/ws/alerts") as (boiler, listener):
        assert [row["value"] for row in (await http.get("/sensors/alerts")).json()] == [99]
        boiler.send({"value": 100})
        assert (await listener.receive())["value"] == 100
        assert len((await http.get("/sensors/boiler/readings")).json()["readings"]) == 2


# -- notifications -------------------------------------------------------------------------------------------------


async def test_a_notification_reaches_those_that_have_subscribed(url: str) -> None:
    async with clients(url, *["/ws/notifications"] * 3) as (one, other, none), http_of(url) as http:
        for each in (one, other):
            assert await each.ask({"subscribe": "news"}) == {"subscribed": "news"}
        for wrong in ("news", {}, {"subscribe": "../quiz"}, {"subscribe": "a", "unsubscribe": "b"}):
            assert "error" in await none.ask(wrong)

        body = {"title": "It rains", "text": "{{ user.role }}"}
        assert (await http.post("/notifications/news", json=body)).status_code == 401
        login = {"username": "ann", "password": "correct horse"}
        token = (await http.post("/user/register", json=login)).json()["data"]["token"]
        http.headers["Authorization"] = f"Bearer {token}"
        answer = await http.post("/notifications/news", json=body)
        assert answer.status_code == 202
        told = await one.receive()
        assert await other.receive() == told
        assert (told["id"], told["from"], told["title"]) == (answer.json()["id"], "ann", "It rains")
        assert told["text"] == "{{ user.role }}"

        assert await other.ask({"unsubscribe": "news"}) == {"unsubscribed": "news"}
        for wrong_body in ({}, {"title": ""}, {"title": "x", "more": 1}, ["title"]):
            assert (await http.post("/notifications/news", json=wrong_body)).status_code == 422
        assert (await http.post("/notifications/news", json={"title": "again"})).status_code in (202, 429)
        assert (await http.post("/api/notifications/other", json={"title": "for nobody"})).status_code in (202, 429)


async def test_a_client_that_asks_too_often_is_told_when_to_come_back(url: str) -> None:
    async with clients(url, "/ws/notifications") as (hasty,):
        for _ in range(15):
            hasty.send({"subscribe": "news"})
        answers = [await hasty.receive() for _ in range(15)]
        assert answers[:10] == [{"subscribed": "news"}] * 10
        assert [answer for answer in answers if answer.get("retry_after_seconds", 0) > 0]


# -- to-dos --------------------------------------------------------------------------------------------------------


async def test_every_change_of_a_to_do_is_heard_and_lasts(serve: Callable[..., Running]) -> None:
    before = serve()
    url = before.started()
    async with clients(url, "/ws/todos", "/ws/todos") as (one, other), http_of(url) as http:
        assert [await one.receive(), await other.receive()] == [[], []]
        added = await http.post("/todos", json={"title": "Tag"})
        todo = added.json()
        assert (added.status_code, added.headers["location"]) == (201, "/todos?id=1")
        assert todo == {"id": 1, "title": "Tag", "done": False}
        assert await one.receive() == await other.receive() == {"change": "added", "todo": todo}
        done = await http.put("/todos", params={"id": 1}, json={"done": True})
        assert done.json() == {"id": 1, "title": "Tag", "done": True}
        assert await one.receive() == await other.receive() == {"change": "changed", "todo": done.json()}

        for wrong in (b"", b"{", b'{"title": ""}', b'{"title": 1}', b'{"title": "x", "done": true}'):
            answer = await http.post("/todos", content=wrong)
            assert (answer.status_code, wrong) in ((400, wrong), (422, wrong))
        for where in ({}, {"id": 7}, {"id": "1 OR 1=1"}):
            assert (await http.put("/todos", params=where, json={"done": True})).status_code == 404
            assert (await http.delete("/todos", params=where)).status_code == 404
        refused = await http.patch("/todos", json={})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST, PUT, DELETE")

        await http.post("/todos", json={"title": "Build"})
        assert (await one.receive())["todo"]["title"] == "Build"
        removed = await http.delete("/todos", params={"id": 1})
        assert (removed.status_code, removed.content) == (204, b"")
        assert (await one.receive())["change"] == "removed"
    before.process.terminate()
    assert before.end() == 0
    url = serve().started()
    async with clients(url, "/ws/todos") as (one,):
        assert await one.receive() == [{"id": 2, "title": "Build", "done": False}]


async def test_each_example_is_served_alone(serve: Callable[..., Running]) -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    assert len(files) == 5
    for file in files:
        async with http_of(serve(file).started()) as http:
            answer = await http.get("/nowhere")
            assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
