"""Page 3, Door 2: files come as multipart/form-data."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from wireloom import App, Node, Root, UploadFile, Walker, entry, spec
from wireloom.graph.changes import Conflict
from wireloom.graph.unit import Unit
from wireloom.testing import TestServer

from .kit import refused, replied

pytestmark = pytest.mark.anyio

LIMIT = 100_000


class Stored(Node):
    digest: str


@spec(methods=["post", "put"], public=True, max_message_bytes=LIMIT)
class Upload(Walker):
    file: UploadFile
    title: str = ""
    count: int = 0
    more: list[UploadFile] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)

    @entry(Root)
    async def store(self, here: Root) -> None:
        content = await self.file.read()
        here.connect(Stored(digest=hashlib.sha256(content).hexdigest()))
        FILES.append(self.file)
        self.report([self.file.filename, self.file.content_type, content.decode("latin-1")])
        self.report([self.title, self.count, self.tags])
        self.report([[each.filename, len(await each.read())] for each in self.more])


@spec(public=True)
class ThreadedUpload(Walker):
    file: UploadFile | None = None

    @entry(Root)
    def store(self, here: Root) -> None:
        self.report(None if self.file is None else self.file.file.read().decode())


@spec(public=True, path="/albums/{album}")
class ToAlbum(Walker):
    album: int
    file: UploadFile

    @entry(Root)
    async def store(self, here: Root) -> None:
        self.report([self.album, self.file.filename])


@spec(public=True)
class Form(Walker):
    title: str
    count: int = 0

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report([self.title, self.count])


FILES: list[Any] = []
A = ("a.txt", b"content of a", "text/plain")


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with TestServer(App([Upload, ThreadedUpload, ToAlbum, Form], database="sqlite://")) as server:
        yield server.http


async def test_a_file_and_fields_arrive_together(http: httpx.AsyncClient) -> None:
    data = {"title": "ü", "count": "7", "tags": ["x", "y"]}
    answer = await http.post("/walker/Upload", files={"file": A}, data=data)
    assert answer.json() == replied(["a.txt", "text/plain", "content of a"], ["ü", 7, ["x", "y"]], [])
    assert (await http.put("/walker/Upload", files={"file": A})).status_code == 200


async def test_several_files_of_one_name_are_a_list(http: httpx.AsyncClient) -> None:
    files = [("file", A), *(("more", (f"{size}.bin", b"\0" * size, "application/octet-stream")) for size in (0, 5, 9))]
    [_, _, more] = (await http.post("/walker/Upload", files=files)).json()["data"]["reports"]
    assert more == [["0.bin", 0], ["5.bin", 5], ["9.bin", 9]]


async def test_a_form_without_files_is_read_too(http: httpx.AsyncClient) -> None:
    answer = await http.post("/walker/Form", files={"title": (None, "t"), "count": (None, "3")})
    assert answer.json() == replied(["t", 3])


async def test_a_thread_reads_a_file_and_a_file_may_be_optional(http: httpx.AsyncClient) -> None:
    assert (await http.post("/walker/ThreadedUpload", files={"file": A})).json() == replied("content of a")
    assert (await http.post("/walker/ThreadedUpload", json={})).json() == replied(None)
    assert (await http.post("/walker/ThreadedUpload", json={"file": None})).json() == replied(None)


async def test_the_path_names_a_field_beside_a_file(http: httpx.AsyncClient) -> None:
    assert (await http.post("/albums/5", files={"file": A})).json() == replied([5, "a.txt"])
    assert (await http.post("/albums/x", files={"file": A})).json()["error"]["path"] == "$.album"


@pytest.mark.parametrize("value", ["text", {"filename": "a"}, 5, ["x"]])
async def test_a_file_does_not_come_over_json(http: httpx.AsyncClient, value: Any) -> None:
    for name in ("Upload", "ThreadedUpload"):
        answer = await http.post(f"/walker/{name}", json={"file": value})
        assert answer.status_code == 422 and answer.json()["error"]["path"] == "$.file"
        assert answer.json()["error"]["message"] == "Expected a file: send the fields as multipart/form-data"


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"file": (None, "text")}, "$.file"),
        ({"title": (None, "a")}, "$.file"),
        ({"file": A, "count": (None, "x")}, "$.count"),
        ({"file": A, "title": A}, "$.title"),
        ({"file": A, "nobody": A}, "$.nobody"),
        ({"file": A, "more": (None, "text")}, "$.more[0]"),
    ],
)
async def test_what_does_not_fit_in_a_form_is_told_with_its_path(
    http: httpx.AsyncClient, files: Any, path: str
) -> None:
    answer = await http.post("/walker/Upload", files=files)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["path"]) == (422, "VALIDATION_ERROR", path)


async def test_all_of_a_form_is_limited_in_size(http: httpx.AsyncClient) -> None:
    def form(size: int) -> tuple[bytes, dict[str, str]]:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        tail = b"\r\n--b--\r\n"
        body = head + b"x" * (size - len(head) - len(tail)) + tail
        return body, {"Content-Type": "multipart/form-data; boundary=b"}

    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        body, headers = form(size)
        answer = await http.post("/walker/Upload", content=body, headers=headers)
        assert (len(body), answer.status_code) == (size, status)
        if status == 413:
            assert answer.json() == refused(413, "TOO_LARGE", f"The body is larger than {LIMIT} bytes")


TITLE = b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\n'
FORM = "multipart/form-data"
BAD = [
    (FORM, b"--b\r\n", 400),
    (f"{FORM}; boundary=", b"--b\r\n", 400),
    (f"{FORM}; boundary=b", b"no boundary", 400),
    (f"{FORM}; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
    (f"{FORM}; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", 400),
    (f"{FORM}; boundary=b", TITLE + b"never ends", 422),
    (f"{FORM}; boundary=b", b'--b\r\n\xff: form-data; name="title"\r\n\r\nx\r\n--b--\r\n', 400),
    (f"{FORM}; boundary={'b' * 500}", b"--b\r\n", 400),
    (f"{FORM}; boundary=b", b"--b--\r\n", 422),
    (f"{FORM}; boundary=b", b"", 422),
]


@pytest.mark.parametrize(("kind", "body", "status"), BAD)
async def test_a_form_that_cannot_be_read_is_the_senders_fault(
    http: httpx.AsyncClient, kind: str, body: bytes, status: int
) -> None:
    answer = await http.post("/walker/Form", content=body, headers={"Content-Type": kind})
    code = {400: "INVALID_FORM", 422: "VALIDATION_ERROR"}[status]
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_files_are_closed_when_the_run_is_over(http: httpx.AsyncClient) -> None:
    FILES.clear()
    await http.post("/walker/Upload", files={"file": A})
    [file] = FILES
    assert file.file.closed


async def test_a_second_try_reads_the_same_file_again(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, tries = Unit.commit, list[Unit]()

    async def overtaken_once(unit: Unit) -> None:
        tries.append(unit)
        if len(tries) == 1:
            raise Conflict
        await commit(unit)

    monkeypatch.setattr(Unit, "commit", overtaken_once)
    files = [("file", A), ("more", ("m", b"12345", "text/plain"))]
    answer = await http.post("/walker/Upload", files=files)
    assert len(tries) == 2
    assert answer.json()["data"]["reports"] == [["a.txt", "text/plain", "content of a"], ["", 0, []], [["m", 5]]]


async def test_many_uploads_at_once_keep_their_own_files(http: httpx.AsyncClient) -> None:
    async def upload(number: int) -> None:
        content = f"content {number}".encode() * 50
        answer = await http.post("/walker/ThreadedUpload", files={"file": ("f", content, "text/plain")})
        assert answer.json() == replied(content.decode())

    await asyncio.wait_for(asyncio.gather(*map(upload, range(30))), 30)
