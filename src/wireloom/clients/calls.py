"""Calls: requests of the event socket that wait for their replies, told apart by ids that nobody can guess."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from wireloom.errors import RequestError

__all__ = ["Calls", "Reply"]

Reply: TypeAlias = dict[str, Any]


class _Tagged(msgspec.Struct):
    id: str | int | None = None


_read_tag = msgspec.json.Decoder(_Tagged).decode


class Calls:
    """The requests of one connection."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str | int, asyncio.Future[Reply]] = {}

    def begin(self, event: Mapping[str, Any]) -> tuple[str, asyncio.Future[Reply]]:
        """The text to send for an event, and the future of its reply.

        Args:
            event: with an id of its own, or it gets one.

        Raises:
            ValueError: that id is waiting already, or is none.
            TypeError: what JSON cannot express.
        """
        call_id = event.get("id") or secrets.token_hex(8)
        if not isinstance(call_id, str | int) or call_id in self._waiting:
            raise ValueError(f"the id {call_id!r} is neither text nor a number, or waits for a reply already")
        wanted = {"response": True} if event.get("type") == "walker" else {}
        text = msgspec.json.encode({**event, **wanted, "id": call_id}).decode()
        reply = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda _: self._waiting.pop(call_id, None))
        return text, reply

    def answer(self, message: str | bytes) -> bool:
        """Whether a message is a reply that somebody waits for; it is given to them."""
        if not self._waiting or not isinstance(message, str) or '"id"' not in message:
            return False
        try:
            call_id = _read_tag(message).id
            reply = None if call_id is None else self._waiting.get(call_id)
            if reply is None or reply.done():
                return False
            content = msgspec.json.decode(message)
        except (msgspec.MsgspecError, RecursionError):
            return False
        if "error" in content:
            reply.set_exception(_refusal(content["error"]))
        else:
            reply.set_result(content)
        return True

    def fail(self, error: Exception) -> None:
        """No reply will come any more."""
        for reply in list(self._waiting.values()):
            if not reply.done():
                reply.set_exception(error)
                reply.exception()  # whoever waited may have left


def _refusal(error: Any) -> RequestError:
    """An error as the event socket tells it: text, or an object with code, message and perhaps a path."""
    if not isinstance(error, dict):
        return RequestError("REFUSED", str(error))
    path = f" (at {error['path']})" if "path" in error else ""
    return RequestError(str(error.get("code", "REFUSED")), f"{error.get('message', '')}{path}")
