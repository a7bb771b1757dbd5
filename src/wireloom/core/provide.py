"""Parameters of handlers: found by name or annotation, bound by compiled calls, provided for each message.

Law: everything is decided at registration. A parameter that nothing explains is an error there, naming it.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs

import anyio.to_thread
import msgspec

from wireloom.core.endpoint import Bind, Handler, Parameter
from wireloom.core.request import Request
from wireloom.core.schema import compile_parameter, describe_parameter
from wireloom.errors import ConfigError, Deny

__all__ = [
    "Parameters",
    "Provide",
    "Query",
    "caller_source",
    "compile_bind",
    "compile_call",
    "describe_parameters",
    "hints_of",
    "may_wait",
    "read_parameters",
    "source_of",
    "uses_query",
]


@dataclass(frozen=True, slots=True)
class Query:
    """Marks a query parameter: ``limit: Annotated[int, Query()] = 10``.

    Args:
        name: the name in the query string; by default the parameter's.
    """

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Provide:
    """Marks a dependency made for each message and released after it: ``db: Annotated[Session, Provide(session)]``.

    Args:
        factory: a function, sync or async, or a generator of either kind that yields once and then cleans up. Its own
            parameters are found like a handler's. One message makes one value per factory, however often it is used.
    """

    factory: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _PathParameter:
    annotation: Any
    convert: Callable[[str], Any] | None
    source: str


@dataclass(frozen=True, slots=True)
class _QueryParameter:
    name: str
    annotation: Any
    convert: Callable[[str], Any] | None
    default: Any
    many: bool
    source: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What one function's parameters are made of.

    Args:
        arguments: for every parameter the expression over ``request`` that gives it, with its keyword if needed.
        message: name and annotation of the payload parameter; None when there is none.
        path: the path parameters used.
        query: the query parameters used, by parameter name.
        provided: the factories used, in order of use.
        values: names in the expressions that stand for objects.
    """

    arguments: list[str] = field(default_factory=list)
    message: tuple[str, Any] | None = None
    path: dict[str, _PathParameter] = field(default_factory=dict)
    query: dict[str, _QueryParameter] = field(default_factory=dict)
    provided: list[tuple[Callable[..., Any], Parameters]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_DEMO = _PACKAGE + os.path.join("cli", "demo") + os.sep  # an application as any other, though it comes with ours


def caller_source() -> str:
    """``file:line`` of whoever called Wireloom, or the empty string."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) or name.startswith(_DEMO):
            return "" if name.startswith("<") else f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def source_of(function: Callable[..., Any]) -> str:
    """``file:line`` of a function's definition, or the empty string where there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def read_parameters(
    function: Callable[..., Any],
    path_names: list[str],
    services: Mapping[Any, Any],
    *,
    takes_message: bool,
    _inside: tuple[Callable[..., Any], ...] = (),
) -> Parameters:
    """Explains every parameter of a function.

    Args:
        function: a handler, a hook or a factory.
        path_names: the names of the path's parameters.
        services: what an annotation alone explains: annotation → an expression over ``request``, or an object to pass.
        takes_message: whether the function gets the payload.

    Raises:
        ConfigError: a parameter that nothing explains, or an annotation that cannot be resolved.
    """
    found = Parameters()
    message: tuple[str, Any] | None = None
    hints = hints_of(function)
    unexplained = []
    for parameter in inspect.signature(function).parameters.values():
        annotation = hints.get(parameter.name, inspect.Parameter.empty)
        expression = _explain(function, parameter, annotation, path_names, services, found, _inside)
        if expression is None:
            unexplained.append((parameter, annotation))
            expression = "request.message"
        keyword = f"{parameter.name}=" if parameter.kind is parameter.KEYWORD_ONLY else ""
        found.arguments.append(keyword + expression)
    if takes_message and unexplained:
        chosen = next((entry for entry in unexplained if entry[0].name == "message"), unexplained[0])
        unexplained.remove(chosen)
        message = (chosen[0].name, chosen[1])
    if unexplained:
        names = ", ".join(repr(parameter.name) for parameter, _ in unexplained)
        raise ConfigError(
            f"{_name(function)!r}: nothing explains the parameter {names}; it is neither in the path"
            f" ({', '.join(path_names) or 'which has none'}) nor annotated with Connection, Request, Hub, Query"
            " or Provide",
            source_of(function),
        )
    return Parameters(found.arguments, message, found.path, found.query, found.provided, found.values)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The resolved annotations of a function, a class's constructor, a partial or a callable object.

    Raises:
        ConfigError: one cannot be resolved.
    """
    target: Any = function.func if isinstance(function, functools.partial) else function
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise ConfigError(f"{_name(function)!r}: cannot resolve an annotation: {error}", source_of(function)) from None


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _explain(
    function: Callable[..., Any],
    parameter: inspect.Parameter,
    annotation: Any,
    path_names: list[str],
    services: Mapping[Any, Any],
    found: Parameters,
    inside: tuple[Callable[..., Any], ...],
) -> str | None:
    """The expression that gives one parameter, or None when nothing explains it."""
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise ConfigError(
            f"{_name(function)!r}: {stars}{name} cannot be bound; name the parameters", source_of(function)
        )
    base, marker = _marker(annotation)
    place = {"owner": _name(function), "source": source_of(function), "name": name}
    if isinstance(marker, Query):
        found.query[name] = _query_parameter(parameter, base, marker, place)
        return f"request.connection.query_params[{name!r}]"
    if isinstance(marker, Provide):
        if marker.factory in inside:
            raise ConfigError(f"{_name(function)!r}: {name!r} provides itself in a circle", source_of(function))
        parameters = read_parameters(
            marker.factory, path_names, services, takes_message=False, _inside=(*inside, marker.factory)
        )
        found.provided.append((marker.factory, parameters))
        found.values[f"factory_{name}"] = marker.factory
        return f"provided[factory_{name}]"
    if name in path_names:
        found.path[name] = _PathParameter(annotation, compile_parameter(annotation, **place), place["source"])
        return f"request.connection.path_params[{name!r}]"
    service = services.get(base) if _hashable(base) else None
    if service is None or isinstance(service, str):
        return service
    found.values[f"service_{name}"] = service
    return f"service_{name}"


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:  # by unhashable metadata, for instance
        return False
    return True


def _marker(annotation: Any) -> tuple[Any, Query | Provide | None]:
    """The type inside Annotated, and the marker of ours beside it."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    base, *extras = get_args(annotation)
    marker = next((extra for extra in extras if isinstance(extra, (Query, Provide))), None)
    if marker is None:
        return annotation, None
    others = [extra for extra in extras if extra is not marker]  # such as the bounds of a number
    return (Annotated[base, *others] if others else base), marker


