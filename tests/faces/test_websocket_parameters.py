"""Page 1, "Declaring": parameters found by name or annotation."""

import asyncio
import enum
import json
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import Field
from tests.ids import shown
from tests.net.raw import dial

import wireloom
from wireloom import App, ConfigError, Connection, Hub, Provide, Query, Request
from wireloom.testing import HandshakeFailed, TestServer

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


async def answer(server: TestServer, path: str, message: Any = 0) -> Any:
    async with server.websocket(path) as ws:
        await ws.send_json(message)
        return await ws.receive_json()


async def refusal(server: TestServer, path: str) -> HandshakeFailed:
    with pytest.raises(HandshakeFailed) as caught:
        async with server.websocket(path):
            pass
    return caught.value


# -- the message ------------------------------------------------------------------------------------------------------


async def test_the_message_is_the_parameter_of_that_name_else_the_first_unexplained(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/by-name/{room}")
    async def by_name(connection: Connection, room: str, message: int, request: Request) -> dict:
        return {"message": message + 1, "room": room, "same": request.message == message}

    @app.websocket("/first/{room}")
    async def first(hub: Hub, room: str, text: list[int], connection: Connection) -> dict:
        return {"message": text, "room": room, "same": hub is app.hub}

    @app.websocket("/keyword/{room}")
    async def keyword(*, connection: Connection, room: str, payload: int) -> dict:
        return {"message": payload, "room": room, "same": connection.path_params == {"room": room}}

    @app.websocket("/positional/{room}")
    async def positional(payload: int, room: str, /) -> dict:
        return {"message": payload, "room": room, "same": True}

    async with wireloom_server(app) as server:
        assert await answer(server, "/by-name/a", 1) == {"message": 2, "room": "a", "same": True}
        assert await answer(server, "/first/b", [1]) == {"message": [1], "room": "b", "same": True}
        assert await answer(server, "/keyword/c", 2) == {"message": 2, "room": "c", "same": True}
        assert await answer(server, "/positional/d", 3) == {"message": 3, "room": "d", "same": True}


async def test_a_path_parameter_called_message_is_the_paths(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{message}")
    async def handler(message: str, payload: int) -> dict:
        return {"message": message, "payload": payload}

    async with wireloom_server(app) as server:
        assert await answer(server, "/x", 1) == {"message": "x", "payload": 1}


# -- the path ---------------------------------------------------------------------------------------------------------


async def test_path_parameters_are_converted_to_their_annotation(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{number}/{key}/{colour}/{text}/{bare}/{share}/{flag}")
    async def handler(
        message: Any,
        number: int,
        key: uuid.UUID,
        colour: Colour,
        text: str,
        bare,
        share: float,
        flag: bool,
    ) -> dict:
        return {"values": [repr(value) for value in (number, key, colour, text, bare, share, flag)]}

    key = uuid.UUID("12345678-1234-5678-1234-567812345678")
    async with wireloom_server(app) as server:
        got = await answer(server, f"/-7/{key}/blue/12/13/0.5/true")
        wanted = (-7, key, Colour.BLUE, "12", "13", 0.5, True)
        assert got == {"values": [repr(value) for value in wanted]}


async def test_a_path_that_does_not_fit_is_404_before_the_upgrade(wireloom_server: Any) -> None:
    app, ran = App(), []

    @app.websocket("/{number}/{colour}")
    async def handler(message: Any, number: int, colour: Colour) -> None:
        """Nothing."""

    @handler.on_handshake
    async def check() -> None:
        ran.append("handshake")

    async with wireloom_server(app) as server:
        for path in ("/x/red", "/1.5/red", "/1/green", "/1/", "//red", "/1", "/1/red/x", "/%31x/red", "/1/RED"):
            error = await refusal(server, path)
            assert error.status == 404, path
            assert error.headers["content-type"] == "application/json"
            assert b'"error":"Not Found"' in error.body
        async with server.websocket("/1/red"):
            assert ran == ["handshake"]


ENCODED = [
    ("caf%C3%A9", "café"),
    ("a%20b", "a b"),
    ("a+b", "a+b"),
    ("a%2Fb", "a/b"),
    ("a%252Fb", "a%2Fb"),
    ("%7Broom%7D", "{room}"),
    ("..", ".."),
    ("a;b=c:d@e", "a;b=c:d@e"),
    ("%00", "\0"),
]


async def test_path_parameters_are_percent_decoded_once(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{room}")
    async def handler(message: Any, room: str, request: Request) -> dict:
        return {"room": room, "path": request.path, "params": request.path_params}

    async with wireloom_server(app) as server:
        for sent, received in ENCODED:
            wanted = {"room": received, "path": f"/{sent}", "params": {"room": received}}
            async with dial(server.port) as peer:  # as it is: a client of ours would resolve dots as browsers do
                await peer.upgrade(f"/{sent}")
                peer.text("0")
                assert json.loads((await peer.frame()).payload) == wanted


async def test_a_path_parameter_is_never_empty(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/chat/{room}")
    async def handler(message: Any, room: str) -> None:
        """Nothing."""

    async with wireloom_server(app) as server:
        for path in ("/chat/", "/chat", "/chat//", "//x"):
            assert (await refusal(server, path)).status == 404, path


async def test_a_path_parameter_that_the_handler_ignores_is_text(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{room}/{number}")
    async def handler(message: Any, number: int, connection: Connection) -> dict:
        return connection.path_params

    async with wireloom_server(app) as server:
        assert await answer(server, "/12/13") == {"room": "12", "number": 13}


def test_one_path_parameter_has_one_type() -> None:
    """It is converted once a connection; the hook would get the handler's type."""

    @wireloom.websocket("/{room}")
    async def handler(message: Any, room: int) -> None:
        """Nothing."""

    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: the parameter 'room' is declared as int .* and str"):

        @handler.on_connect
        async def connected(room: str) -> None:
            """Nothing."""

        App([handler])


def test_text_with_and_without_annotation_is_one_type() -> None:
    @wireloom.websocket("/{room}")
    async def handler(message: Any, room: str) -> None:
        """Nothing."""

    @handler.on_connect
    async def connected(room) -> None:
        """Nothing."""

    App([handler])


# -- the query --------------------------------------------------------------------------------------------------------


def with_query() -> App:
    app = App()

    @app.websocket("/default")
    async def default(message: Any, limit: Annotated[int, Query()] = 5) -> dict:
        return {"limit": limit}

    @app.websocket("/required")
    async def required(message: Any, limit: Annotated[int, Query()]) -> dict:
        return {"limit": limit}

    @app.websocket("/optional")
    async def optional(message: Any, colour: Annotated[Colour | None, Query()] = None) -> dict:
        return {"colour": repr(colour)}

    @app.websocket("/list")
    async def many(message: Any, tag: Annotated[list[int], Query()]) -> dict:
        return {"tag": tag}

    @app.websocket("/alias")
    async def alias(message: Any, kind: Annotated[str, Query("type")], *, page: Annotated[int, Query("p")] = 1) -> dict:
        return {"kind": kind, "page": page}

    return app


QUERIES = [
    ("/default", {"limit": 5}),
    ("/default?limit=7", {"limit": 7}),
    ("/default?limit=7&limit=8", {"limit": 8}),
    ("/default?other=7", {"limit": 5}),
    ("/required?limit=-1", {"limit": -1}),
    ("/required?a=b&limit=%31%32", {"limit": 12}),
    ("/optional", {"colour": "None"}),
    ("/optional?colour=red", {"colour": "<Colour.RED: 'red'>"}),
    ("/list", {"tag": []}),
    ("/list?tag=1", {"tag": [1]}),
    ("/list?tag=2&tag=1", {"tag": [2, 1]}),
    ("/alias?type=a%20b%26c", {"kind": "a b&c", "page": 1}),
    ("/alias?type=a+b&p=3", {"kind": "a b", "page": 3}),
    ("/alias?type=", {"kind": "", "page": 1}),
    ("/alias?type=caf%C3%A9", {"kind": "café", "page": 1}),
]


async def test_query_parameters_are_converted(wireloom_server: Any) -> None:
    async with wireloom_server(with_query()) as server:
        for target, got in QUERIES:
            assert await answer(server, target) == got, target


BAD_QUERIES = [
    ("/required", "limit", "is missing"),
    ("/required?Limit=1", "limit", "is missing"),
    ("/required?limit=x", "limit", "does not fit"),
    ("/required?limit=", "limit", "does not fit"),
    ("/default?limit=1.5", "limit", "does not fit"),
    ("/optional?colour=green", "colour", "does not fit"),
    ("/list?tag=1&tag=x", "tag", "does not fit"),
    ("/alias?kind=a", "type", "is missing"),
    ("/alias?type=a&p=x", "p", "does not fit"),
]


async def test_a_query_that_does_not_fit_is_400_before_the_upgrade(wireloom_server: Any) -> None:
    async with wireloom_server(with_query()) as server:
        for target, name, problem in BAD_QUERIES:
            error = await refusal(server, target)
            assert error.status == 400, target
            assert f"The query parameter '{name}' {problem}".encode() in error.body, target


# -- services, and what is unexplained --------------------------------------------------------------------------------


async def test_services_are_found_by_annotation_whatever_their_name(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: int, a: Connection, b: Request, *, c: Hub) -> dict:
        return {
            "connection": a is b.connection,
            "request": b.message == message,
            "hub": c is app.hub,
            "listed": a in c.connections(),
        }

    async with wireloom_server(app) as server:
        assert await answer(server, "/", 5) == dict.fromkeys(("connection", "request", "hub", "listed"), True)


async def test_each_message_is_a_request_of_its_own(wireloom_server: Any) -> None:
    app, requests = App(), []

    @app.websocket("/")
    async def handler(message: int, request: Request) -> int:
        requests.append(request)
        await asyncio.sleep(0)
        return request.message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        for number in range(3):
            await ws.send_json(number)
        assert [await ws.receive_json() for _ in range(3)] == [0, 1, 2]
    assert len({id(request) for request in requests}) == 3
    assert len({id(request.connection) for request in requests}) == 1


def handler_with_two_unknowns() -> None:
    @wireloom.websocket("/{room}")
    async def chat(message: Any, room: str, databse: Any, limit: int = 5) -> None:
        """Nothing."""


def hook_with_an_unknown() -> None:
    @wireloom.websocket("/{room}")
    async def handler(message: Any) -> None:
        """Nothing."""

    @handler.on_connect
    async def chat(message: Any, databse: Any, limit: int) -> None:
        """Nothing."""


def factory_with_an_unknown() -> None:
    def chat(databse: Any, limit: int) -> int:
        return 1

    @wireloom.websocket("/{room}")
    async def handler(message: Any, made: Annotated[int, Provide(chat)]) -> None:
        """Nothing."""


@pytest.mark.parametrize("declare", [handler_with_two_unknowns, hook_with_an_unknown, factory_with_an_unknown])
def test_what_nothing_explains_is_named_at_registration(declare: Callable[[], None]) -> None:
    with pytest.raises(ConfigError) as caught:
        declare()
    text = str(caught.value)
    assert text.startswith(f"{__file__}:")
    line = int(text.removeprefix(f"{__file__}:").partition(":")[0])
    assert abs(line - declare.__code__.co_firstlineno) < 8
    for word in ("'chat'", "'databse'", "'limit'", "room"):
        assert word in text


def test_a_handler_takes_a_message() -> None:
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: 'handler': no parameter takes the message"):

        @wireloom.websocket("/{room}")
        async def handler(room: str, connection: Connection) -> None:
            """Nothing."""


@pytest.mark.parametrize("stars", ["*", "**"])
def test_star_parameters_cannot_be_bound(stars: str) -> None:
    async def positional(message: Any, *rest: Any) -> None:
        """Nothing."""

    async def keyword(message: Any, **rest: Any) -> None:
        """Nothing."""

    handler = positional if stars == "*" else keyword
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: '{handler.__name__}': \{stars[0]}+rest cannot be bound"):
        wireloom.websocket("/")(handler)


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        ("Mesage", "Mesage"),
        ("list[Mesage]", "Mesage"),
        ("uuid.Uuid", "Uuid"),
        ("not valid!", "not valid!"),
        ("int[str]", "subscriptable"),
    ],
)
@pytest.mark.parametrize("place", ["message", "path", "return", "hook"])
def test_an_annotation_that_cannot_be_resolved_is_told(annotation: str, named: str, place: str) -> None:
    async def handler(message, room) -> None:
        """Nothing."""

    async def hook(room) -> None:
        """Nothing."""

    at_fault = hook if place == "hook" else handler
    at_fault.__annotations__[{"message": "message", "return": "return"}.get(place, "room")] = annotation
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: '{at_fault.__name__}': cannot resolve") as caught:
        wireloom.websocket("/{room}")(handler).on_connect(hook)
    assert named in str(caught.value)


@pytest.mark.parametrize("annotation", [list[int], dict, tuple[int, int], object()], ids=shown)
def test_a_path_parameter_that_no_text_can_become_fails_at_registration(annotation: Any) -> None:
    async def handler(message: Any, room: Any) -> None:
        """Nothing."""

    handler.__annotations__["room"] = annotation
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: .*'handler'.*'room'"):
        wireloom.websocket("/{room}")(handler)


async def test_annotations_as_text_are_resolved(wireloom_server: Any) -> None:
    """As after ``from __future__ import annotations``."""
    app = App()

    @app.websocket("/{number}")
    async def handler(message: "int", number: "int", connection: "Connection", limit: "Annotated[int, Query()]" = 5):
        return [message + number + limit, type(connection).__name__]

    async with wireloom_server(app) as server:
        assert await answer(server, "/1", 2) == [8, "Connection"]


async def test_what_stands_beside_query_holds(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    def listen(
        message: str,
        most: Annotated[int, Field(ge=1), Query()] = 5,
        sizes: Annotated[list[Annotated[int, msgspec.Meta(le=9)]], Query()] = [],  # noqa: B006
    ) -> str:
        return json.dumps([most, sizes])

    async with wireloom_server(app) as server:
        async with server.websocket("/?most=3&sizes=1&sizes=9") as ws:
            await ws.send_text("")
            assert await ws.receive_json() == [3, [1, 9]]
        for query in ("most=0", "sizes=10"):
            with pytest.raises(HandshakeFailed) as refused:
                await server.websocket(f"/?{query}").__aenter__()
            assert refused.value.status == 400


def test_what_is_said_of_a_list_in_the_query_is_refused() -> None:
    app = App()
    with pytest.raises(ConfigError, match=r"say it of its items"):

        @app.websocket("/")
        def listen(message: str, sizes: Annotated[list[int], msgspec.Meta(max_length=2), Query()]) -> None: ...
