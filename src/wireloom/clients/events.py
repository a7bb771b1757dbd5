"""Events and listeners as the DOM Standard has them, for one object that nothing contains.

Laws:
- Listeners are called in the order of their addition; one that is removed is not called any more, one that is added
  during a dispatch is not called in it.
- What a listener raises is told to the event loop's exception handler and stops nobody.
- Asynchronous listeners run beside each other; how many may is for the target to say, which hears when one has ended.
- Every name exists in snake_case and in the Standard's camelCase.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from inspect import iscoroutine
from typing import Any, Protocol, TypeAlias, overload

__all__ = ["CloseEvent", "Event", "EventTarget", "Handler", "HandlerAttribute", "Listener", "MessageEvent"]


class Event:
    """Something that has happened (DOM §2.2).

    Args:
        type: such as ``"open"``.

    Attributes:
        target: where it happened; None before.
        current_target: the same while listeners are called, None before and after.
        time_stamp: when it was made, in milliseconds of the monotonic clock.
        is_stopped: whether no further listener hears of it in this dispatch.
    """

    def __init__(self, type: str) -> None:
        self.type = type
        self.target: EventTarget | None = None
        self.current_target: EventTarget | None = None
        self.time_stamp = time.monotonic() * 1000
        self.is_stopped = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type!r}>"

    def stop_immediate_propagation(self) -> None:
        """Lets no further listener hear of it."""
        self.is_stopped = True

    stopImmediatePropagation = stop_immediate_propagation

    @property
    def currentTarget(self) -> EventTarget | None:
        """The Standard's spelling of `current_target`."""
        return self.current_target

    @property
    def timeStamp(self) -> float:
        """The Standard's spelling of `time_stamp`."""
        return self.time_stamp


class MessageEvent(Event):
    """A message has arrived.

    Args:
        type: ``"message"``.
        data: what has arrived: `str`, or bytes of the kind that `WebSocket.binary_type` names.
        origin: scheme, host and port of the server.
    """

    def __init__(self, type: str, *, data: Any = None, origin: str = "") -> None:
        super().__init__(type)
        self.data = data
        self.origin = origin


class CloseEvent(Event):
    """The connection has ended (WebSockets Standard §6).

    Args:
        type: ``"close"``.
        code: the server's close code; 1005 if it sent none, 1006 if it sent no close frame.
        reason: the server's reason.
        was_clean: whether the closing handshake was completed.
    """

    def __init__(self, type: str, *, code: int = 0, reason: str = "", was_clean: bool = False) -> None:
        super().__init__(type)
        self.code = code
        self.reason = reason
        self.was_clean = was_clean

    @property
    def wasClean(self) -> bool:
        """The Standard's spelling of `was_clean`."""
        return self.was_clean


Handler: TypeAlias = Callable[[Any], Any]


class _HandleEvent(Protocol):
    def handle_event(self, event: Any, /) -> Any: ...


class _HandleEventCamel(Protocol):
    def handleEvent(self, event: Any, /) -> Any: ...


Listener: TypeAlias = Handler | _HandleEvent | _HandleEventCamel


class _Entry:
    """One line of the list of listeners."""

    __slots__ = ("callback", "is_attribute", "is_removed", "once", "type")

    def __init__(self, type: str, callback: Listener, once: bool, is_attribute: bool = False) -> None:
        self.type = type
        self.callback = callback
        self.once = once
        self.is_attribute = is_attribute
        self.is_removed = False


