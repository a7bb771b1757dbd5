"""Run: one walk, from the caller's root or node to what was reported.

Laws:
- What a run changes is kept when it ends well, and before its caller is told; else nothing is.
- A run that was overtaken by another is run once more, on fresh data that nobody else can change meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.lowlevel
import msgspec

from wireloom.core.dispatch import log_bug
from wireloom.core.plain import plain_of
from wireloom.core.request import Request
from wireloom.errors import RequestError
from wireloom.faces.walkers.abilities import Abilities
from wireloom.faces.walkers.threads import Threads
from wireloom.faces.walkers.walker import Disengaged, Walker
from wireloom.graph.changes import Conflict
from wireloom.graph.edge import Edge
from wireloom.graph.graph import Graph
from wireloom.graph.node import Node, Root
from wireloom.graph.unit import Unit

if TYPE_CHECKING:
    from wireloom.identity.user import User

__all__ = ["FindUser", "Run", "Runner"]

FindUser: TypeAlias = Callable[[str], Awaitable["User | None"]]

_MAX_STEPS = 100_000  # nodes that one run may visit; a walk in a circle would never end
_STEPS_A_TURN = 100
_SECOND_TRY_SECONDS = 2.0  # for which others wait

_encode = msgspec.json.Encoder(enc_hook=plain_of).encode
_SCALARS = frozenset({str, int, float, bool, type(None)})


class Run(msgspec.Struct, eq=False):
    """One walk. (A Struct, because one is made for every message.)

    Args:
        request: what it answers.
        unit: what it reads and changes.
        find_user: gives users by name.
        reports: what was reported.
        queue: nodes to visit, and those that were visited.
    """

    request: Request
    unit: Unit
    find_user: FindUser
    reports: list[Any] = []
    queue: list[Node] = []


class Runner:
    """Runs one class of walkers.

    Args:
        abilities: what it does where.
        graph: where nodes are kept; None where only the declaration is looked at.
        find_user: gives users by name.
        threads: where plain abilities run.
        timeout_seconds: of one walk; None: as long as it takes.
    """

    def __init__(
        self,
        abilities: Abilities,
        graph: Graph | None,
        find_user: FindUser,
        threads: Threads,
        timeout_seconds: float | None = None,
    ) -> None:
        self._abilities = abilities
        self._graph = graph
        self._find_user = find_user
        self._timeout_seconds = timeout_seconds
        self._at_root = [ability.function for ability in abilities.at(Root)]
        self._threads = threads
        self.waits = timeout_seconds is not None or any(ability.waits for ability in abilities.all)

    def begin(self, request: Request, root_id: str, walker: Walker, read: Callable[[Any], Walker], payload: Any) -> Any:
        """Runs a walker whose abilities never wait.

        Args:
            request: what it answers.
            root_id: of the user whose run it is.
            walker: with its fields.
            read: makes another of the payload, for a second try.
            payload: what the walker was made of.

        Returns:
            The reports as a JSON array; or a coroutine of them, when something is to be kept.
        """
        assert self._graph is not None
        unit = self._graph.begin(root_id)
        run = Run(request, unit, self._find_user)
        walker.__dict__["_running"] = run
        try:
            for function in self._at_root:
                _step(function(walker, unit.root))
        except Disengaged:
            run.queue.clear()
        except BaseException:
            unit.abandon()
            del walker.__dict__["_running"]
            raise
        if run.queue or not unit.is_untouched:
            return self._go_on(run, root_id, walker, partial(read, payload))
        del walker.__dict__["_running"]
        unit.abandon()
        return _encode_reports(run.reports)

    async def _go_on(self, run: Run, root_id: str, walker: Walker, again: Callable[[], Walker]) -> bytes:
        """What `begin` leaves to do: further nodes, and keeping what was changed."""
        try:
            return await self._end(run, walker)
        except Conflict:
            return await self._try_again(run.request, root_id, again, None)

    async def run(
        self, request: Request, root_id: str, walker: Walker, again: Callable[[], Walker], node_id: str | None = None
    ) -> bytes:
        """Runs a walker.

        Args:
            request: what it answers.
            root_id: of the user whose run it is.
            walker: with its fields.
            again: makes another with the same fields, for a second try.
            node_id: where it begins; None: at the root.

        Returns:
            The reports as a JSON array.

        Raises:
            RequestError: what the caller is told: ``NOT_FOUND`` of the node, ``CONFLICT``, ``FORBIDDEN``, …
        """
        try:
            return await self._try(request, root_id, walker, node_id, exclusive=False)
        except Conflict:
            return await self._try_again(request, root_id, again, node_id)

    async def _try_again(
        self, request: Request, root_id: str, again: Callable[[], Walker], node_id: str | None
    ) -> bytes:
        try:
            return await self._try(request, root_id, again(), node_id, exclusive=True)
        except _TooLong:
            raise Conflict from None

    async def _try(
        self, request: Request, root_id: str, walker: Walker, node_id: str | None, *, exclusive: bool
    ) -> bytes:
        assert self._graph is not None
        unit = self._graph.begin(root_id, exclusive=exclusive)
        run = Run(request, unit, self._find_user)
        walker.__dict__["_running"] = run
        try:
            if exclusive:
                await unit.lock()
            if node_id is None:
                run.queue.append(unit.root)
            else:
                run.queue.append(await unit.node(node_id))
        except BaseException as error:
            await unit.close(error)
            del walker.__dict__["_running"]
            raise
        return await self._end(run, walker)

    async def _end(self, run: Run, walker: Walker) -> bytes:
        """Walks on and keeps what was changed; gives the reports."""
        unit, error = run.unit, None
        try:
            if self._timeout_seconds is None and not unit.exclusive:
                await self._walk(run, walker)
            else:
                await self._walk_in_time(run, walker)
            reports = _encode_reports(run.reports)  # first: what cannot be told is not kept
            if not unit.is_untouched:
                # Once it is being kept, no deadline can say any more that it is not
                with anyio.CancelScope(shield=True):
                    await unit.commit()
                    waiting = await self._after_commit(run)
                for made in waiting:
                    await _wait(run, made)
            return reports
        except BaseException as failure:
            error = failure
            raise
        finally:
            if not unit.is_untouched:
                await unit.close(error)
            unit.abandon()
            walker.__dict__.pop("_running", None)

    async def _walk_in_time(self, run: Run, walker: Walker) -> None:
        if run.unit.exclusive:  # others wait meanwhile
            deadline = _Deadline(_SECOND_TRY_SECONDS, _TooLong)
        else:
            seconds = self._timeout_seconds or 0.0
            told = partial(RequestError, "RUN_TIMEOUT", f"The walker did not end within {seconds:g} s")
            deadline = _Deadline(seconds, told)
        with deadline:
            await self._walk(run, walker)

    async def _walk(self, run: Run, walker: Walker) -> None:
        at = self._abilities.at
        try:
            for steps, here in enumerate(run.queue, 1):  # which grows meanwhile
                if steps > _MAX_STEPS:
                    raise RuntimeError(f"a walk ends after {_MAX_STEPS} nodes; does it go in a circle?")
                if not steps % _STEPS_A_TURN:
                    await anyio.lowlevel.checkpoint()
                for ability in at(type(here)):
                    if ability.is_async:
                        await ability.function(walker, here)
                    else:
                        await self._threads.call(ability.function, walker, here, has_turn=run.unit.has_turn)
        except Disengaged:
            pass

    async def _after_commit(self, run: Run) -> list[Awaitable[Any]]:
        """Does what was to happen then, and gives what is to be awaited of it. Plain functions are called before the
        next run of this root begins, so that what they publish is heard in the order of commits.
        """
        waiting = [made for call in run.unit.callbacks if (made := _call(run, call)) is not None]
        await run.unit.close()
        return waiting


class _TooLong(Exception):  # told as a conflict
    """A second try took more time than others can be kept waiting."""


class _Deadline:
    """Ends what takes too long.

    Args:
        seconds: from now on.
        make_error: makes what is raised then.
    """

    def __init__(self, seconds: float, make_error: Callable[[], Exception]) -> None:
        self._scope = anyio.move_on_after(seconds)
        self._make_error = make_error

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._scope.__exit__(*error)
        if self._scope.cancelled_caught:
            raise self._make_error()


def _step(coroutine: Any) -> None:
    """Runs a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("an ability without await has waited for something")


def _call(run: Run, call: Callable[[], Any]) -> Awaitable[Any] | None:
    """Calls what was to happen after the commit; a bug there is logged, as the run itself has ended well."""
    try:
        made = call()
    except Exception as error:
        log_bug(run.request.endpoint, error, "on_commit")
        return None
    return made if hasattr(made, "__await__") else None


async def _wait(run: Run, made: Awaitable[Any]) -> None:
    try:
        await made
    except Exception as error:
        log_bug(run.request.endpoint, error, "on_commit")


def _encode_reports(reports: list[Any]) -> bytes:
    """Reports as a JSON array; nodes in them as ``{"id", "context"}``."""
    return _encode([_report(value) for value in reports])


def _report(value: Any) -> Any:
    kind = value.__class__  # asked first: `isinstance` of a class with a metaclass takes its time
    if kind is dict:
        for each in value.values():
            if each.__class__ not in _SCALARS:
                return {key: _report(member) for key, member in value.items()}
    elif kind is list or kind is tuple:
        return [_report(each) for each in value]
    elif kind not in _SCALARS and isinstance(value, (Node, Edge)):
        return {"id": value.id, "context": value}
    return value
