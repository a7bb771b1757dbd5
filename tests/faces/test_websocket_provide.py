"""Page 1, "Declaring": dependencies, made for each message and released after it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any, TypeVar

import pytest

import wireloom
from wireloom import App, ConfigError, Connection, Disconnect, Provide, Query, Request, RequestError

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 5)


def factories(log: list[str]) -> dict[str, Callable[..., Any]]:
    """One factory of each kind; those that clean up log it."""

    def plain() -> str:
        log.append("made")
        return "value"

    async def coroutine() -> str:
        await asyncio.sleep(0)
        log.append("made")
        return "value"

    def generator() -> Iterator[str]:
        log.append("made")
        try:
            yield "value"
        finally:
            log.append("released")

    async def async_generator() -> AsyncIterator[str]:
        log.append("made")
        try:
            yield "value"
        finally:
            await asyncio.sleep(0)
            log.append("released")

    return {"def": plain, "async def": coroutine, "generator": generator, "async generator": async_generator}


KINDS = ["def", "async def", "generator", "async generator"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dependency_is_made_for_each_message_and_released_after_it(wireloom_server: Any, kind: str) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str, made: Annotated[str, Provide(factories(log)[kind])]) -> str:
        await asyncio.sleep(0)
        log.append(f"handled {message} with {made}")
        return message

    released = ["released"] if "generator" in kind else []
    async with wireloom_server(app) as server, server.websocket("/") as ws:
        assert log == []  # an idle connection pins nothing
        await ws.send_text("one")
        assert await ws.receive_text() == "one"
        once = ["made", "handled one with value", *released]
        assert log == once
        await ws.send_text("two")
        assert await ws.receive_text() == "two"
        assert log == once + [entry.replace("one", "two") for entry in once]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
@pytest.mark.parametrize(
    ("error", "reply"),
    [(ValueError("bug"), '{"error":"Internal error"'), (RequestError("NO", "no"), '{"error":"no","code":"NO"}')],
    ids=["bug", "RequestError"],
)
async def test_a_dependency_is_released_when_the_handler_raises(
    wireloom_server: Any, kind: str, error: Exception, reply: str
) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str, made: Annotated[str, Provide(factories(log)[kind])]) -> str:
        raise error

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        assert (await ws.receive_text()).startswith(reply)
        assert log == ["made", "released"]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_dependency_is_released_when_the_handler_disconnects(wireloom_server: Any, kind: str) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str, made: Annotated[str, Provide(factories(log)[kind])]) -> str:
        raise Disconnect(4000)

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        assert await ws.wait_closed() == 4000
        assert log == ["made", "released"]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_generator_sees_the_handlers_error_and_may_answer_with_another(wireloom_server: Any, kind: str) -> None:
    app, seen = App(), []

    def sync() -> Iterator[int]:
        try:
            yield 1
        except KeyError as error:
            seen.append(error)
            raise RequestError("NOT_FOUND", "Not there") from error

    async def asynchronous() -> AsyncIterator[int]:
        try:
            yield 1
        except KeyError as error:
            seen.append(error)
            raise RequestError("NOT_FOUND", "Not there") from error

    @app.websocket("/")
    async def handler(
        message: str, made: Annotated[int, Provide(sync if kind == "generator" else asynchronous)]
    ) -> str:
        raise KeyError(message)

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        assert await ws.receive_text() == '{"error":"Not there","code":"NOT_FOUND"}'
    assert [str(error) for error in seen] == ["'one'"]


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_a_generator_cannot_swallow_the_handlers_error(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A clean-up that forgets to raise again must not hide a bug from the log and leave the caller unanswered."""
    app = App()

    def sync() -> Iterator[int]:
        try:
            yield 1
        except ValueError:
            """Rolled back."""

    async def asynchronous() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError:
            """Rolled back."""

    @app.websocket("/")
    async def handler(
        message: str, made: Annotated[int, Provide(sync if kind == "generator" else asynchronous)]
    ) -> str:
        raise ValueError("a bug")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        assert (await ws.receive_json())["error"] == "Internal error"
    assert len(caplog.records) == 1


