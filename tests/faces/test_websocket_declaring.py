"""Page 1, "Declaring": what a declaration is, and how it comes to be served."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypedDict

import pytest

import wireloom
from wireloom import App, ConfigError, Connection
from wireloom.testing import HandshakeFailed

pytestmark = pytest.mark.anyio


class ChatMessage(TypedDict):
    text: str
    user: str


def standalone() -> wireloom.WebSocketHandler:
    @wireloom.websocket("/double/{times}")
    async def double(message: int, times: int) -> int:
        """Multiplies.

        A second paragraph.
        """
        return message * times

    return double


async def test_the_example_of_the_page(wireloom_server: Any) -> None:
    app = App()
    left_rooms: list[str] = []

    @app.websocket("/chat/{room}")
    async def chat(message: ChatMessage, room: str, connection: Connection) -> dict:
        return {"echo": message["text"], "from": message["user"], "room": room}

    @chat.on_connect
    async def joined(room: str, connection: Connection) -> None:
        connection.join(room)

    @chat.on_disconnect
    async def left(connection: Connection) -> None:
        left_rooms.extend(connection.channels)

    async with wireloom_server(app) as server:
        async with server.websocket("/chat/lobby") as ws:
            await ws.send_json({"text": "Hello", "user": "Alice"})
            assert await ws.receive_text() == '{"echo":"Hello","from":"Alice","room":"lobby"}'
            await app.hub.publish("lobby", {"news": 1})
            assert await ws.receive_json() == {"news": 1}
        async with server.websocket("/chat/other") as ws:
            await app.hub.publish("lobby", "not for the other room")
            await ws.send_json({"text": "x", "user": "y"})
            assert (await ws.receive_json())["room"] == "other"
    assert left_rooms == ["lobby", "other"]


@pytest.mark.parametrize("way", ["App([…])", "app.add"])
async def test_a_declaration_without_an_app_is_given_to_one(wireloom_server: Any, way: str) -> None:
    app = App([standalone()]) if way == "App([…])" else App()
    if way == "app.add":
        app.add(standalone())
    async with wireloom_server(app) as server, server.websocket("/double/3") as ws:
        await ws.send_json(7)
        assert await ws.receive_text() == "21"


async def test_one_declaration_serves_several_apps_each_with_its_own_hub(wireloom_server: Any) -> None:
    @wireloom.websocket("/who")
    async def who(message: str, hub: wireloom.Hub) -> str:
        return str(id(hub))

    apps = App([who]), App([who])
    for app in apps:
        async with wireloom_server(app) as server, server.websocket("/who") as ws:
            await ws.send_text("?")
            assert await ws.receive_text() == str(id(app.hub))


async def test_hooks_declared_after_the_handler_was_added_are_served(wireloom_server: Any) -> None:
    app = App()
    handler = standalone()
    app.add(handler)

    @handler.on_connect
    async def hello(times: int, connection: Connection) -> None:
        connection.send({"times": times})

    async with wireloom_server(app) as server, server.websocket("/double/4") as ws:
        assert await ws.receive_json() == {"times": 4}


async def test_the_decorated_object_is_still_the_function() -> None:
    app = App()

    @app.websocket("/a")
    async def coroutine(message: str, suffix: Annotated[str, wireloom.Query()] = "!") -> str:
        """Says it louder."""
        return message + suffix

    @app.websocket("/b")
    def plain(message: int) -> int:
        return message + 1

    @app.websocket("/c")
    async def stream(message: int) -> AsyncIterator[int]:
        for number in range(message):
            yield number

    assert await coroutine("a", suffix="?") == "a?"
    assert await coroutine("a") == "a!"
    assert plain(1) == 2
    assert [number async for number in stream(3)] == [0, 1, 2]
    assert (coroutine.__name__, coroutine.__doc__) == ("coroutine", "Says it louder.")
    assert "/a" in repr(coroutine)


def test_hooks_are_given_back_as_they_are() -> None:
    handler = standalone()

    async def hook(connection: Connection) -> None:
        """Nothing."""

    async def early(request: wireloom.Request) -> None:
        """Nothing."""

    assert handler.on_connect(hook) is hook
    assert handler.on_disconnect(hook) is hook
    assert handler.on_handshake(early) is early


@pytest.mark.parametrize("kind", ["on_handshake", "on_connect", "on_disconnect"])
def test_a_hook_is_declared_once(kind: str) -> None:
    handler = standalone()

    async def first() -> None:
        """Nothing."""

    async def second() -> None:
        """Nothing."""

    getattr(handler, kind)(first)
    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: 'double' has its {kind} already: 'first'"):
        getattr(handler, kind)(second)


def test_a_path_is_served_once() -> None:
    app = App([standalone()])
    with pytest.raises(ConfigError, match=rf"'/double/{{times}}' is already served by 'double' \({__file__}:\d+\)"):
        app.add(standalone())


@pytest.mark.parametrize("path", ["no/slash", "/a/{b}c", "/a/{}", "/a/{1}", "/{a}/{a}", "/a/{b:int}"])
def test_a_malformed_path_is_refused_where_it_is_written(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: the path|^{__file__}:\d+: in the path"):

        @wireloom.websocket(path)
        async def handler(message: Any) -> None:
            """Nothing."""


def test_concurrency_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: 'handler': concurrency must be 1 or more"):

        @wireloom.websocket("/", concurrency=0)
        async def handler(message: Any) -> None:
            """Nothing."""


def test_a_plain_generator_is_refused() -> None:
    """Only an asynchronous generator streams; a plain one would run nothing at all."""
    with pytest.raises(ConfigError, match="generator"):

        @wireloom.websocket("/")
        def handler(message: Any) -> Any:
            yield message


@pytest.mark.parametrize("kind", ["on_handshake", "on_connect", "on_disconnect"])
def test_a_hook_that_is_a_generator_is_refused(kind: str) -> None:
    handler = standalone()

    async def hook() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="hook"):
        getattr(handler, kind)(hook)


def test_the_app_describes_what_it_serves() -> None:
    app = App([standalone()])

    @app.websocket("/chat", name="talk", message_schema={"type": "object"}, response_schema={"type": "string"})
    async def chat(message: Any) -> Any:
        """Nothing."""

    described = {row.path: row for row in app.describe()}
    assert list(described) == ["/chat", "/double/{times}"]
    double, talk = described["/double/{times}"], described["/chat"]
    assert (double.door, double.name, double.summary, double.auth) == ("websocket", "double", "Multiplies.", False)
    assert (double.message_schema, double.response_schema) == ({"type": "integer"}, {"type": "integer"})
    assert double.source.startswith(f"{__file__}:")
    assert (talk.name, talk.message_schema, talk.response_schema) == ("talk", {"type": "object"}, {"type": "string"})


async def test_the_size_of_a_message_is_an_option_of_the_handler(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/small", max_message_bytes=10)
    async def small(message: str) -> str:
        return message

    @app.websocket("/large")
    async def large(message: str) -> str:
        return message

    async with wireloom_server(app) as server:
        async with server.websocket("/small") as ws:
            await ws.send_text("0123456789")
            assert await ws.receive_text() == "0123456789"
            await ws.send_text("0123456789+")
            assert await ws.wait_closed() == 1009
        async with server.websocket("/large") as ws:
            await ws.send_text("0123456789+")
            assert await ws.receive_text() == "0123456789+"


async def test_the_first_subprotocol_of_ours_is_chosen(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/", subprotocols=["a", "b"])
    async def handler(message: dict, connection: Connection) -> dict:
        return {"chosen": connection.subprotocol}

    async with wireloom_server(app) as server:
        for offered, chosen in ((["b", "a"], "a"), (["b"], "b"), ([], None), (["c"], None), (["c", "b"], "b")):
            async with server.websocket("/", subprotocols=offered) as ws:
                await ws.send_json({})
                assert await ws.receive_json() == {"chosen": chosen}
                assert ws.subprotocol == chosen


async def test_without_subprotocols_none_is_chosen(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: str) -> str:
        return message

    async with wireloom_server(app) as server, server.websocket("/", subprotocols=["a"]) as ws:
        assert ws.subprotocol is None


async def test_an_unknown_path_is_no_endpoint(wireloom_server: Any) -> None:
    async with wireloom_server(App([standalone()])) as server:
        for path in ("/double", "/double/", "/double/1/", "/double/1/2", "/Double/1"):
            with pytest.raises(HandshakeFailed) as caught:
                async with server.websocket(path):
                    pass
            assert caught.value.status == 404, path


def test_an_endpoint_says_whether_it_answers_each_message() -> None:
    async def one(message: str) -> str: ...
    async def either(message: str) -> str | None: ...
    async def none(message: str) -> None: ...
    async def anything(message: str): ...  # type: ignore[no-untyped-def]
    async def stream(message: str) -> AsyncIterator[str]:
        yield message

    app = App([wireloom.websocket(f"/{each.__name__}")(each) for each in (one, either, none, anything, stream)])
    app.add(wireloom.websocket("/several", concurrency=2, name="several")(one))
    operations = app.asyncapi()["operations"]
    assert [name for name, each in operations.items() if "reply" in each] == ["receive_one"]


def test_a_decorator_without_its_parentheses_is_refused_where_it_stands() -> None:
    async def handler(message: int) -> None: ...

    for declare in (wireloom.websocket, App().websocket):
        with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: 'handler': websocket needs a path: @app\.websocket"):
            declare(handler)  # type: ignore[arg-type]
    for declare in (wireloom.event, App().event):
        with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: 'handler': event needs parentheses: @app\.event"):
            declare(handler)  # type: ignore[arg-type]


@pytest.mark.parametrize("takes", [str, bytes, str | bytes])
@pytest.mark.parametrize("returns", [int, dict[str, Any], list[str], bool, str | int, AsyncIterator[float]])
def test_a_raw_handler_that_says_it_answers_json_is_refused(takes: Any, returns: Any) -> None:
    async def count(message: Any) -> Any: ...

    count.__annotations__ = {"message": takes, "return": returns}
    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: 'count' takes text or bytes as they are.*message: dict"):
        App([wireloom.websocket("/count")(count)]).check()


@pytest.mark.parametrize(
    "returns",
    [str, bytes, bytearray, memoryview, None, Any, str | None, str | bytes, Literal["a", "b"], AsyncIterator[str]],
)
def test_a_raw_handler_that_answers_text_or_bytes_is_taken(returns: Any) -> None:
    async def say(message: str) -> Any: ...

    say.__annotations__ = {"message": str, "return": returns}
    app = App([wireloom.websocket("/say")(say)])
    app.check()
    assert [described.path for described in app.describe()] == ["/say"]
