"""Page 3, "State": what is kept, for whom, and what is not, through the doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import func, select

from wireloom import App, Node, RequestError, Root, Walker, entry, spec
from wireloom.database.database import Database
from wireloom.faces.walkers import run as running
from wireloom.graph.changes import Conflict
from wireloom.graph.graph import Graph
from wireloom.graph.tables import grants
from wireloom.graph.unit import Unit
from wireloom.testing import TestServer

from .kit import PASSWORD, asked, bearer, refused, register, replied, run

pytestmark = pytest.mark.anyio


class Visits(Node):
    count: int = 0


@spec(methods=["websocket", "post"], public=True)
class CountVisits(Walker):
    @entry(Root)
    async def count(self, here: Root) -> None:
        [visits] = await here.nodes(Visits) or [here.connect(Visits())]
        visits.count += 1
        self.report(visits)


@spec(protocol="websocket", public=True)
class CountBySocket(Walker):
    @entry(Root)
    async def count(self, here: Root) -> None:
        [visits] = await here.nodes(Visits) or [here.connect(Visits())]
        visits.count += 1
        self.report(visits.count)


@spec(methods=["post"], public=True)
class Fail(Walker):
    how: str = "bug"

    @entry(Root)
    async def fail(self, here: Root) -> None:
        [visits] = await here.nodes(Visits) or [here.connect(Visits())]
        visits.count += 1000
        here.connect(Visits(count=-1))
        self.report(visits)
        if self.how == "bug":
            raise RuntimeError
        raise RequestError("NOT_TODAY", "no")


class Share(Walker):
    name: str
    level: str = "read"

    @entry(Visits)
    async def share(self, here: Visits) -> None:
        user = await self.find_user(self.name)
        assert user is not None
        if self.level == "none":
            here.revoke(user)
        else:
            here.grant(user, self.level)


class Look(Walker):
    add: int = 0

    @entry(Visits)
    async def look(self, here: Visits) -> None:
        if self.add:
            here.count += self.add
        self.report(here.count)


@spec(timeout_seconds=0.05)
class InTime(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Visits(count=7))
        self.on_commit(nothing)
        self.report("kept")


class Slowly(Walker):
    """Waits between what it reads and what it writes, as a test says."""

    @entry(Root)
    async def act(self, here: Root) -> None:
        [visits] = await here.nodes(Visits)
        TRIES.append(visits.count)
        self.on_commit(lambda: COMMITTED.append(len(TRIES)))
        visits.count += 1
        self.report(visits.count)
        await MEANWHILE[len(TRIES) - 1]()


TRIES: list[int] = []
COMMITTED: list[int] = []
MEANWHILE: list[Any] = []
ALL = [CountVisits, CountBySocket, Fail, Share, Look, Slowly, InTime]


async def nothing() -> None: ...


@pytest.fixture(scope="module")
async def app() -> App:
    return App(ALL, database="sqlite://")


@pytest.fixture(scope="module")
async def http(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(app) as client:
        yield client


async def count(http: httpx.AsyncClient, login: Any = None) -> int:
    [visits] = await run(http, "CountVisits", {}, login)
    return int(visits["context"]["count"])


# -- for whom ----------------------------------------------------------------------------------------------------------


async def test_every_user_has_a_count_of_its_own_and_the_public_shares_one(app: App, http: httpx.AsyncClient) -> None:
    alice, bob = await register(app, "alice"), await register(app, "bob")
    assert [await count(http, alice) for _ in range(3)] == [1, 2, 3]
    assert [await count(http, bob) for _ in range(2)] == [1, 2]
    assert [await count(http) for _ in range(2)] == [1, 2]
    answer = await http.post("/walker/CountVisits", headers=bearer("wrong"))
    assert answer.json()["data"]["reports"][0]["context"] == {"count": 3}
    assert await count(http, alice) == 4


@pytest.mark.parametrize("how", ["bug", "refusal"])
async def test_a_run_that_fails_keeps_nothing(app: App, http: httpx.AsyncClient, how: str) -> None:
    login = await register(app, f"fails-{how}")
    assert app.graph is not None
    assert await count(http, login) == 1
    before = await app.graph.count()
    assert (await http.post("/walker/Fail", json={"how": how}, headers=bearer(login))).status_code >= 400
    assert await app.graph.count() == before
    assert await count(http, login) == 2


async def test_the_failures_of_one_never_undo_what_another_keeps(app: App, http: httpx.AsyncClient) -> None:
    good, bad = await register(app, "good"), await register(app, "bad")
    tasks = [
        http.post("/walker/CountVisits" if number % 2 else "/walker/Fail", headers=bearer(login))
        for number in range(20)
        for login in (good, bad)
    ]
    answers = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert sorted({answer.status_code for answer in answers}) == [200, 500]
    counted = [answer.json()["data"]["reports"][0]["context"]["count"] for answer in answers if answer.is_success]
    assert sorted(counted) == sorted([*range(1, 11)] * 2)
    assert [await count(http, good), await count(http, bad)] == [11, 11]


@pytest.mark.parametrize("kind", ["file", "postgresql"])
async def test_what_is_kept_survives_a_restart_and_all_doors_reach_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = f"sqlite:///{tmp_path}/.wireloom/wireloom.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgresql").make_database()
    expected = iter(range(1, 100))
    login = None
    for _ in range(2):
        async with TestServer(App(ALL, database=database)) as server:
            login = login or await register(server.app)
            for _ in range(2):
                assert await count(server.http, login) == next(expected)
            async with server.websocket("/ws/CountBySocket", headers=bearer(login)) as ws:
                await ws.send_text("{}")
                assert (await ws.receive_json())["data"]["reports"] == [next(expected)]
            async with server.websocket("/websocket", headers=bearer(login)) as ws:
                await ws.receive_json()
                await ws.send_json({"type": "walker", "walker": "CountVisits", "response": True})
                assert (await ws.receive_json())["reports"][0]["context"]["count"] == next(expected)
            answer = await server.http.post("/walker/Fail", headers=bearer(login))
            assert answer.status_code == 500
            for node in ("n:Visits:%00", "%00", "n:Visits:" + "0" * 24):
                answer = await server.http.post(f"/walker/Look/{node}", headers=bearer(login))
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_a_run_whose_store_is_slower_than_its_deadline_is_not_told_to_have_failed(
    app: App, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, commit = await register(app, "in-time"), Unit.commit

    async def commit_slowly(unit: Unit) -> None:
        await asyncio.sleep(0.2)  # longer than the run may take
        await commit(unit)

    with monkeypatch.context() as patch:
        patch.setattr(Unit, "commit", commit_slowly)
        assert (await http.post("/walker/InTime", headers=bearer(login))).json() == replied("kept")
    assert await count(http, login) == 8


# -- who else ----------------------------------------------------------------------------------------------------------


async def test_a_node_is_reached_by_others_as_far_as_it_is_granted(app: App, http: httpx.AsyncClient) -> None:
    owner, friend = await register(app, "owner"), await register(app, "friend")
    [visits] = await run(http, "CountVisits", {}, owner)
    node = visits["id"]

    async def look(login: Any, add: int = 0) -> Any:
        answer = await http.post(f"/walker/Look/{node}", json={"add": add}, headers=bearer(login))
        return answer.json()["data"]["reports"] if answer.is_success else answer.status_code

    async def share(login: Any, level: str) -> int:
        fields = {"name": "friend", "level": level}
        answer = await http.post(f"/walker/Share/{node}", json=fields, headers=bearer(login))
        return answer.status_code

    assert (await look(owner), await look(friend)) == ([1], 404)
    assert await share(friend, "write") == 404
    assert await share(owner, "read") == 200
    assert (await look(friend), await look(friend, 5), await look(owner)) == ([1], 403, [1])
    assert await share(friend, "write") == 403
    assert await share(owner, "write") == 200
    assert (await look(friend, 5), await look(owner)) == ([6], [6])
    assert await share(owner, "none") == 200
    assert (await look(friend), await look(owner)) == (404, [6])


async def count_grants(app: App) -> int:
    assert app.graph is not None
    async with app.graph.database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(grants)) or 0


async def test_with_a_user_goes_all_that_it_kept(app: App, http: httpx.AsyncClient) -> None:
    leaver, stayer = await register(app, "leaver"), await register(app, "stayer")
    assert app.graph is not None
    [visits] = await run(http, "CountVisits", {}, stayer)
    fields = {"name": "leaver", "level": "read"}
    assert (await http.post(f"/walker/Share/{visits['id']}", json=fields, headers=bearer(stayer))).is_success
    before = await app.graph.count()
    assert await count_grants(app) == 1
    [gone] = await run(http, "CountVisits", {}, leaver)
    await run(http, "CountVisits", {}, leaver)
    assert await app.graph.count() != before
    answer = await http.request("DELETE", "/user", json={"password": PASSWORD}, headers=bearer(leaver))
    assert answer.status_code == 200
    assert await app.graph.count() == before
    assert await count_grants(app) == 0
    assert (await http.post("/walker/Look", headers=bearer(leaver))).status_code == 401
    assert (await http.post(f"/walker/Look/{gone['id']}", headers=bearer(stayer))).status_code == 404
    assert await count(http, stayer) == 2


# -- conflicts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def slow(app: App, file_url: str) -> AsyncIterator[Any]:
    """An application, and a second one on the same file, which is another process as far as they know."""
    TRIES.clear()
    COMMITTED.clear()
    async with asked(App(ALL, database=file_url)) as http:
        app = http._transport.app  # type: ignore[attr-defined]
        login = await register(app)
        assert await count(http, login) == 1
        other = Database(file_url)
        await other.open()
        graph = Graph(other)

        async def begin() -> Unit:
            unit = graph.begin(login.user.root_id)
            [visits] = await unit.root.nodes(Visits)
            visits.count += 100
            return unit

        async def interfere() -> None:
            unit = await begin()
            await unit.commit()
            await unit.close()

        interfere.begin = begin  # type: ignore[attr-defined]
        yield http, login, interfere
        await other.close()


async def test_a_run_that_was_overtaken_runs_once_more_on_what_is_there_now(slow: Any) -> None:
    http, login, interfere = slow
    MEANWHILE[:] = [interfere, nothing]
    assert await run(http, "Slowly", {}, login) == [102]
    assert TRIES == [1, 101]
    assert COMMITTED == [2]
    assert await count(http, login) == 103


async def test_a_second_try_that_does_not_end_is_a_conflict(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    http, login, interfere = slow
    monkeypatch.setattr(running, "_SECOND_TRY_SECONDS", 0.2)
    MEANWHILE[:] = [interfere, asyncio.Event().wait]
    answer = await http.post("/walker/Slowly", headers=bearer(login))
    told = "Somebody else changed the same data at the same time; try again"
    assert (answer.status_code, answer.json()) == (409, refused(409, "CONFLICT", told))
    assert (TRIES, COMMITTED) == ([1, 101], [])
    MEANWHILE[:] = [nothing] * 3
    assert (await http.post("/walker/Slowly", headers=bearer(login))).json() == replied(102)


async def test_a_second_try_cannot_be_overtaken(slow: Any) -> None:
    http, login, interfere = slow
    late: list[tuple[Unit, asyncio.Task[None]]] = []

    async def begin_to_interfere() -> None:
        unit = await interfere.begin()
        late.append((unit, asyncio.create_task(unit.commit())))
        done, _ = await asyncio.wait([late[0][1]], timeout=0.3)
        assert not done, "what the second try has read was changed before its end"

    MEANWHILE[:] = [interfere, begin_to_interfere]
    assert await run(http, "Slowly", {}, login) == [102]
    [(unit, commit)] = late
    with pytest.raises(Conflict):
        await asyncio.wait_for(commit, 20)
    await unit.close()
    assert await count(http, login) == 103


class Keep(Walker):
    @entry(Root)
    async def keep(self, here: Root) -> None:
        here.connect(Node())
        self.on_commit(lambda: COMMITTED.append(1))
        self.report("kept")


async def test_who_waits_for_a_walk_no_longer_is_told_all_the_same_what_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, commit = App([spec(public=True, methods=["websocket"])(Keep)], database="sqlite://"), Unit.commit
    async with app.running():
        compiler = app._compiler(app.config)
        compiler.compile(Keep)
        with anyio.CancelScope() as deadline:

            async def commit_in_the_last_moment(unit: Unit) -> None:
                await commit(unit)
                deadline.cancel()

            monkeypatch.setattr(Unit, "commit", commit_in_the_last_moment)
            caller = SimpleNamespace(user=None, cancelled=False)
            told = await compiler.walk(SimpleNamespace(connection=caller), "Keep", {})
        assert told == ["kept"]
        assert not deadline.cancelled_caught