def _query_parameter(parameter: inspect.Parameter, base: Any, marker: Query, place: dict[str, str]) -> _QueryParameter:
    if get_origin(base) is Annotated and get_origin(get_args(base)[0]) is list:
        problem = f"{place['owner']!r}: what is said of the list {parameter.name!r} is not checked; say it of its items"
        raise ConfigError(problem, place["source"])
    many = get_origin(base) is list or base is list
    item = (get_args(base) or (str,))[0] if many else base
    convert = compile_parameter(item, **place)
    return _QueryParameter(marker.name or parameter.name, base, convert, parameter.default, many, place["source"])


def compile_bind(parameters: list[Parameters]) -> Bind:
    """One function that converts a connection's path and query parameters for its handler and hooks.

    Args:
        parameters: of the handler and all hooks; those of their factories are found through them.

    Returns:
        A function that raises `Deny` with 404 for a path parameter that does not convert, and 400 for the query.

    Raises:
        ConfigError: two functions declare one parameter differently; it is converted once and shared.
    """
    paths: dict[str, _PathParameter] = {}
    queries: dict[str, _QueryParameter] = {}
    for one in _with_factories(parameters):
        for name, path_parameter in one.path.items():
            if name not in paths or paths[name].annotation is inspect.Parameter.empty:
                paths[name] = path_parameter
            _agree(name, paths[name], path_parameter)
        for name, query_parameter in one.query.items():
            _agree(name, queries.setdefault(name, query_parameter), query_parameter)
    path_converters = {name: found.convert for name, found in paths.items() if found.convert is not None}

    def bind(path: dict[str, str], query_string: str) -> tuple[dict[str, Any], dict[str, Any]]:
        return _convert_path(path, path_converters), _convert_query(query_string, queries) if queries else _NOTHING

    return bind


