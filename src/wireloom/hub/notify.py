"""Notify: publications from any code, in any thread, and from processes that serve nothing.

Laws:
- A call returns at once. Only the first in a process that serves nothing waits, for the backplane.
- What one caller sends to one target arrives in that order.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from wireloom.config import load_config
from wireloom.core.caller import current_caller
from wireloom.core.topic import CONTROL, Topic, channel, client, user
from wireloom.errors import NoHub
from wireloom.hub.backplane.base import Publication
from wireloom.hub.backplane.choose import make_backplane
from wireloom.hub.connection import Connection, encode_payload
from wireloom.hub.hub import Hub
from wireloom.hub.logins import encode_revocation

__all__ = ["WEBSOCKET_MANAGER", "Notify", "notify"]

_START_SECONDS = 10.0
_FLUSH_SECONDS = 5.0

Connect = Callable[[], Hub]


class Notify:
    """Sends data to users, channels and clients: ``notify.channels(["room-1"], {"text": "hi"})``.

    Inside an application it publishes by the application's hub. Elsewhere, in a task queue's worker or a cron job, it
    connects to the backplane by itself, when first used, on a thread of its own.

    Args:
        connect: makes the hub of a process that serves nothing.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._hubs: list[tuple[int, Hub]] = []  # with the process that they run in: a fork copies this, not the loop
        self._publisher: _Publisher | None = None
        self._lock = threading.Lock()

    # -- sending -----------------------------------------------------------------------------------------------------

    def self(self, data: Any) -> None:
        """Sends to the connection whose message or event runs this code; does nothing elsewhere."""
        caller = current_caller.get(None)
        if not isinstance(caller, Connection):
            return
        hub = self._hub_of(caller)
        if hub is None or _runs_here(hub.loop):
            caller.send(data)
        else:
            payload, text = encode_payload(data)  # now: the caller may change it afterwards
            hub.loop.call_soon_threadsafe(caller.send_encoded if text else caller.send_bytes, payload)

    def users(self, roots: Iterable[Any], data: Any, *, key: str = "") -> None:
        """Sends to every connection of some users.

        Args:
            roots: root ids, or whatever has one as `root_id` or `id`.
            data: `str` goes out as text, bytes as binary, anything else as JSON.
            key: what this is the newest state of, for readers whose policy is to conflate.

        Raises:
            NoHub: nothing in this process can publish.
        """
        self._publish([user(_root_id(root)) for root in _list(roots)], data, key)

    def channels(self, names: Iterable[str], data: Any, *, key: str = "") -> None:
        """Sends to every subscriber of some channels; arguments as for `users`."""
        self._publish([channel(name) for name in _texts(names)], data, key)

    def clients(self, client_ids: Iterable[str], data: Any, *, key: str = "") -> None:
        """Sends to some connections, whichever process holds them; arguments as for `users`."""
        self._publish([client(client_id) for client_id in _texts(client_ids)], data, key)

    notify_self = self
    notify_users = users
    notify_channels = channels
    notify_clients = clients

    def connect(self, url: str, prefix: str = "wireloom") -> None:
        """Names the backplane for a process that serves nothing, in place of ``WIRELOOM_BACKPLANE``.

        Args:
            url: ``redis://…`` or ``nats://…``, as the application's option ``backplane`` has it.
            prefix: as the application's option ``backplane_prefix`` has it.
        """
        with self._lock:
            self._connect = lambda: _connect(url, prefix)
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.stop()

    def flush(self, timeout: float = _FLUSH_SECONDS) -> None:
        """Waits until what a process that serves nothing has sent is with the backplane. Happens by itself at exit.

        Args:
            timeout: seconds.
        """
        publisher = self._publisher
        if publisher is not None and publisher.pid == os.getpid():
            publisher.flush(timeout)

    def revoked(self, *, user_id: str = "", token_id: str = "") -> None:
        """Tells every process that all logins of a user have ended, or those of one token.

        Raises:
            NoHub: nothing in this process can publish.
        """
        self._send([Publication(CONTROL, encode_revocation(user_id, token_id), True)])

    def _publish(self, topics: list[Topic], data: Any, key: str) -> None:
        payload, text = encode_payload(data)
        self._send([Publication(topic, payload, text, key) for topic in dict.fromkeys(topics)])

    def _send(self, publications: list[Publication]) -> None:
        hub = self._hub()
        if _runs_here(hub.loop):
            _publish_all(hub, publications)
        else:
            hub.loop.call_soon_threadsafe(_publish_all, hub, publications)

    # -- by which hub ------------------------------------------------------------------------------------------------

    def attach(self, hub: Hub) -> None:
        """An application runs in this process."""
        self._hubs.append((os.getpid(), hub))

    def detach(self, hub: Hub) -> None:
        """It has ended."""
        self._hubs.remove((os.getpid(), hub))

    def _hub(self) -> Hub:
        """The hub of the application whose code runs; else the newest that runs here; else one of our own."""
        caller = current_caller.get(None)
        hub = self._hub_of(caller) if isinstance(caller, Connection) else None
        if hub is not None:
            return hub
        if running := self._running():
            return running[-1]
        with self._lock:
            if self._publisher is None or self._publisher.pid != os.getpid():  # threads do not survive a fork
                self._publisher = _Publisher(self._connect())
            return self._publisher.hub

    def _hub_of(self, connection: Connection) -> Hub | None:
        return next((hub for hub in self._running() if hub is connection.registry), None)

    def _running(self) -> list[Hub]:
        pid = os.getpid()
        return [hub for started_in, hub in self._hubs if started_in == pid]


