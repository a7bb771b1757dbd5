"""Parameters are explained at registration and bound by compiled calls."""

import inspect
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from wireloom.core.endpoint import Parameter
from wireloom.core.provide import (
    Provide,
    Query,
    compile_bind,
    compile_call,
    describe_parameters,
    may_wait,
    read_parameters,
    source_of,
)
from wireloom.core.request import Request
from wireloom.errors import ConfigError, Deny

pytestmark = pytest.mark.anyio


class Service:
    """Explained by its annotation."""


SERVICES: dict[Any, Any] = {Request: "request", Service: Service()}


def request(message: Any = None, path: dict[str, Any] | None = None, query: dict[str, Any] | None = None) -> Request:
    caller = SimpleNamespace(path_params=path or {}, query_params=query or {})
    return Request(None, caller, message)  # type: ignore[arg-type]


async def test_a_compiled_call_passes_everything_in_its_place() -> None:
    async def factory(room: str) -> str:
        return room.upper()

    async def handler(
        service: Service,
        /,
        room: str,
        message: int,
        *,
        again: Request,
        limit: Annotated[int, Query()] = 5,
        made: Annotated[str, Provide(factory)],
    ) -> tuple[Any, ...]:
        return service, room, message, again, limit, made

    parameters = read_parameters(handler, ["room"], SERVICES, takes_message=True)
    assert parameters.message == ("message", int)
    one = request(7, {"room": "a"}, {"limit": 9})
    assert await compile_call(handler, parameters)(one) == (SERVICES[Service], "a", 7, one, 9, "A")


def test_the_first_unexplained_parameter_is_the_message() -> None:
    def handler(request: Request, payload: list[int]) -> None:
        """Nothing."""

    assert read_parameters(handler, [], SERVICES, takes_message=True).message == ("payload", list[int])
    with pytest.raises(ConfigError, match="'payload'"):
        read_parameters(handler, [], SERVICES, takes_message=False)


def test_an_annotated_type_without_a_mark_of_ours_is_itself() -> None:
    def handler(payload: Annotated[int, "a note"]) -> None:
        """Nothing."""

    assert read_parameters(handler, [], SERVICES, takes_message=True).message == ("payload", Annotated[int, "a note"])


@dataclass
class Note:
    """A mark of somebody else's, which cannot be hashed."""

    text: str


@pytest.mark.parametrize("annotation", [{"unhashable": 1}, [], Annotated[Any, Note("a")]], ids=str)
def test_an_annotation_that_cannot_be_hashed_is_no_service(annotation: Any) -> None:
    def handler(payload: Any) -> None:
        """Nothing."""

    handler.__annotations__["payload"] = annotation
    parameters = read_parameters(handler, [], SERVICES, takes_message=True)
    assert parameters.message is not None
    assert parameters.message[0] == "payload"


def test_binding_converts_path_and_query() -> None:
    def inner(key: uuid.UUID, tag: Annotated[list[int], Query("t")]) -> int:
        return 1

    def handler(number: int, made: Annotated[int, Provide(inner)], limit: Annotated[int, Query()] = 5) -> None:
        """Nothing."""

    bind = compile_bind([read_parameters(handler, ["number", "key", "free"], SERVICES, takes_message=False)])
    key = uuid.uuid4()
    raw = {"number": "7", "key": str(key), "free": "8"}
    assert bind(raw, "t=1&t=2") == ({"number": 7, "key": key, "free": "8"}, {"tag": [1, 2], "limit": 5})
    assert raw["number"] == "7"  # what was given is left alone
    for path, query, status in (
        ({**raw, "number": "x"}, "", 404),
        ({**raw, "key": "x"}, "", 404),
        (raw, "limit=x", 400),
        (raw, "t=x", 400),
    ):
        with pytest.raises(Deny) as caught:
            bind(path, query)
        assert caught.value.status == status


def test_binding_what_nobody_declares_costs_and_changes_nothing() -> None:
    bind = compile_bind([])
    raw = {"room": "a"}
    assert bind(raw, "limit=x") == (raw, {})


def test_a_query_without_its_parameter_gets_its_default_or_is_refused() -> None:
    def handler(tags: Annotated[list[str], Query()], limit: Annotated[int | None, Query()] = None) -> None:
        """Nothing."""

    def strict(limit: Annotated[int, Query()]) -> None:
        """Nothing."""

    bind = compile_bind([read_parameters(handler, [], SERVICES, takes_message=False)])
    assert bind({}, "") == ({}, {"tags": [], "limit": None})
    assert bind({}, "tags=&tags=a") == ({}, {"tags": ["", "a"], "limit": None})
    with pytest.raises(Deny, match="'limit' is missing"):
        compile_bind([read_parameters(strict, [], SERVICES, takes_message=False)])({}, "limits=1")