_NOTHING: dict[str, Any] = {}


def describe_parameters(parameters: list[Parameters]) -> tuple[Parameter, ...]:
    """What documents tell of a connection's path and query parameters.

    Args:
        parameters: as for `compile_bind`, which has found that they agree.
    """
    found: dict[tuple[str, str], Parameter] = {}
    for one in _with_factories(parameters):
        for name, path in one.path.items():
            if ("path", name) not in found or path.annotation is not inspect.Parameter.empty:
                found["path", name] = Parameter(name, "path", describe_parameter(path.annotation))
        for query in one.query.values():
            found["query", query.name] = _describe_query(query)
    return tuple(found.values())


def _describe_query(query: _QueryParameter) -> Parameter:
    schema = describe_parameter(query.annotation if query.annotation is not list else list[str])
    required = query.default is inspect.Parameter.empty
    if not required and query.default is not None:
        with contextlib.suppress(TypeError):  # a default that JSON cannot say is not told
            schema = {**schema, "default": msgspec.to_builtins(query.default)}
    return Parameter(query.name, "query", schema, required and not query.many)


def _agree(name: str, first: _PathParameter | _QueryParameter, other: _PathParameter | _QueryParameter) -> None:
    if isinstance(first, _QueryParameter) and isinstance(other, _QueryParameter):
        if (first.name, first.default) != (other.name, other.default):
            raise ConfigError(
                f"the query parameter {name!r} has another name or default at {first.source}", other.source
            )
    if other.annotation is not inspect.Parameter.empty and first.annotation != other.annotation:
        kinds = f"{_type_name(first.annotation)} ({first.source}) and {_type_name(other.annotation)}"
        raise ConfigError(f"the parameter {name!r} is declared as {kinds}; it has one type", other.source)


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))


def _with_factories(parameters: list[Parameters]) -> Iterator[Parameters]:
    for one in parameters:
        yield one
        yield from _with_factories([inner for _, inner in one.provided])


def uses_query(parameters: Parameters) -> bool:
    """Whether a function or a factory behind it asks for a query parameter."""
    return any(one.query for one in _with_factories([parameters]))


