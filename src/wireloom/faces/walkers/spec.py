"""Spec: by which doors a walker is reached, and how. Law: what contradicts itself is told where it is declared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypedDict, TypeVar, Unpack

from wireloom.core.router import parameter_names
from wireloom.errors import ConfigError, did_you_mean
from wireloom.faces.walkers.walker import Walker
from wireloom.graph.declared import source_of_class

__all__ = ["APIProtocol", "Spec", "SpecOptions", "spec", "spec_of"]

W = TypeVar("W", bound=type[Walker])

_HTTP_METHODS = ("get", "post", "put", "patch", "delete")
_METHODS = (*_HTTP_METHODS, "websocket")


class APIProtocol(StrEnum):
    """The door of a walker that has one."""

    REST = "rest"
    HTTP = "rest"  # the older system's name
    WEBSOCKET = "websocket"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Spec:
    """By which doors a walker is reached; the arguments are those of `spec`."""

    protocol: APIProtocol | str | None = None
    methods: tuple[str, ...] | None = None
    public: bool = False
    path: str | None = None
    broadcast: bool = False
    as_query: tuple[str, ...] | str = ()
    roles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    summary: str = ""
    max_message_bytes: int | None = None
    timeout_seconds: float | None = None
    rate_per_minute: int | None = None

    @property
    def http_methods(self) -> tuple[str, ...]:
        """The methods of the REST door, in capitals; none where it is not open."""
        if self.protocol in ("websocket", "webhook"):
            return ()
        chosen = ("post",) if self.methods is None else self.methods
        return tuple(method.upper() for method in chosen if method != "websocket")

    @property
    def is_event(self) -> bool:
        """Whether the event socket reaches it."""
        return self.methods is not None and "websocket" in self.methods


class SpecOptions(TypedDict, total=False):
    """The arguments of `spec`."""

    protocol: APIProtocol | str | None
    methods: Iterable[str] | None
    public: bool
    path: str | None
    broadcast: bool
    as_query: Iterable[str] | str
    roles: Iterable[str]
    tags: Iterable[str]
    summary: str
    max_message_bytes: int | None
    timeout_seconds: float | None
    rate_per_minute: int | None


def spec(walker: W | None = None, /, **options: Unpack[SpecOptions]) -> Any:
    """Says by which doors a walker is reached: ``@spec(…)`` above its class.

    Args:
        protocol: one door: ``"rest"`` (the default), ``"websocket"``: ``/ws/{name}``, ``"webhook"``:
            ``/webhook/{name}``.
        methods: HTTP methods of the REST door, and ``"websocket"`` for the event socket.
        public: also for callers who are not logged in; they share one root.
        path: where the door is instead; on the REST door ``{field}`` in it is one of the walker's fields.
        broadcast: on the WebSocket door, a reply goes to all connections of the walker.
        as_query: fields that come in the query; ``"*"`` is all. With GET it is always all.
        roles: only for users with one of these roles.
        tags: what documents group it by.
        summary: what documents say of it; by default the docstring's first line.
        max_message_bytes: of one message or body; by default the application's option of that name.
        timeout_seconds: of one run; None: as long as it takes.
        rate_per_minute: runs of one user or, of those who are not logged in, of one address; None: any number.

    Raises:
        ConfigError: a contradiction, or an unknown word.
    """

    def declare(walker: W) -> W:
        _require_walker(walker)
        if "__specs__" in vars(walker):
            raise ConfigError(f"{walker.__name__} has @spec and __specs__; use one", source_of_class(walker))
        walker.__wireloom_spec__ = _read(walker, dict(options))  # type: ignore[attr-defined]
        return walker

    return declare if walker is None else declare(walker)


def _require_walker(walker: Any) -> None:
    if not isinstance(walker, type) or not issubclass(walker, Walker):
        raise ConfigError(f"spec is for classes of walkers, not {walker!r:.100}")


def spec_of(walker: type[Walker]) -> Spec:
    """What a walker was declared with, by `spec` or by a class ``__specs__`` in its body; its base's where it has none.

    Raises:
        ConfigError: a contradiction, or an unknown word.
    """
    for cls in walker.__mro__:
        if "__wireloom_spec__" in vars(cls):
            made: Spec = vars(cls)["__wireloom_spec__"]
            break
        if "__specs__" in vars(cls):
            made = _from_class(walker, vars(cls)["__specs__"])
            break
    else:
        made = Spec()
    # A path is one walker's own; those who inherit the rest have paths of their own names.
    own = "__wireloom_spec__" in vars(walker) or "__specs__" in vars(walker)
    made = made if own else replace(made, path=None)
    _check(walker, made)
    return made


def _read(walker: type[Walker], options: dict[str, Any], where: str = "spec") -> Spec:
    """The options as a record, if they make sense."""
    known = [field.name for field in fields(Spec)]
    for name in options:
        if name not in known:
            message = f"{walker.__name__}: {where} has no {name!r}{did_you_mean(name, known)}"
            raise ConfigError(message, source_of_class(walker))
    for name in ("methods", "roles", "tags", "as_query"):
        if options.get(name) is not None and (name, options[name]) != ("as_query", "*"):
            options[name] = _texts(walker, name, options[name])
    made = Spec(**options)
    _check(walker, made)
    return made


def _from_class(walker: type[Walker], specs: type) -> Spec:
    """The form with a class in the body: ``class __specs__: methods = ["websocket", "post"]; auth = False``."""
    values = {name: value for name, value in vars(specs).items() if not name.startswith("_")}
    if "auth" in values:
        if "public" in values:
            raise ConfigError(f"{walker.__name__}.__specs__ has auth and public; use one", source_of_class(walker))
        values["public"] = not values.pop("auth")
    return _read(walker, values, "__specs__")


def _texts(walker: type[Walker], name: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        told = f"{walker.__name__}: {name} is a list of texts, not the text {given!r}"
        raise ConfigError(told, source_of_class(walker))
    return tuple(given)


def _check(walker: type[Walker], made: Spec) -> None:
    try:
        _check_doors(made)
        _check_fields(walker, made)
    except ConfigError as error:
        raise ConfigError(f"{walker.__name__}: {error.message}", source_of_class(walker)) from None


def _check_doors(made: Spec) -> None:
    protocols = [protocol.value for protocol in APIProtocol]
    if made.protocol is not None and made.protocol not in protocols:
        nearest = did_you_mean(str(made.protocol), protocols)
        raise ConfigError(f"protocol is one of {', '.join(protocols)}, not {made.protocol!r}{nearest}")
    for method in made.methods or ():
        if method not in _METHODS:
            nearest = did_you_mean(str(method).lower(), _METHODS)
            raise ConfigError(f"a method is one of {', '.join(_METHODS)}, not {method!r}{nearest}")
    if made.methods is not None and not made.methods:
        raise ConfigError("methods is empty, so no door would be open")
    if made.methods is not None and made.protocol in ("websocket", "webhook"):
        raise ConfigError(f"protocol={str(made.protocol)!r} is one door of its own; methods are those of rest")
    if made.broadcast and made.protocol != "websocket":
        raise ConfigError('broadcast needs protocol="websocket"')
    if made.public and made.protocol == "webhook":
        raise ConfigError("a webhook is its key's user's, so it cannot be public")
    for name in ("max_message_bytes", "timeout_seconds", "rate_per_minute"):
        value = getattr(made, name)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ConfigError(f"{name} is a number above 0, or None; not {value!r}")
    if made.roles and made.public:
        raise ConfigError("a walker is public or for roles, not both")
    if made.path is not None and not made.http_methods and made.is_event:
        raise ConfigError("the event socket finds walkers by name, so there is nothing to have a path")


def _check_fields(walker: type[Walker], made: Spec) -> None:
    known = walker.__struct_fields__
    for name in made.as_query if made.as_query != "*" else ():
        if name not in known:
            raise ConfigError(f"as_query names {name!r}, which is no field{did_you_mean(name, known)}")
    for name in parameter_names(made.path) if made.path is not None else ():
        if not made.http_methods:
            raise ConfigError(f"only paths of the REST door have parameters such as {{{name}}}")
        if name != "node_id" and name not in known:
            raise ConfigError(f"the path names {name!r}, which is no field{did_you_mean(name, known)}")