def test_parameters_are_told_of_with_their_types() -> None:
    def session(seat: int, page: Annotated[int, Query()] = 1) -> None: ...

    def handler(
        message: str,
        room: str,
        seat,  # type: ignore[no-untyped-def]
        db: Annotated[None, Provide(session)],
        since: Annotated[uuid.UUID, Query("from")],
        tags: Annotated[list[str], Query()],
        words: Annotated[list, Query()],  # type: ignore[type-arg]
        limit: Annotated[int, Query()] = 5,
        unsaid: Annotated[str | None, Query()] = None,
        odd: Annotated[str, Query()] = object(),  # type: ignore[assignment]
    ) -> None: ...

    parameters = read_parameters(handler, ["room", "seat"], {}, takes_message=True)
    text = {"type": "string"}
    assert sorted(describe_parameters([parameters]), key=lambda each: each.name) == [
        Parameter("from", "query", {"type": "string", "format": "uuid"}),
        Parameter("limit", "query", {"type": "integer", "default": 5}, False),
        Parameter("odd", "query", text, False),
        Parameter("page", "query", {"type": "integer", "default": 1}, False),
        Parameter("room", "path", text),
        Parameter("seat", "path", {"type": "integer"}),
        Parameter("tags", "query", {"type": "array", "items": text}, False),
        Parameter("unsaid", "query", {"anyOf": [text, {"type": "null"}]}, False),
        Parameter("words", "query", {"type": "array", "items": text}, False),
    ]


def test_two_functions_agree_on_a_query_parameter() -> None:
    """One of them would silently get the other's name, type or default."""

    def one(limit: Annotated[int, Query()] = 5) -> None:
        """Nothing."""

    def other_type(limit: Annotated[str, Query()] = "5") -> None:
        """Nothing."""

    def other_name(limit: Annotated[int, Query("l")] = 5) -> None:
        """Nothing."""

    def other_default(limit: Annotated[int, Query()] = 6) -> None:
        """Nothing."""

    first = read_parameters(one, [], SERVICES, takes_message=False)
    compile_bind([first, first])
    for function in (other_type, other_name, other_default):
        with pytest.raises(ConfigError, match="'limit'"):
            compile_bind([first, read_parameters(function, [], SERVICES, takes_message=False)])


async def test_a_generator_that_streams_keeps_its_dependency_to_the_end() -> None:
    log = []

    async def factory() -> AsyncIterator[int]:
        log.append("made")
        yield 1
        log.append("released")

    async def handler(message: int, made: Annotated[int, Provide(factory)]) -> AsyncIterator[int]:
        for number in range(message):
            yield number + made

    parameters = read_parameters(handler, [], SERVICES, takes_message=True)
    got = []
    async for value in compile_call(handler, parameters)(request(2)):
        got.append((value, list(log)))
    assert got == [(1, ["made"]), (2, ["made"])]
    assert log == ["made", "released"]


# -- handlers that never wait -----------------------------------------------------------------------------------------


async def never(message: Any) -> Any:
    return [x for x in message]


async def awaits(message: Any) -> None:
    await message


async def opens(message: Any) -> None:
    async with message:
        pass


async def loops(message: Any) -> None:
    async for _ in message:
        pass


async def comprehends(message: Any) -> Any:
    return [x async for x in message]


async def hides_it(message: Any) -> Any:
    if message == "never":
        await message


async def made_inside(message: Any) -> Any:
    async def inner() -> None:
        await message

    return inner


def plain(message: Any) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("function", "waits"),
    [
        (never, False),
        (made_inside, False),
        (awaits, True),
        (opens, True),
        (loops, True),
        (comprehends, True),
        (hides_it, True),
        (plain, True),
    ],
)
def test_a_handler_that_never_waits_is_known_by_its_code(function: Any, waits: bool) -> None:
    assert may_wait(function, read_parameters(function, [], SERVICES, takes_message=True)) is waits


if sys.version_info >= (3, 12):  # marks came with it

    def test_a_plain_function_that_is_marked_as_coroutine_function_may_wait() -> None:
        """Its coroutine is made elsewhere, as by some decorators; its own code shows nothing."""

        def decorated(message: Any) -> Any:
            return awaits(message)

        inspect.markcoroutinefunction(decorated)
        assert may_wait(decorated, read_parameters(decorated, [], SERVICES, takes_message=True)) is True


def test_a_dependency_may_wait() -> None:
    async def handler(message: Any, made: Annotated[int, Provide(lambda: 1)]) -> None:
        """Nothing."""

    assert may_wait(handler, read_parameters(handler, [], SERVICES, takes_message=True)) is True


def test_the_source_is_that_of_the_function_inside() -> None:
    line = never.__code__.co_firstlineno
    assert source_of(never) == f"{__file__}:{line}"
    assert source_of(print) == ""
