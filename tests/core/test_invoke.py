"""invoke: one run of an endpoint whose reply is not a message of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from wireloom.core.codec import Codec, ReplyInvalid
from wireloom.core.dispatch import invoke
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.errors import (
    ConnectionClosed,
    Deny,
    Disconnect,
    InternalError,
    RequestError,
    Unauthorized,
    ValidationFailed,
)

pytestmark = pytest.mark.anyio


class Caller:
    """A connection to which nothing may be sent: the reply is the result."""

    def __init__(self, cancelled: bool = False) -> None:
        self.cancelled = cancelled

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"invoke has used {name}")


def codec(log: list[str]) -> Codec:
    def decode(payload: str | bytes) -> Any:
        log.append("decode")
        if payload == b"wrong":
            raise ValidationFailed([{"path": "$.a", "message": "no"}])
        return payload

    def encode(reply: Any) -> bytes:
        log.append("encode")
        if reply == "invalid":
            raise ReplyInvalid("it is wrong at $.a")
        if reply == "odd":
            raise TypeError("no JSON form")
        return f"<{reply}>".encode()

    return Codec(decode, encode, lambda error: b"")


def request(on_message: Callable[..., Any], log: list[str] | None = None, **fields: Any) -> Request:
    caller = fields.pop("caller", None) or Caller()
    log = [] if log is None else log
    return Request(Endpoint("walk", "walk", Door.EVENT, codec(log), on_message, source="app.py:7", **fields), caller)


def raising(error: BaseException) -> Callable[[Request], Any]:
    async def on_message(request: Request) -> None:
        raise error

    return on_message


async def test_the_reply_of_one_run_is_the_result() -> None:
    log: list[str] = []

    async def echo(request: Request) -> Any:
        log.append("run")
        return request.message.decode()

    made = request(echo, log)
    assert await invoke(made, b"hello") == b"<hello>"
    assert log == ["decode", "run", "encode"]
    assert made.message == b"hello"


async def test_no_reply_is_encoded_too() -> None:
    """Of what nothing is made is the codec's to say: an event makes an empty list of it."""

    async def nothing(request: Request) -> None: ...

    assert await invoke(request(nothing), b"x") == b"<None>"


async def test_a_stream_gives_the_list_of_all_its_replies_and_is_closed() -> None:
    log: list[str] = []

    async def stream(request: Request) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.append("closed")

    assert await invoke(request(stream, streams=True), b"x") == b"<[1, 2]>"
    assert log == ["closed"]


async def test_who_may_not_come_in_is_told_before_anything_is_decoded() -> None:
    log: list[str] = []

    async def deny(request: Request) -> Any:
        assert request.message is None
        log.append("authorize")
        raise Deny(401, "not you")

    async def forbid(request: Request) -> Any:
        raise Deny(403, "not you")

    async def refuse(request: Request) -> Any:
        raise RequestError("QUOTA", "Come back tomorrow")

    with pytest.raises(Unauthorized):
        await invoke(request(raising(AssertionError()), log, authorize=deny), b"wrong")
    assert log == ["authorize"]
    with pytest.raises(RequestError, match="FORBIDDEN: not you"):
        await invoke(request(raising(AssertionError()), log, authorize=forbid), b"wrong")
    with pytest.raises(RequestError, match="QUOTA"):
        await invoke(request(raising(AssertionError()), log, authorize=refuse), b"wrong")
    assert log == ["authorize"]


async def test_a_check_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> Any:
        raise ValueError("the database is away")

    log: list[str] = []
    with pytest.raises(InternalError):
        await invoke(request(raising(AssertionError()), log, authorize=fail), b"x")
    assert log == []
    assert len(caplog.records) == 1


async def test_a_message_that_is_wrong_does_not_run() -> None:
    with pytest.raises(ValidationFailed):
        await invoke(request(raising(AssertionError())), b"wrong")


@pytest.mark.parametrize("error", [RequestError("CODE", "message"), Unauthorized(), Disconnect(4000, "bye")])
async def test_what_is_raised_on_purpose_is_passed_on_and_not_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)) as caught:
        await invoke(request(raising(error)), b"x")
    assert caught.value is error
    assert caplog.records == []


@pytest.mark.parametrize("error", [ValueError("secret"), Deny(403), KeyError(), asyncio.CancelledError()])
async def test_a_bug_is_logged_once_with_the_id_that_is_raised(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InternalError) as caught:
        await invoke(request(raising(error)), b"x")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"error {caught.value.error_id} in handler of event walk (app.py:7)"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("reply", ["invalid", "odd"])
async def test_a_reply_that_cannot_be_written_is_a_bug(reply: str, caplog: pytest.LogCaptureFixture) -> None:
    async def give(request: Request) -> str:
        return reply

    with pytest.raises(InternalError):
        await invoke(request(give), b"x")
    assert len(caplog.records) == 1


async def test_a_connection_that_has_ended_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConnectionClosed):
        await invoke(request(raising(ConnectionClosed(1006))), b"x")
    assert caplog.records == []


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
async def test_what_ends_the_process_is_passed_on(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    made = request(raising(error))
    with pytest.raises(type(error)):
        await invoke(made, b"x")
    assert caplog.records == []


async def test_a_cancellation_that_the_connection_asked_for_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(asyncio.CancelledError):
        await invoke(request(raising(asyncio.CancelledError()), caller=Caller(cancelled=True)), b"x")
    assert caplog.records == []


@pytest.mark.parametrize("how", ["raises", "unwritable"])
async def test_a_stream_is_closed_whatever_ends_it(how: str, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    async def stream(request: Request) -> AsyncIterator[int]:
        try:
            yield 1
            if how == "raises":
                raise ValueError("secret")
        finally:
            log.append("closed")

    made = request(stream, streams=True)
    if how == "unwritable":

        def encode(reply: Any) -> bytes:
            raise TypeError

        object.__setattr__(made.endpoint, "codec", Codec(lambda payload: payload, encode, lambda error: b""))
    with pytest.raises(InternalError):
        await invoke(made, b"x")
    assert log == ["closed"]