class _Publisher:
    """A hub without connections, on a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.pid = os.getpid()
        self._started: Future[None] = Future()
        self._leave: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="wireloom-notify", daemon=True)
        self._thread.start()
        self._started.result(_START_SECONDS)
        atexit.register(self.stop)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._leave = asyncio.Event()
        try:
            await self.hub.start()
        except BaseException as error:
            self._started.set_exception(error)  # the caller's to hear, whatever it is
            return
        self._started.set_result(None)
        await self._leave.wait()
        await self.hub.stop()

    def flush(self, timeout: float) -> None:
        asyncio.run_coroutine_threadsafe(self.hub.backplane.flush(), self.hub.loop).result(timeout)

    def stop(self) -> None:
        """Sends what still waits and ends the thread."""
        if self._thread.is_alive() and self._leave is not None and self.pid == os.getpid():
            self.hub.loop.call_soon_threadsafe(self._leave.set)
            self._thread.join(_FLUSH_SECONDS)


def _publish_all(hub: Hub, publications: list[Publication]) -> None:
    for publication in publications:
        hub.send(publication)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:  # no event loop runs in this thread
        return False


def _list(targets: Iterable[Any]) -> list[Any]:
    if isinstance(targets, str):
        raise TypeError(f"notify takes a list of targets, not the text {targets!r}")
    return list(targets)


def _texts(targets: Iterable[str]) -> list[str]:
    texts = _list(targets)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"notify takes names and ids as text, not {type(text).__name__}")
    return texts


def _root_id(root: Any) -> str:
    if isinstance(root, str):
        return root
    found = getattr(root, "root_id", None) or getattr(root, "id", None)
    if not isinstance(found, str):
        raise TypeError(f"notify.users takes root ids or what has one as root_id, not {type(root).__name__}")
    return found


def _connect_by_config() -> Hub:
    """A hub on the backplane that the environment or ``wireloom.toml`` names."""
    config = load_config()
    if config.backplane == "memory":
        raise NoHub(
            "no application runs in this process and there is no backplane to reach one by;"
            " set WIRELOOM_BACKPLANE to its redis:// or nats:// URL, or call notify.connect(url)"
        )
    return _connect(config.backplane, config.backplane_prefix)


def _connect(url: str, prefix: str) -> Hub:
    return Hub(make_backplane(url, prefix))


notify = Notify(_connect_by_config)
"""The process's own, as ``from wireloom import notify``."""

WEBSOCKET_MANAGER = notify
"""The same under the name that walkers of the older system import: `notify_self`, `notify_users` and so on."""