class EventTarget:
    """Where events happen (DOM §2.7)."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def add_event_listener(
        self,
        type: str,
        callback: Listener | None,
        options: Mapping[str, Any] | bool | None = None,
        *,
        once: bool = False,
    ) -> None:
        """Adds a listener; nothing if it is there already, or None.

        Args:
            type: of the events.
            callback: a function, asynchronous or not, or an object with `handle_event` or `handleEvent`.
            options: ``{"once": True}``; other members and a plain truth value mean nothing here.
            once: removes it before its first call.

        Raises:
            TypeError: it cannot be called.
        """
        if callback is None:
            return
        _function(callback)
        if not any(entry.callback == callback for entry in self._entries_of(type) if not entry.is_attribute):
            wanted = options.get("once", False) if isinstance(options, Mapping) else False
            self._entries.append(_Entry(type, callback, once or bool(wanted)))

    def remove_event_listener(self, type: str, callback: Listener | None, options: object = None) -> None:
        """Removes a listener, also in the middle of a dispatch; nothing if it is not there.

        Args:
            options: means nothing here.
        """
        for entry in self._entries_of(type):
            if not entry.is_attribute and entry.callback == callback:
                self._remove(entry)
                return

    def dispatch_event(self, event: Event) -> bool:
        """Calls the listeners of an event; always True, since no event here can be cancelled."""
        event.target = event.current_target = self
        for entry in self._entries_of(event.type):
            if event.is_stopped:
                break
            if not entry.is_removed:
                if entry.once:
                    self._remove(entry)
                self._call(entry.callback, event)
        event.current_target = None
        event.is_stopped = False  # DOM §2.9: it may be dispatched again
        return True

    addEventListener = add_event_listener
    removeEventListener = remove_event_listener
    dispatchEvent = dispatch_event

    def has_listener(self, type: str) -> bool:
        """Whether anybody listens for such events."""
        return any(entry.type == type for entry in self._entries)

    def _entries_of(self, type: str) -> list[_Entry]:
        return [entry for entry in self._entries if entry.type == type]

    def _remove(self, entry: _Entry) -> None:
        entry.is_removed = True
        self._entries.remove(entry)

    def _call(self, callback: Listener, event: Event) -> None:
        try:
            result = _function(callback)(event)
            if iscoroutine(result):
                self._start(result, event.type)
        except (Exception, asyncio.CancelledError) as error:  # of something else, whose result the listener took
            self._report(error, event.type)

    def _start(self, coroutine: Coroutine[Any, Any, Any], type: str) -> None:
        """Runs an asynchronous listener, on Python 3.12 and later up to its first wait at once."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any]
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=loop, eager_start=True)
        else:
            task = asyncio.Task(coroutine, loop=loop)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, type))

    def _ended(self, type: str, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._has_ended()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error, type)

    def _has_ended(self) -> None:
        """An asynchronous listener has ended."""

    def _report(self, error: BaseException, type: str) -> None:
        message = f"exception in a listener for {type!r} of {self!r}"
        asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    # -- on… attributes -----------------------------------------------------------------------------------------------

    def _attribute(self, type: str) -> _Entry | None:
        return next((entry for entry in self._entries_of(type) if entry.is_attribute), None)

    def _set_attribute(self, type: str, callback: Handler | None) -> None:
        entry = self._attribute(type)
        if callback is None:
            if entry is not None:
                self._remove(entry)
        elif not callable(callback):
            raise TypeError(f"on{type} is a function or None, not {callback!r}")
        elif entry is not None:
            entry.callback = callback
        else:
            self._entries.append(_Entry(type, callback, False, is_attribute=True))


class HandlerAttribute:
    """An ``on…`` attribute (HTML §8.1.8.1): a listener whose place in the order is that of its first setting.

    Args:
        type: of the events.
    """

    def __init__(self, type: str) -> None:
        self._type = type

    @overload
    def __get__(self, target: None, owner: type) -> HandlerAttribute: ...

    @overload
    def __get__(self, target: EventTarget, owner: type) -> Handler | None: ...

    def __get__(self, target: EventTarget | None, owner: type) -> Any:
        if target is None:
            return self
        entry = target._attribute(self._type)
        return entry.callback if entry is not None else None

    def __set__(self, target: EventTarget, callback: Handler | None) -> None:
        target._set_attribute(self._type, callback)


def _function(callback: Any) -> Handler:
    """What to call.

    Raises:
        TypeError: nothing.
    """
    if callable(callback):
        return callback  # type: ignore[no-any-return]
    method = getattr(callback, "handle_event", None) or getattr(callback, "handleEvent", None)
    if not callable(method):
        raise TypeError(f"a listener is a function or has handle_event, not {callback!r}")
    return method  # type: ignore[no-any-return]