async def test_a_generator_cannot_swallow_the_error_of_a_stream(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    async def factory() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError:
            """Rolled back."""

    @app.websocket("/")
    async def handler(message: str, made: Annotated[int, Provide(factory)]) -> AsyncIterator[str]:
        yield "first"
        raise ValueError("a bug")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        assert await ws.receive_text() == "first"
        assert (await ws.receive_json())["error"] == "Internal error"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("when", ["made", "released"])
async def test_an_error_of_the_factory_is_the_handlers(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    app, called = App(), []

    async def factory() -> AsyncIterator[int]:
        if when == "made":
            raise RequestError("BUSY", "No session left")
        yield 1
        raise RequestError("BUSY", "Commit failed")

    @app.websocket("/")
    async def handler(message: str, made: Annotated[int, Provide(factory)]) -> str:
        called.append(message)
        return "a reply that must not leave"

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        reply = await ws.receive_json()
        assert reply == {"error": "No session left" if when == "made" else "Commit failed", "code": "BUSY"}
        await ws.expect_nothing(0.05)
    assert called == ([] if when == "made" else ["one"])


async def test_nested_dependencies_are_released_in_reverse_and_shared_within_a_message(wireloom_server: Any) -> None:
    app, log, serial = App(), [], iter(range(100))

    async def pool() -> AsyncIterator[int]:
        number = next(serial)
        log.append(f"open pool {number}")
        yield number
        log.append(f"close pool {number}")

    def session(on: Annotated[int, Provide(pool)]) -> Iterator[str]:
        log.append(f"open session on {on}")
        yield f"session on {on}"
        log.append(f"close session on {on}")

    async def audit(on: Annotated[int, Provide(pool)], connection: Connection) -> str:
        log.append(f"audit on {on}")
        return f"audit on {on}"

    @app.websocket("/")
    async def handler(
        message: str,
        first: Annotated[str, Provide(session)],
        second: Annotated[str, Provide(audit)],
        again: Annotated[str, Provide(session)],
        direct: Annotated[int, Provide(pool)],
    ) -> str:
        log.append("handle")
        return f"{first}, {second}, {again is first}, {direct}"

    def rounds(number: int) -> list[str]:
        opened = [f"open pool {number}", f"open session on {number}", f"audit on {number}"]
        return [*opened, "handle", f"close session on {number}", f"close pool {number}"]

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "session on 0, audit on 0, True, 0"
        assert log == rounds(0)
        await ws.send_text("x")
        assert await ws.receive_text() == "session on 1, audit on 1, True, 1"
        assert log == rounds(0) + rounds(1)


async def test_a_factory_gets_what_handlers_get(wireloom_server: Any) -> None:
    app = App()

    def factory(
        connection: Connection,
        request: Request,
        hub: wireloom.Hub,
        room: int,
        *,
        limit: Annotated[int, Query()] = 5,
    ) -> list[Any]:
        return [connection is request.connection, hub is app.hub, room, limit, request.message]

    @app.websocket("/{room}")
    async def handler(message: str, made: Annotated[list[Any], Provide(factory)]) -> str:
        return repr(made)

    async with wireloom_server(app) as server:
        async with server.websocket("/7?limit=9") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "[True, True, 7, 9, 'x']"
        with pytest.raises(wireloom.testing.HandshakeFailed) as caught:  # the factory's path parameter, checked early
            await server.websocket("/seven").__aenter__()
        assert caught.value.status == 404


async def test_dependencies_of_concurrent_messages_are_apart(wireloom_server: Any) -> None:
    app, gate, open_now, most = App(), asyncio.Event(), set(), []

    async def factory() -> AsyncIterator[object]:
        mine = object()
        open_now.add(mine)
        yield mine
        open_now.discard(mine)

    @app.websocket("/", concurrency=3)
    async def handler(message: str, mine: Annotated[object, Provide(factory)]) -> str:
        assert mine in open_now
        most.append(len(open_now))
        if len(most) == 3:
            gate.set()
        await gate.wait()
        return message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        for _ in range(3):
            await ws.send_text("x")
        assert [await ws.receive_text() for _ in range(3)] == ["x"] * 3
    assert max(most) == 3
    assert open_now == set()


async def test_a_dependency_of_a_stream_lives_as_long_as_the_stream(wireloom_server: Any) -> None:
    app, log, gate, released = App(), [], asyncio.Event(), asyncio.Event()

    async def factory() -> AsyncIterator[str]:
        log.append("made")
        try:
            yield "value"
        finally:
            log.append("released")
            released.set()

    @app.websocket("/")
    async def handler(message: str, made: Annotated[str, Provide(factory)]) -> AsyncIterator[str]:
        yield made
        await gate.wait()
        yield "last"

    async with wireloom_server(app) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "value"
            assert log == ["made"]
            gate.set()
            assert await ws.receive_text() == "last"
            await soon(released.wait())
        gate.clear()
        released.clear()
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "value"
        await soon(released.wait())  # the client has left in the middle
    assert log == ["made", "released"] * 2


async def test_a_plain_handler_takes_dependencies_too(wireloom_server: Any) -> None:
    app, log = App(), []

    @app.websocket("/")
    def handler(message: str, made: Annotated[str, Provide(factories(log)["async generator"])]) -> str:
        log.append("handled")
        return made

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "value"
    assert log == ["made", "handled", "released"]


async def test_a_generator_may_set_context_variables_and_reset_them(wireloom_server: Any) -> None:
    app = App()
    current: ContextVar[str] = ContextVar("current", default="nobody")

    async def factory(request: Request) -> AsyncIterator[None]:
        token = current.set(request.message)
        yield None
        current.reset(token)

    @app.websocket("/")
    async def handler(message: str, made: Annotated[None, Provide(factory)]) -> str:
        return current.get()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("alice")
        assert await ws.receive_text() == "alice"
        await ws.send_text("bob")
        assert await ws.receive_text() == "bob"
    assert current.get() == "nobody"


async def test_a_factory_may_be_a_class(wireloom_server: Any) -> None:
    app = App()

    class Session:
        def __init__(self, room: int) -> None:
            self.room = room

    @app.websocket("/{room}")
    async def handler(message: str, room: int, made: Annotated[Session, Provide(Session)]) -> str:
        return f"{type(made).__name__} of {made.room}"

    async with wireloom_server(app) as server, server.websocket("/7") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "Session of 7"


async def test_a_factory_may_be_a_partial_or_an_object(wireloom_server: Any) -> None:
    app = App()

    def add(first: int, room: int) -> int:
        return first + room

    class Factory:
        async def __call__(self, room: int) -> int:
            return room * 2

    @app.websocket("/{room}")
    async def handler(
        message: str,
        partial: Annotated[int, Provide(functools.partial(add, 10))],
        called: Annotated[int, Provide(Factory())],
    ) -> str:
        return f"{partial} {called}"

    async with wireloom_server(app) as server, server.websocket("/7") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "17 14"


def test_a_dependency_that_needs_itself_is_told_at_registration() -> None:
    def first(other: Any) -> int:
        return 1

    def second(other: Annotated[int, Provide(first)]) -> int:
        return 2

    first.__annotations__["other"] = Annotated[int, Provide(second)]
    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: .*circle"):

        @wireloom.websocket("/")
        async def handler(message: str, made: Annotated[int, Provide(first)]) -> None:
            """Nothing."""
