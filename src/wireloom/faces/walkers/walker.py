"""Walker: what a user declares, and what its abilities may call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import anyio.from_thread
import msgspec

from wireloom.core.request import Request
from wireloom.graph.declared import Declared
from wireloom.graph.node import Node, Root

if TYPE_CHECKING:
    from wireloom.faces.walkers.run import Run
    from wireloom.identity.user import User

__all__ = ["ENTRY", "EXIT", "Disengaged", "Walker", "entry", "exit", "wait"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

ENTRY, EXIT = "__wireloom_entry__", "__wireloom_exit__"  # the attributes that mark abilities


class Disengaged(BaseException):  # no error: what `disengage` ends an ability with, past `except Exception`
    """The walk ends here."""


class Walker(msgspec.Struct, metaclass=Declared, dict=True, eq=False, forbid_unknown_fields=True):
    """An action: its annotated fields are the input, its abilities run on the nodes that it visits.

    `spec` says by which doors it is reached. It begins at the caller's root, or at the node that the caller names.
    """

    __reserved__: ClassVar[frozenset[str]] = frozenset(
        {"report", "visit", "disengage", "on_commit", "find_user", "root", "request", "token", "_run"}
    )

    __hideable__: ClassVar[frozenset[str]] = frozenset({"root", "request"})  # abilities are often called so

    @property
    def request(self) -> Request:
        """The request that this run answers; `request.user` is whose it is, None the public."""
        return self._run.request

    @property
    def root(self) -> Root:
        """The root of the user whose run it is."""
        return self._run.unit.root

    def report(self, value: Any) -> None:
        """Adds to what the caller is answered.

        Args:
            value: anything that has a JSON form, a node, or lists and dicts of these; it is written as it is when the
                run ends.
        """
        run: Run | None = self.__dict__.get("_running")
        (run or self._run).reports.append(value)

    def visit(self, nodes: Node | Iterable[Node]) -> None:
        """Goes to these nodes too, after those that wait already.

        Raises:
            TypeError: something else than nodes, such as a call of `nodes` that was not awaited.
        """
        if isinstance(nodes, Node):
            self._run.queue.append(nodes)
            return
        if hasattr(nodes, "close") and hasattr(nodes, "send"):
            nodes.close()
            raise TypeError("self.visit takes nodes; await here.nodes(…) first")
        several = list(nodes)
        for node in several:
            if not isinstance(node, Node):
                raise TypeError(f"self.visit takes nodes, not {node!r:.100}")
        self._run.queue.extend(several)

    def disengage(self) -> NoReturn:
        """Ends the walk at once. What was reported and changed is kept."""
        raise Disengaged

    def on_commit(self, call: Callable[[], Any]) -> None:
        """Calls a function, or awaits an async one, once all that this run has changed is kept.

        It is the place to tell others: nobody hears of what was undone, and who looks finds it.
        """
        self._run.unit.after_commit(call)

    async def find_user(self, name: str) -> User | None:
        """The user of a username or e-mail address, such as one to grant a node to; None: there is none."""
        return await self._run.find_user(name)

    @property
    def _run(self) -> Run:
        run: Run | None = self.__dict__.get("_running")
        if run is None:
            raise RuntimeError(f"this {type(self).__name__} does not run: no door was used, or its run has ended")
        return run


def entry(*kinds: type[Node]) -> Callable[[F], F]:
    """Declares an ability: it runs when the walker comes to a node of one of these classes; without any, of every."""
    return _ability("entry", ENTRY, kinds)


def exit(*kinds: type[Node]) -> Callable[[F], F]:
    """Declares an ability: it runs when the walker leaves a node of one of these classes, after all entries there."""
    return _ability("exit", EXIT, kinds)


def _ability(word: str, mark: str, kinds: tuple[Any, ...]) -> Callable[[F], F]:
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Node):
            written = f"@{word}() for every node, or @{word}(Root)"
            raise TypeError(f"an ability is for classes of nodes: {written}; not {kind!r}")

    def declare(function: F) -> F:
        setattr(function, mark, kinds or (Node,))
        return function

    return declare


def wait(awaitable: Awaitable[T]) -> T:
    """In a plain ``def`` ability, which runs in a worker thread: what an ``async def`` ability gets by ``await``.

    Raises:
        RuntimeError: called elsewhere.
    """

    async def get() -> T:
        return await awaitable

    return anyio.from_thread.run(get)
