"""Listener: what all connections of one application on one event loop share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from wireloom.config import Config
from wireloom.core.dispatch import Direct, Dispatch, IsRefused, compile_direct, compile_dispatch, compile_rate
from wireloom.core.endpoint import Endpoint
from wireloom.core.router import Router
from wireloom.errors import ConfigError, Deny
from wireloom.hub.census import Census, TooManyConnections
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub
from wireloom.hub.outbox import OutboxRules
from wireloom.net.drain import Drain, Restarted, advise
from wireloom.net.turns import Turns
from wireloom.net.wheel import Wheel
from wireloom.wire.deflate import DeflateSettings, ServerDeflate
from wireloom.wire.hosts import AllowedHosts
from wireloom.wire.messages import ReaderRules

if TYPE_CHECKING:
    from wireloom.tracing import Tracing

__all__ = ["Listener", "Plan", "Shell", "Swapped", "make_tracing"]

_COME_BACK_SECONDS = "5"  # that a client which found no room is told
_QUEUED_BYTES = 1024 * 1024  # that may wait for handlers where messages have no limit
_LAST_HOOKS_SECONDS = 1.0  # for on_disconnect when the drain's time is over
_LOOK_SECONDS = 0.02

StartTask: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class Plan:
    """An endpoint with all that its connections share."""

    endpoint: Endpoint
    dispatch: Dispatch
    direct: Direct | None
    is_refused: IsRefused | None
    reader_rules: ReaderRules
    outbox_rules: OutboxRules

    def is_full(self, messages: int, waiting_bytes: int) -> bool:
        """Whether so much waits for handlers that nothing more is read: many messages, or one of the largest."""
        limits = self.endpoint.limits
        return messages >= limits.inbound_queue or waiting_bytes >= (limits.max_message_bytes or _QUEUED_BYTES)


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a live reload did to open connections, hidden ones left out: how many go on, how many were closed."""

    kept: int
    closed: int


class Shell(Restarted, Protocol):
    """An open connection, as far as the end of the server and live reloads go."""

    connection: Connection

    @property
    def path(self) -> str:
        """What the router found it by."""

    def cut(self, reason: str) -> None:
        """Closes it at once: with 1001 where a handler runs, whose reply will not come, else with 1012."""

    def abort(self) -> None:
        """Ends it without a word."""

    def swap(self, plan: Plan) -> bool:
        """Handles what comes from now on by another plan; says whether it can."""


