"""Page 3, Door 2: where the fields of a walker come from: query, path and body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from wireloom import App, Root, Walker, entry, spec
from wireloom.testing import TestServer

from .kit import bearer, refused, register, replied
from .rest import Any5, Book, Mine, Note, Small

pytestmark = pytest.mark.anyio


@spec(methods=["post"], public=True, as_query=["count"])
class PartlyQuery(Walker):
    count: int
    text: str = ""

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report([self.count, self.text])


@spec(methods=["put"], public=True, as_query="*")
class AllQuery(Walker):
    count: int
    text: str = ""

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report([self.count, self.text])


@spec(timeout_seconds=0.05)
class Late(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Note(text="late"))
        await here.nodes(Note)
        await asyncio.Event().wait()


class CountNotes(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(len(await here.nodes(Note)))


WALKERS = [Any5, PartlyQuery, AllQuery, Book, Mine, Small, Late, CountNotes]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(App(WALKERS, database="sqlite://")) as server:
        yield server


@pytest.fixture(scope="module")
async def http(server: TestServer) -> httpx.AsyncClient:
    return server.http


@pytest.fixture(scope="module")
async def alice(server: TestServer) -> Any:
    return await register(server.app, "alice")


@pytest.fixture(scope="module")
async def bob(server: TestServer) -> Any:
    return await register(server.app, "bob")


# -- where fields come from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, [], [], None, False]),
        ("count=7&ratio=0.5&flag=true", [7, [], [], 0.5, True]),
        ("tags=a&tags=b&tags=%C3%BC&numbers=3&numbers=1", [0, ["a", "b", "ü"], [1, 3], None, False]),
        ("tags=a", [0, ["a"], [], None, False]),
        ("count=1&count=2", [2, [], [], None, False]),
        ("ratio=null&flag=0", [0, [], [], None, False]),
    ],
)
async def test_a_get_takes_its_fields_of_the_query(http: httpx.AsyncClient, query: str, expected: Any) -> None:
    assert (await http.get(f"/walker/Any5?{query}")).json() == replied(["GET", *expected])


@pytest.mark.parametrize(
    ("query", "path"), [("count=x", "$.count"), ("numbers=1&numbers=x", "$.numbers[1]"), ("cont=1", "$.cont")]
)
async def test_what_does_not_fit_in_the_query_is_told_with_its_path(
    http: httpx.AsyncClient, query: str, path: str
) -> None:
    answer = await http.get(f"/walker/Any5?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert answer.json()["error"]["path"] == path


async def test_without_as_query_the_query_of_a_post_is_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post("/walker/Any5?count=5&unknown=1", json={"count": 2})
    assert answer.json()["data"]["reports"][0][1] == 2


async def test_as_query_names_what_comes_in_the_query_beside_the_body(http: httpx.AsyncClient) -> None:
    answer = await http.post("/walker/PartlyQuery?count=5&text=no", json={"text": "body"})
    assert answer.json() == replied([5, "body"])
    assert (await http.post("/walker/PartlyQuery?count=5")).json() == replied([5, ""])
    assert (await http.post("/walker/PartlyQuery", json={"count": 4})).json() == replied([4, ""])
    answer = await http.put("/walker/AllQuery?count=5&text=query", json={"text": "body"})
    assert answer.json() == replied([5, "query"])


async def test_the_path_names_fields(http: httpx.AsyncClient) -> None:
    assert (await http.get("/shelves/top%2Fleft/books/7")).json() == replied(["top/left", 7, 0, {}])
    answer = await http.post("/shelves/a/books/8", json={"shelf": "not this one", "strict": 3, "more": {"1": "x"}})
    assert answer.json() == replied(["a", 8, 3, {"1": "x"}])
    answer = await http.get("/shelves/a/books/x")
    assert (answer.status_code, answer.json()["error"]["path"]) == (422, "$.number")
    assert (await http.get("/shelves/a/books/")).status_code == 404


async def test_a_body_beside_a_path_is_read_as_strictly_as_any(http: httpx.AsyncClient) -> None:
    answer = await http.post("/shelves/a/books/8", json={"strict": "3"})
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        {"code": "VALIDATION_ERROR", "message": "Expected `int`, got `str`", "path": "$.strict"},
    )
    path = "/shelves/a/books/8?day=2026-02-03&few=1&few=2"
    assert (await http.post(path, json={"strict": 2, "day": None})).json() == replied(["a", 8, 2, {}])
    for query, place in (("day=x", "$.day"), ("few=1&few=x", "$.few[1]"), ("few=1&few=2&few=3", "$.few")):
        answer = await http.post(f"/shelves/a/books/8?{query}")
        assert (answer.status_code, answer.json()["error"]["path"]) == (422, place)
    answer = await http.post("/shelves/a/books/8", json={"nobody": 1})
    assert answer.json()["error"]["path"] == "$.nobody"
    for bad in (b"[1]", b"{", b"\xff", b"5"):
        answer = await http.post("/shelves/a/books/8", content=bad)
        assert answer.status_code == (400 if bad in (b"{", b"\xff") else 422), bad


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not json", {"code": "INVALID_JSON", "message": "Invalid JSON"}),
        (b"\xff", {"code": "INVALID_JSON", "message": "Invalid JSON"}),
        (b" ", {"code": "INVALID_JSON", "message": "Invalid JSON"}),
        (b"[1]", {"code": "VALIDATION_ERROR", "message": "Expected `object`, got `array`", "path": "$"}),
        (b'{"text":5}', {"code": "VALIDATION_ERROR", "message": "Expected `str`, got `int`", "path": "$.text"}),
        (
            b'{"txt":""}',
            {"code": "VALIDATION_ERROR", "message": "Object contains unknown field `txt`", "path": "$.txt"},
        ),
    ],
)
async def test_a_body_that_does_not_fit_is_told_why(
    http: httpx.AsyncClient, alice: Any, body: bytes, error: Any
) -> None:
    answer = await http.post("/walker/Mine", content=body, headers=bearer(alice))
    status = 400 if error["code"] == "INVALID_JSON" else 422
    assert (answer.status_code, answer.json()) == (status, refused(status, **error))


async def test_an_empty_body_is_an_empty_object(http: httpx.AsyncClient, alice: Any) -> None:
    assert (await http.post("/walker/Mine", headers=bearer(alice))).status_code == 200
    answer = await http.post("/walker/PartlyQuery")
    assert answer.json()["error"]["path"] == "$.count"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/xml", 415),
        ("", 415),
    ],
)
async def test_a_body_of_another_kind_is_refused(http: httpx.AsyncClient, kind: str, status: int) -> None:
    answer = await http.post("/walker/Small", content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == status
    if status == 415:
        told = "The body must be application/json or multipart/form-data"
        assert answer.json() == refused(415, "UNSUPPORTED_MEDIA_TYPE", told)


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_size_of_a_body_is_limited_by_the_walker(http: httpx.AsyncClient, chunked: bool) -> None:
    async def parts(body: bytes) -> Any:
        for begin in range(0, len(body), 7):
            yield body[begin : begin + 7]

    for size, status in ((40, 200), (41, 413)):
        body = json.dumps({"text": "x" * (size - 12)}).encode()
        assert len(body) == size
        content = parts(body) if chunked else body
        answer = await http.post("/walker/Small", content=content, headers={"Content-Type": "application/json"})
        expected = (
            replied(size - 12) if status == 200 else refused(413, "TOO_LARGE", "The body is larger than 40 bytes")
        )
        assert (answer.status_code, answer.json()) == (status, expected)


async def test_by_default_a_body_has_a_mebibyte_at_most(http: httpx.AsyncClient) -> None:
    for size, status in ((1024 * 1024, 200), (1024 * 1024 + 1, 413)):
        body = b'{"tags":["' + b"x" * (size - 13) + b'"]}'
        assert len(body) == size
        answer = await http.post("/walker/Any5", content=body)
        assert answer.status_code == status


async def test_a_run_that_takes_too_long_is_told_so_and_nothing_is_kept(http: httpx.AsyncClient, bob: Any) -> None:
    answer = await http.post("/walker/Late", headers=bearer(bob))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json() == refused(503, "RUN_TIMEOUT", "The walker did not end within 0.05 s")
    assert (await http.post("/walker/CountNotes", headers=bearer(bob))).json() == replied(0)
