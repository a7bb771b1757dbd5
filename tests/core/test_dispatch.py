"""Dispatch without a server: what each outcome of a handler does to a connection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from wireloom.core.caller import current_caller
from wireloom.core.codec import Codec, ReplyInvalid
from wireloom.core.dispatch import compile_direct, compile_dispatch, context_of, log_bug, run_hook
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.errors import ConnectionClosed, Disconnect, InternalError, RequestError, ValidationFailed

pytestmark = pytest.mark.anyio


class Caller:
    """A connection that notes what is done to it."""

    def __init__(self, cancelled: bool = False) -> None:
        self.log: list[tuple[str, Any]] = []
        self.cancelled = cancelled

    def send_encoded(self, payload: bytes) -> None:
        self.log.append(("json", payload))

    def send(self, data: Any) -> None:
        self.log.append(("raw", data))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.log.append(("close", (code, reason)))

    async def drain(self) -> None:
        self.log.append(("drain", None))


def decode(payload: str | bytes) -> Any:
    if payload == "wrong":
        raise ValidationFailed([])
    return payload


def encode(reply: Any) -> bytes:
    if reply == "invalid":
        raise ReplyInvalid("it is wrong at $.a")
    return f"<{reply}>".encode()


def encode_error(error: RequestError) -> bytes:
    return f"{type(error).__name__} {getattr(error, 'error_id', error.code)}".encode()


def endpoint(on_message: Callable[[Request], Any], *, json: bool = True, **fields: Any) -> Endpoint:
    codec = Codec(decode, encode, encode_error, json)
    return Endpoint("name", "/path", Door.WEBSOCKET, codec, on_message, source="app.py:7", **fields)


def raising(error: BaseException) -> Callable[[Request], Any]:
    async def on_message(request: Request) -> None:
        raise error

    return on_message


async def dispatched(on_message: Callable[[Request], Any], payload: str | bytes = "x", **fields: Any) -> list[Any]:
    """What one message does, whether dispatched as a coroutine or directly."""
    caller = Caller()
    await compile_dispatch(endpoint(on_message, **fields))(caller, payload)
    direct = compile_direct(endpoint(on_message, waits=False, **fields))
    if direct is not None and "streams" not in fields:
        again = Caller()
        direct(context_of(again), again, payload)
        if not any(b"InternalError" in value for kind, value in caller.log if kind == "json"):
            assert again.log == caller.log
    return caller.log


async def echo(request: Request) -> Any:
    return request.message


async def test_a_reply_is_encoded_and_sent() -> None:
    assert await dispatched(echo) == [("json", b"<x>")]
    assert await dispatched(echo, json=False) == [("raw", b"<x>")]


async def test_none_sends_nothing_but_other_empty_replies_are_sent() -> None:
    async def reply_none(request: Request) -> None:
        return None

    assert await dispatched(reply_none) == []
    for empty in ("", 0, False, [], {}):

        async def reply_empty(request: Request, value: Any = empty) -> Any:
            return value

        assert await dispatched(reply_empty) == [("json", f"<{empty}>".encode())]


async def test_the_handler_is_not_called_with_what_cannot_be_decoded() -> None:
    called = []

    async def on_message(request: Request) -> None:
        called.append(request)

    assert await dispatched(on_message, "wrong") == [("json", b"ValidationFailed VALIDATION_ERROR")]
    assert called == []


async def test_each_class_of_error_has_its_consequence(caplog: pytest.LogCaptureFixture) -> None:
    assert await dispatched(raising(RequestError("CODE", "message"))) == [("json", b"RequestError CODE")]
    assert await dispatched(raising(Disconnect(4000, "bye"))) == [("close", (4000, "bye"))]
    assert await dispatched(raising(ConnectionClosed(1006))) == []
    assert caplog.records == []


async def test_a_reply_that_breaks_its_schema_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caller = Caller()
    await compile_dispatch(endpoint(echo))(caller, "invalid")
    assert caller.log == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "reply of websocket /path dropped: it is wrong at $.a (app.py:7)"


async def test_a_bug_is_logged_once_with_the_id_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bug = ValueError("secret")
    caller = Caller()
    await compile_dispatch(endpoint(raising(bug)))(caller, "x")
    (record,) = caplog.records
    ((kind, told),) = caller.log
    name, error_id = told.decode().split()
    assert (kind, name) == ("json", InternalError.__name__)
    assert record.getMessage() == f"error {error_id} in handler of websocket /path (app.py:7)"
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


async def test_a_stream_drains_after_each_value() -> None:
    async def stream(request: Request) -> AsyncIterator[int]:
        yield 1
        yield 2

    assert await dispatched(stream, streams=True) == [
        ("json", b"<1>"), ("drain", None), ("json", b"<2>"), ("drain", None),
    ]  # fmt: skip
    assert (await dispatched(stream, streams=True, json=False))[0] == ("raw", b"<1>")


@pytest.mark.parametrize("how", ["invalid", "closed", "cancelled"])
async def test_a_stream_is_closed_whatever_ends_it(how: str) -> None:
    log: list[str] = []

    async def stream(request: Request) -> AsyncIterator[str]:
        try:
            yield "first"
            yield how
            log.append("never")
        finally:
            log.append("closed")

    class Leaving(Caller):
        async def drain(self) -> None:
            if len(self.log) == 2 and how == "closed":
                raise ConnectionClosed(1006)
            if len(self.log) == 2 and how == "cancelled":
                raise asyncio.CancelledError

    caller = Leaving(cancelled=how == "cancelled")
    dispatch = compile_dispatch(endpoint(stream, streams=True))(caller, "x")
    if how == "cancelled":
        with pytest.raises(asyncio.CancelledError):
            await dispatch
    else:
        await dispatch
    assert log == ["closed"]
    assert len(caller.log) == (1 if how == "invalid" else 2)


async def test_a_cancellation_ends_the_handler_only_where_the_connection_was_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caller = Caller(cancelled=True)
    with pytest.raises(asyncio.CancelledError):
        await compile_dispatch(endpoint(raising(asyncio.CancelledError())))(caller, "x")
    assert (caller.log, caplog.records) == ([], [])
    caller = Caller()
    await compile_dispatch(endpoint(raising(asyncio.CancelledError())))(caller, "x")
    assert [kind for kind, _ in caller.log] == ["json"]
    assert len(caplog.records) == 1


def test_only_a_handler_that_never_waits_is_called_directly() -> None:
    assert compile_direct(endpoint(echo)) is None
    assert compile_direct(endpoint(echo, waits=False, streams=True)) is None
    assert compile_direct(endpoint(echo, waits=False)) is not None


async def test_direct_goes_on_after_an_exception_that_ends_it() -> None:
    async def on_message(request: Request) -> Any:
        if request.message == "exit":
            raise SystemExit(1)
        return request.message

    direct, caller = compile_direct(endpoint(on_message, waits=False)), Caller()
    assert direct is not None
    context = context_of(caller)
    direct(context, caller, "one")
    with pytest.raises(SystemExit):
        direct(context, caller, "exit")
    direct(context, caller, "two")
    assert caller.log == [("json", b"<one>"), ("json", b"<two>")]


async def test_direct_handlers_know_their_connection_and_leave_no_trace_in_its_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="untouched")
    seen = []

    async def on_message(request: Request) -> None:
        seen.append((current_caller.get(), variable.get()))
        variable.set("touched")

    direct, caller = compile_direct(endpoint(on_message, waits=False)), Caller()
    assert direct is not None
    context = context_of(caller)
    for _ in range(2):
        direct(context, caller, "x")
    assert seen == [(caller, "untouched")] * 2
    assert current_caller.get(None) is None


async def test_hooks_tell_whether_they_went_well(caplog: pytest.LogCaptureFixture) -> None:
    requests = []

    async def fine(request: Request) -> None:
        requests.append(request)

    caller = Caller()
    assert await run_hook(endpoint(echo), "on_connect", caller) is True
    assert await run_hook(endpoint(echo, on_connect=fine), "on_connect", caller) is True
    assert (requests[0].connection, requests[0].message) == (caller, None)
    assert await run_hook(endpoint(echo, on_connect=raising(Disconnect(4000, "no"))), "on_connect", caller) is False
    assert caller.log == [("close", (4000, "no"))]
    assert caplog.records == []
    bug = ValueError("secret")
    assert await run_hook(endpoint(echo, on_disconnect=raising(bug)), "on_disconnect", caller) is False
    (record,) = caplog.records
    assert "in on_disconnect of websocket /path (app.py:7)" in record.getMessage()
    assert caller.log == [("close", (4000, "no"))]


def test_ids_of_bugs_differ_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    ids = [log_bug(endpoint(echo), ValueError("x"), "here") for _ in range(3)]
    assert len(set(ids)) == 3
    for error_id, record in zip(ids, caplog.records, strict=True):
        assert record.getMessage() == f"error {error_id} in here of websocket /path (app.py:7)"