def _task_starter(loop: asyncio.AbstractEventLoop) -> StartTask:
    """Makes tasks that have already run up to their first wait where Python can do so (3.12 and later)."""
    if hasattr(asyncio, "eager_task_factory"):
        return functools.partial(asyncio.Task, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
    return loop.create_task


class Listener:
    """Routes, hub, limits and clock of one running application.

    Args:
        router: the WebSocket endpoints.
        hub: who is connected.
        config: the options in force.
        loop: the event loop of its connections.
    """

    def __init__(self, router: Router, hub: Hub, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.router = router
        self.hub = hub
        self.hub.census = Census(config.max_connections_per_ip, config.max_connections_per_user)
        self.config = config
        self.allowed_hosts = AllowedHosts(config.allowed_hosts)
        self.loop = loop
        self.start_task = _task_starter(self.loop)
        self.wheel = Wheel(self.loop)
        self.turns = Turns(self.loop)
        self.deflate = _deflate(config)
        self.tracing = hub.counts.observer = make_tracing(config)
        self.shells: set[Shell] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.ready = True  # whether balancers may send further clients
        self._drain = Drain(self.shells, config, loop)
        self._plans: dict[Endpoint, Plan] = {}

    async def start(self) -> None:
        """Starts the hub and the clock."""
        await self.hub.start()
        self.wheel.start()

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._drain.ends is not None

    def begin_drain(self) -> None:
        """The server stops: its time is running, and connections are closed by the drain's schedule."""
        self.ready = False
        self._drain.begin()

    async def drain(self) -> None:
        """Closes every connection, as the stop of our own server does, and waits for that within the drain's time."""
        self.begin_drain()
        while self.shells and self.loop.time() < (self._drain.ends or 0.0):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_LOOK_SECONDS)
        await self.end_connections()

    async def stop(self) -> None:
        """Ends what is left, then the hub."""
        await self.end_connections()
        self.wheel.stop()
        await self.hub.stop()

    async def end_connections(self) -> None:
        """Ends every connection that is left; the last hooks have what remains of the drain's time, then end too."""
        self.begin_drain()
        self._drain.end()
        cut = set(self.shells)
        for shell in cut:
            shell.cut(advise())
        for _ in range(2 if cut else 0):  # the transports write within these turns; an abort drops the rest
            await asyncio.sleep(0)
        for shell in cut | self.shells:  # one whose peer has answered is gone, and its handlers run on
            shell.abort()
        until = max(self._drain.ends or 0.0, self.loop.time() + _LAST_HOOKS_SECONDS)
        while (self.shells or self.tasks) and self.loop.time() < until:
            # a connection leaves a turn or two after its abort and may begin its last hook then
            await asyncio.wait({*self.tasks, self.loop.create_task(asyncio.sleep(0.01))}, return_when="FIRST_COMPLETED")
        self.stopping = True
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:  # one that does not heed it is left behind
            await asyncio.wait(self.tasks, timeout=_LAST_HOOKS_SECONDS)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Holds a task until it is done; the event loop itself only holds it weakly."""
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def plan(self, endpoint: Endpoint) -> Plan:
        """What the connections of an endpoint share, made with the first of them."""
        plan = self._plans.get(endpoint)
        if plan is None:
            limits = endpoint.limits
            plan = self._plans[endpoint] = Plan(
                endpoint,
                *self._compile(endpoint),
                compile_rate(endpoint),
                ReaderRules(True, limits.max_message_bytes, limits.max_fragments),
                OutboxRules(limits.outbox_bytes, limits.outbox_policy, endpoint.counts),
            )
        return plan

    def _compile(self, endpoint: Endpoint) -> tuple[Dispatch, Direct | None]:
        dispatch, direct, tracing = compile_dispatch(endpoint), compile_direct(endpoint), self.tracing
        if tracing is None:
            return dispatch, direct
        return tracing.dispatch(endpoint, dispatch), direct and tracing.direct(endpoint, direct)

    def swap(self, router: Router) -> Swapped:
        """Serves other endpoints from now on. A connection goes on with the one at the path of its old one, and is
        closed where there is none, or where a new connection of the same request would not be let in.
        """
        self.router, self._plans = router, {}
        shown = [(shell, not shell.connection.endpoint.hidden) for shell in self.shells if shell.connection.is_open]
        kept = [(self._renew(shell), counts) for shell, counts in shown]
        return Swapped(kept.count((True, True)), kept.count((False, True)))

    def _renew(self, shell: Shell) -> bool:
        """Gives an open connection what now stands at its path, or ends it."""
        connection, match = shell.connection, self.router.match(shell.path)
        try:
            if match is None or not _takes_over(match[0], connection):
                raise Deny(404)
            endpoint, raw = match
            query_string = connection.head.query_string
            path_params, query_params = endpoint.bind(raw, query_string) if endpoint.bind is not None else (raw, {})
            if not shell.swap(self.plan(endpoint)):
                raise Deny(503)
        except Deny:
            shell.restart()
            return False
        if endpoint.counts is not connection.endpoint.counts:  # the path was without an endpoint meanwhile
            connection.endpoint.counts.open -= 1
            endpoint.counts.open += 1
        connection.endpoint, connection.path_params, connection.query_params = endpoint, path_params, query_params
        return True

    def enter(self, shell: Shell) -> None:
        """Takes in a connection that was let in and is about to open. `leave` gives back what it takes.

        Raises:
            Deny: 429 or 503: there is no room for it.
        """
        self.check_room(shell.connection.endpoint)
        try:
            self.hub.census.enter(shell.connection)
        except TooManyConnections as refusal:
            raise _too_many(refusal) from refusal
        self.shells.add(shell)
        counts = shell.connection.endpoint.counts
        counts.open += 1
        counts.opened += 1
        if self.tracing is not None:
            self.tracing.opened(shell.connection)

    def leave(self, shell: Shell) -> None:
        """A connection has ended. That it has may be said twice."""
        if shell not in self.shells:
            return
        connection = shell.connection
        self.shells.remove(shell)
        self.hub.census.leave(connection)
        connection.endpoint.counts.close(connection.close_code)
        if self.tracing is not None:
            self.tracing.closed(connection)

    def check_address(self, connection: Connection) -> None:
        """Refuses a further connection of an address before its endpoint is asked.

        Raises:
            Deny: 429.
        """
        try:
            self.hub.census.check_address(connection)
        except TooManyConnections as refusal:
            raise _too_many(refusal) from refusal

    def check_room(self, endpoint: Endpoint | None = None) -> None:
        """Refuses a further connection when there are as many as may be, or when the server is about to stop.

        Args:
            endpoint: what has just let it in; a live reload may have replaced it meanwhile.

        Raises:
            Deny: 503.
        """
        if endpoint is not None and endpoint not in self._plans:
            raise Deny(503, "The server was reloaded meanwhile", {"Retry-After": "1"})
        limit = self.config.max_connections
        if self.draining or (limit and len(self.shells) >= limit):
            raise Deny(503, "The server takes no further connections", {"Retry-After": _COME_BACK_SECONDS})


def _too_many(refusal: TooManyConnections) -> Deny:
    # 429 rather than 503: it is this client that has too many, and proxies take a server that says 503 for a sick one
    return Deny(refusal.http_status, refusal.message, {"Retry-After": _COME_BACK_SECONDS})


def make_tracing(config: Config) -> Tracing | None:
    """What makes spans; None: nothing is traced.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not config.tracing:
        return None
    try:
        from wireloom.tracing import Tracing
    except ImportError:
        raise ConfigError("the option tracing needs the extra: pip install 'wireloom[otel]'") from None
    return Tracing()


def _deflate(config: Config) -> ServerDeflate | None:
    """What connections may agree on; None: no compression."""
    if not config.compression:
        return None
    # a message that is dropped on the way would be missing from the context of those after it
    takeover = config.compression_takeover and config.limits.outbox_policy == "close"
    return ServerDeflate(DeflateSettings(takeover, config.compression_min_bytes, config.compression_level))


def _takes_over(endpoint: Endpoint, connection: Connection) -> bool:
    """Whether an endpoint goes on with a connection of another: the same path, nothing to prove that was not, the same
    kind.
    """
    old: Endpoint = connection.endpoint
    if endpoint.path != old.path or (endpoint.authorize is not None and old.authorize is None):
        return False
    return old.takes_over is None if endpoint.takes_over is None else endpoint.takes_over(connection)