def _convert_path(path: dict[str, str], converters: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    if not converters:
        return path or _NOTHING
    converted: dict[str, Any] = dict(path)
    for name, convert in converters.items():
        try:
            converted[name] = convert(path[name])
        except ValueError:
            raise Deny(404, {"error": "Not Found", "message": f"No route found: {name} does not fit"}) from None
    return converted


def _convert_query(query_string: str, queries: dict[str, _QueryParameter]) -> dict[str, Any]:
    values = parse_qs(query_string, keep_blank_values=True)
    return {key: _query_value(query, values.get(query.name)) for key, query in queries.items()}


def _query_value(query: _QueryParameter, given: list[str] | None) -> Any:
    if given is None:
        if query.default is not inspect.Parameter.empty:
            return query.default
        if query.many:
            return []
        raise Deny(400, {"error": "Bad Request", "message": f"The query parameter {query.name!r} is missing"})
    try:
        values = [query.convert(text) for text in given] if query.convert is not None else given
    except ValueError as error:
        message = f"The query parameter {query.name!r} does not fit: {error}"
        raise Deny(400, {"error": "Bad Request", "message": message}) from None
    return values if query.many else values[-1]


def compile_call(function: Callable[..., Any], parameters: Parameters) -> Handler:
    """A function of the request that calls the handler with everything it asked for.

    The result gives an awaitable, or an asynchronous iterator for asynchronous generator functions. A plain ``def``
    runs in a worker thread.
    """
    body = f"call({', '.join(parameters.arguments)})"
    names = {"call": _threaded(function), **parameters.values}
    if not parameters.provided:
        bound: Handler = eval(f"lambda request: {body}", names)
        return bound
    with_provided = eval(f"lambda request, provided: {body}", names)
    factories = [(factory, _compile_factory(factory, inner)) for factory, inner in parameters.provided]
    if inspect.isasyncgenfunction(function):
        return _stream_with(with_provided, factories)

    async def provide_and_call(request: Request) -> Any:
        async with contextlib.AsyncExitStack() as stack:
            failure = None
            provided = await _provide(request, factories, stack)
            try:
                return await with_provided(request, provided)
            except BaseException as error:
                failure = error
                raise
        # A factory's clean-up has swallowed the handler's exception; the caller is told all the same.
        raise failure

    return provide_and_call


def may_wait(function: Callable[..., Any], parameters: Parameters) -> bool:
    """Whether the compiled call of a function can ever wait.

    An ``async def`` whose code has no ``await``, ``async with`` or ``async for`` cannot: it runs to its end at once.
    """
    if parameters.provided or not inspect.isfunction(function):
        return True
    if not function.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    return any(instruction.opname in _WAITING for instruction in dis.get_instructions(function))


_WAITING = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND"})


def _stream_with(with_provided: Any, factories: list[tuple[Any, Any]]) -> Handler:
    async def provide_and_stream(request: Request) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as stack:
            failure: BaseException | None = None
            replies = with_provided(request, await _provide(request, factories, stack))
            try:
                async with contextlib.aclosing(replies):
                    async for reply in replies:
                        yield reply
            except BaseException as error:
                failure = error
                raise
        if failure is not None:  # swallowed by a factory's clean-up
            raise failure

    return provide_and_stream


def _threaded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Coroutine and asynchronous generator functions as they are; any other runs in a worker thread."""
    target = function if inspect.isroutine(function) else type(function).__call__
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        return function

    async def call_in_thread(*args: Any, **kwargs: Any) -> Any:
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))

    return call_in_thread


_Open = Callable[[Request, dict[Any, Any], contextlib.AsyncExitStack], Awaitable[Any]]


async def _provide(
    request: Request, factories: list[tuple[Any, _Open]], stack: contextlib.AsyncExitStack
) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for factory, open_value in factories:
        if factory not in made:
            made[factory] = await open_value(request, made, stack)
    return made


def _compile_factory(factory: Callable[..., Any], parameters: Parameters) -> _Open:
    """A coroutine function that makes one factory's value and leaves its clean-up on the stack."""
    make = eval(
        f"lambda request, provided: call({', '.join(parameters.arguments)})", {"call": factory, **parameters.values}
    )
    inner = [(each, _compile_factory(each, own)) for each, own in parameters.provided]
    enter = _enter(factory)

    async def open_value(request: Request, made: dict[Any, Any], stack: contextlib.AsyncExitStack) -> Any:
        for each, open_inner in inner:
            if each not in made:
                made[each] = await open_inner(request, made, stack)
        return await enter(lambda: make(request, made), stack)

    return open_value


def _enter(factory: Callable[..., Any]) -> Callable[[Callable[[], Any], contextlib.AsyncExitStack], Awaitable[Any]]:
    """How the value of this kind of factory is made and released."""
    if inspect.isasyncgenfunction(factory):
        return lambda make, stack: stack.enter_async_context(contextlib.asynccontextmanager(make)())
    if inspect.isgeneratorfunction(factory):
        return lambda make, stack: _enter_sync(contextlib.contextmanager(make)(), stack)

    async def plain(make: Callable[[], Any], stack: contextlib.AsyncExitStack) -> Any:
        value = make()
        return await value if inspect.isawaitable(value) else value

    return plain


async def _enter_sync(context: contextlib.AbstractContextManager[Any], stack: contextlib.AsyncExitStack) -> Any:
    return stack.enter_context(context)
