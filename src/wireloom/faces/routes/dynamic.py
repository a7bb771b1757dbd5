"""Dynamic routes: registered while the application runs, and kept in its database.

Laws:
- What is registered has been compiled beside everything else that is served; else it is refused and nothing changes.
- It survives a restart, and reaches the application's other processes within seconds.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
from sqlalchemy import Column, MetaData, String, Table, Text, delete, insert, select

from wireloom.database.database import Database
from wireloom.database.schema import Part
from wireloom.errors import ConfigError
from wireloom.faces.routes.document import File
from wireloom.faces.routes.loading import RouteFiles
from wireloom.faces.routes.report import Problem, RoutesInvalid, Spot

__all__ = ["ROUTES", "DynamicRoutes", "Registration"]

logger = logging.getLogger(__name__)

_MAX_ROUTES = 1000
_LOOK_SECONDS = 2.0  # between looks at what other processes have registered

_metadata = MetaData()
_routes = Table(
    "wireloom_routes",
    _metadata,
    Column("route_id", String, primary_key=True),
    Column("format", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", String, nullable=False, index=True),
)
ROUTES = Part("routes", 1, _metadata, counted={"registered route": _routes})


@dataclass(frozen=True, slots=True)
class Registration:
    """One registered route.

    Args:
        route_id: unguessable.
        format: ``yaml`` or ``json``.
        text: as it was sent.
        created_at: ISO 8601, UTC.
        files: what it declares.
    """

    route_id: str
    format: str
    text: str
    created_at: str
    files: RouteFiles

    @classmethod
    def read(cls, route_id: str, format: str, text: str, created_at: str) -> Registration:
        """A registration of what is kept of it."""
        return cls(route_id, format, text, created_at, RouteFiles([File(f"{route_id}.{format}", text)]))

    @property
    def name(self) -> str:
        """The route's name."""
        return self.files.routes[0].name if self.files.routes else ""


class DynamicRoutes:
    """The routes of one application that were registered.

    Args:
        database: the application's.
        compile_registered: compiles declarations beside all others and gives what serves them; raises `ConfigError`.
    """

    def __init__(
        self, database: Database, compile_registered: Callable[[Sequence[RouteFiles]], Callable[[], None]]
    ) -> None:
        self._database = database
        self._compile = compile_registered
        self._registered: dict[str, Registration] = {}
        self._refused: dict[str, Registration] = {}
        self._lock = anyio.Lock()

    @property
    def declarations(self) -> list[RouteFiles]:
        """What is served."""
        return [registration.files for registration in self._registered.values()]

    def __iter__(self) -> Iterator[Registration]:
        """All that are kept, those that cannot be served last."""
        return iter([*self._registered.values(), *self._refused.values()])

    def serves(self, registration: Registration) -> bool:
        """Whether a kept route is served; where something else stands in its way it is not."""
        return registration.route_id in self._registered

    def find(self, route_id: str) -> Registration | None:
        """A registered route, also one that is kept and cannot be served; None where there is none."""
        return self._registered.get(route_id) or self._refused.get(route_id)

    async def start(self) -> None:
        """Reads what is kept; `declarations` is known from now on."""
        await self._database.prepare(ROUTES)
        await self._read()

    async def watch(self) -> None:
        """Serves what other processes register, until it is cancelled."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            try:
                async with self._lock:
                    await self._catch_up()
            except Exception:
                logger.exception("registered routes could not be read; it is tried again in %d s", _LOOK_SECONDS)

    async def register(self, text: str, format: str) -> Registration:
        """Serves one more route.

        Raises:
            RoutesInvalid: it cannot be served.
        """
        made = Registration.read(
            secrets.token_hex(8), format, text, datetime.now(UTC).isoformat(timespec="milliseconds")
        )
        self._require_one(made)
        async with self._lock:
            await self._catch_up()  # another process may have this path by now
            if len(self._registered) >= _MAX_ROUTES:
                raise RoutesInvalid([_problem(made, f"there are {_MAX_ROUTES} registered routes already")])
            serve = self._compile([*self.declarations, made.files])
            row = {name: getattr(made, name) for name in ("route_id", "format", "text", "created_at")}
            await self._database.finish(self._write(insert(_routes).values(row)))
            self._registered[made.route_id] = made
            serve()
        return made

    async def remove(self, route_id: str) -> bool:
        """Serves a route no longer; its connections are closed with 1012. Says whether there was one."""
        async with self._lock:
            await self._catch_up()
            if self.find(route_id) is None:
                return False
            await self._database.finish(self._write(delete(_routes).where(_routes.c.route_id == route_id)))
            self._registered.pop(route_id, None)
            self._refused.clear()  # what this one stood in the way of is tried again
            serve = await self._read() or self._compile(self.declarations)
            serve()
        return True

    async def _write(self, statement: Any) -> None:
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def _catch_up(self) -> None:
        """Serves what other processes have registered, and no longer what they have removed."""
        serve = await self._read()
        if serve is not None:
            serve()

    async def _read(self) -> Callable[[], None] | None:
        """Takes in what is kept; gives what serves it, None where it is nothing else than before."""
        async with self._database.reading() as connection:
            ids = {str(row[0]) for row in await connection.execute(select(_routes.c.route_id))}
            if ids == self._registered.keys() | self._refused.keys():
                return None
            rows = list(await connection.execute(select(_routes).order_by(_routes.c.created_at, _routes.c.route_id)))
        self._registered = {each: self._registered[each] for each in self._registered if each in ids}
        self._refused = {each: self._refused[each] for each in self._refused if each in ids}
        new = [row for row in rows if self.find(row.route_id) is None]
        serve = self._take([Registration.read(row.route_id, row.format, row.text, row.created_at) for row in new])
        return serve or self._compile(self.declarations)

    def _take(self, kept: Sequence[Registration]) -> Callable[[], None] | None:
        """Takes kept routes in, without those that cannot be beside what is declared today: these must not stop the
        others. All are looked at together, as every look compiles everything; only where that fails, half by half.

        Returns:
            What serves all that are registered by now; None where none of these is.
        """
        if not kept:
            return None
        try:
            serve = self._compile([*self.declarations, *(each.files for each in kept)])
        except ConfigError as error:
            if len(kept) > 1:
                first = self._take(kept[: len(kept) // 2])
                return self._take(kept[len(kept) // 2 :]) or first
            self._refused[kept[0].route_id] = kept[0]
            logger.error("the registered route %s is not served: %s", kept[0].route_id, error)
            return None
        self._registered |= {each.route_id: each for each in kept}
        return serve

    def _require_one(self, made: Registration) -> None:
        if made.files.problems:
            raise RoutesInvalid(made.files.problems)
        if len(made.files.routes) != 1:
            raise RoutesInvalid([_problem(made, f"one route is registered at a time, not {len(made.files.routes)}")])


def _problem(made: Registration, message: str) -> Problem:
    return Problem(Spot(made.files.files[0].name, 1, 1), message)
