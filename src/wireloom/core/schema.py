"""Annotations and JSON Schemas compiled: a message's decoder, a reply's encoder, a parameter's converter.

Law: what cannot be compiled fails at registration, with the type's name, the handler's name and file:line; what is
compiled raises at most ``InvalidJSON``, ``ValidationFailed`` or another ``RequestError`` for what a client sends.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from wireloom.core.codec import ReplyInvalid
from wireloom.core.json_schema import compile_check, validate_wire
from wireloom.core.json_text import CLIENT_ERRORS, cut, problem_of, refusal_of
from wireloom.core.plain import plain_of
from wireloom.core.pydantic_schema import Marks, compile_adapter, decoder_of, encoder_of, marks_of
from wireloom.errors import ConfigError, RequestError, ValidationFailed

__all__ = [
    "Decoding",
    "Encoding",
    "compile_message",
    "compile_parameter",
    "compile_response",
    "describe_parameter",
    "encode_raw",
]

Schema = dict[str, Any] | bool

_UNTYPED = (inspect.Parameter.empty, None, Any, object, dict, list)
_STREAMS = (collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator)
_TEXT = {"type": "string"}
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
_RAW_SCHEMAS: dict[frozenset[type], dict[str, Any]] = {
    frozenset({str}): _TEXT,
    frozenset({bytes}): _BINARY,
    frozenset({str, bytes}): {"anyOf": [_TEXT, _BINARY]},
}
# What a string can never be converted to (msgspec.inspect).
_STRUCTURES = (
    msgspec.inspect.CollectionType,
    msgspec.inspect.TupleType,
    msgspec.inspect.DictType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.StructType,
    msgspec.inspect.CustomType,
)


_UNSAID = (inspect.Parameter.empty, Any, object)
_RAW_REPLIES = (str, bytes, bytearray, memoryview, types.NoneType)


@dataclass(frozen=True, slots=True)
class Decoding:
    """A compiled message type.

    Args:
        decode: one whole message → the handler's value; raises ``RequestError`` and its subclasses.
        json: the message is JSON; else the endpoint is raw: its replies go through ``encode_raw``.
        schema: JSON Schema for the documents; ``None``: anything.
    """

    decode: Callable[[str | bytes], Any]
    json: bool
    schema: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Encoding:
    """A compiled response type.

    Args:
        encode: a reply → compact UTF-8 JSON; raises ``ReplyInvalid`` when it breaks the response schema, and
            ``TypeError``, ``ValueError`` or ``RecursionError`` when it has no JSON form.
        json: always true; raw endpoints use ``encode_raw``.
        schema: JSON Schema for the documents; ``None``: anything.
    """

    encode: Callable[[Any], bytes]
    json: bool
    schema: dict[str, Any] | None


def compile_message(annotation: Any, *, schema: Schema | None = None, owner: str, source: str) -> Decoding:
    """Compile the annotation of a handler's message, or the JSON Schema given for it.

    Args:
        annotation: a resolved annotation; absent as ``inspect.Parameter.empty`` or ``None``.
        schema: JSON Schema, which then decides; the handler gets plain Python values.
        owner: the handler's name, for errors.
        source: ``file:line`` of the handler, for errors.

    Raises:
        ConfigError: the annotation or the schema cannot be compiled.
    """
    if schema is not None:
        with _compiling("message_schema", owner, source):
            return _message_by_schema(annotation, schema)
    with _compiling(f"decoder for {_name_of(annotation)}", owner, source):
        marks = marks_of(annotation)
        if kinds := _raw_kinds(annotation):
            return Decoding(_raw_decoder(annotation, kinds, marks), False, _RAW_SCHEMAS[kinds])
        if _is_untyped(annotation, marks):
            return Decoding(_guarded(msgspec.json.Decoder().decode), True, None)
        if marks.pydantic:
            adapter = compile_adapter(annotation, marks)
            return Decoding(decoder_of(adapter), True, adapter.json_schema(mode="validation"))
        decode, document = _native(annotation)
        return Decoding(_guarded(decode), True, document)


def compile_response(annotation: Any, *, schema: Schema | None = None, owner: str, source: str) -> Encoding:
    """Compile a handler's return annotation, or the JSON Schema given for its replies.

    Args:
        annotation: a resolved annotation; of ``AsyncIterator[T]`` and its kin, ``T`` is compiled.
        schema: JSON Schema, which then decides.
        owner: the handler's name, for errors.
        source: ``file:line`` of the handler, for errors.

    Raises:
        ConfigError: the annotation or the schema cannot be compiled.
    """
    write = msgspec.json.Encoder(enc_hook=plain_of).encode
    if schema is not None:
        with _compiling("response_schema", owner, source):
            check = compile_check(schema)
            return Encoding(_checked(write, lambda payload: validate_wire(check, payload)), True, _document_of(schema))
    annotation = _yielded(annotation)
    with _compiling(f"response schema for {_name_of(annotation)}", owner, source):
        marks = marks_of(annotation)
        if annotation is types.NoneType or _is_untyped(annotation, marks):
            return Encoding(write, True, None)
        if marks.pydantic:
            adapter = compile_adapter(annotation, marks)
            document = adapter.json_schema(mode="serialization")
            return Encoding(encoder_of(adapter, document), True, document)
        decode, document = _native(annotation)
        return Encoding(_checked(write, decode), True, document)


def require_raw_response(annotation: Any, *, owner: str, source: str) -> None:
    """What a raw endpoint's handler says that it replies can be sent as it is, as far as can be told from its classes.

    Args:
        annotation: a resolved annotation, as of `compile_response`.
        owner: the handler's name, for errors.
        source: ``file:line`` of the handler, for errors.

    Raises:
        ConfigError: some of it is neither text nor bytes.
    """
    bare = _bare(_yielded(annotation))
    members = get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (bare,)
    for member in map(_bare, members):
        kind = get_origin(member) or member
        if isinstance(kind, type) and kind not in _UNSAID and not issubclass(kind, _RAW_REPLIES):
            told = f"{owner!r} takes text or bytes as they are, and answers so, but returns {_name_of(member)}"
            raise ConfigError(f"{told}; return str or bytes, or take JSON, such as message: dict", source)


def compile_parameter(annotation: Any, *, owner: str, source: str, name: str) -> Callable[[str], Any] | None:
    """Compile the conversion of one path or query string value.

    Args:
        annotation: a resolved annotation of a scalar type.
        owner: the handler's name, for errors.
        source: ``file:line`` of the handler, for errors.
        name: the parameter's name, for errors.

    Returns:
        A function that raises ``ValueError`` for a text that does not fit; ``None``: the text is passed as it is.

    Raises:
        ConfigError: no string can become this type.
    """
    with _compiling(f"converter for parameter {name!r} to {_name_of(annotation)}", owner, source):
        marks = marks_of(annotation)
        bare = _bare(annotation)
        if not any(marks) and any(bare is known for known in (inspect.Parameter.empty, None, Any, object, str)):
            return None
        if marks.pydantic:
            adapter = compile_adapter(annotation, marks)
            adapter.json_schema()
            return typing.cast("Callable[[str], Any]", adapter.validate_strings)
        _native_schema(annotation)
        described = msgspec.inspect.type_info(annotation)
        members = described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
        if all(isinstance(member, (*_STRUCTURES, msgspec.inspect.NoneType)) for member in members):
            raise TypeError("a path or query value is one string; use a scalar type")
        return lambda text: msgspec.convert(text, annotation, strict=False)


def describe_parameter(annotation: Any) -> dict[str, Any]:
    """JSON Schema of one path or query value, for the documents.

    Args:
        annotation: one that `compile_parameter` has compiled.
    """
    marks = marks_of(annotation)
    if not any(marks) and any(_bare(annotation) is known for known in (inspect.Parameter.empty, None, Any, object)):
        return dict(_TEXT)
    if marks.pydantic:
        schema: dict[str, Any] = compile_adapter(annotation, marks).json_schema()
        return schema
    return _native_schema(annotation)


def encode_raw(reply: Any) -> str | bytes:
    """The reply of a raw endpoint as it is: ``str`` for a text frame, bytes for a binary one.

    Raises:
        TypeError: the reply is neither.
    """
    if isinstance(reply, str):
        return reply
    if isinstance(reply, bytes | bytearray | memoryview):
        return bytes(reply)
    raise TypeError(f"this endpoint's message is raw, so its replies are str or bytes, not {type(reply).__name__}")


# -- messages ---------------------------------------------------------------------------------------------------------


def _guarded(decode: Callable[[str], Any]) -> Callable[[str | bytes], Any]:
    """The decoder of text and binary messages; everything that a client can cause becomes a ``RequestError``."""

    def guarded(data: str | bytes) -> Any:
        try:
            # Binary data becomes text first: msgspec does not check the UTF-8 of members that it skips.
            return decode(data if data.__class__ is str else str(data, "utf-8"))  # type: ignore[arg-type]
        except CLIENT_ERRORS as error:
            raise refusal_of(error, data) from error

    return guarded


def _message_by_schema(annotation: Any, schema: Schema) -> Decoding:
    check = compile_check(schema)
    bare = _bare(annotation)
    if isinstance(bare, type) and (
        dataclasses.is_dataclass(bare)
        or issubclass(bare, msgspec.Struct)
        or hasattr(bare, "__attrs_attrs__")
        or hasattr(bare, "__pydantic_validator__")
        or _is_named_tuple(bare)
    ):
        raise TypeError(f"the handler would get plain values, not {bare.__name__}; give either a type or a schema")
    plain = _guarded(msgspec.json.Decoder().decode)

    def decode(data: str | bytes) -> Any:
        value = plain(data)
        check(value, data)
        return value

    return Decoding(decode, True, _document_of(schema))


def _native(annotation: Any) -> tuple[Callable[[str | bytes], Any], dict[str, Any]]:
    """msgspec's decoder and JSON Schema of a type.

    attrs: msgspec runs validators and ``__attrs_post_init__`` (what they raise as ValueError or TypeError becomes
    ``details``); it runs no converters and reads attribute names, not aliases.
    """
    if not _is_named_tuple(_bare(annotation)):
        return msgspec.json.Decoder(annotation).decode, _native_schema(annotation)
    return _named_tuple(annotation, _bare(annotation))


def _named_tuple(annotation: Any, cls: Any) -> tuple[Callable[[str | bytes], Any], dict[str, Any]]:
    """A NamedTuple at the top is also read from an object with its field names, by a TypedDict made for it."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {
        name: typing.NotRequired[hints[name]] if name in cls._field_defaults else hints[name] for name in cls._fields
    }
    # The name differs from the class's own: msgspec's JSON Schema cannot tell two types of one name apart.
    twin = typing.TypedDict(f"{cls.__name__}Object", fields)  # type: ignore[misc]
    either: Any = Union[annotation, twin]  # noqa: UP007 - not every annotation has the operator
    decode = msgspec.json.Decoder(either).decode

    def read(data: str | bytes) -> Any:
        value = decode(data)
        return cls(**value) if value.__class__ is dict else value

    return read, _native_schema(either)


def _native_schema(annotation: Any) -> dict[str, Any]:
    return msgspec.json.schema(annotation, schema_hook=_schema_hook)


def _schema_hook(cls: Any) -> dict[str, Any]:
    """msgspec makes a decoder even for a class that it cannot read; only the JSON Schema shows it."""
    if cls is object:
        return {"description": "any JSON value"}
    raise TypeError(
        f"{getattr(cls, '__name__', cls)} cannot be read from JSON; "
        "use a TypedDict, dataclass, NamedTuple, msgspec.Struct, attrs class or pydantic model"
    )


def _raw_decoder(annotation: Any, kinds: frozenset[type], marks: Marks) -> Callable[[str | bytes], Any]:
    convert = _raw_check(annotation, marks) if any(marks) else None

    def decode(data: str | bytes) -> Any:
        kind: type = str if isinstance(data, str) else bytes
        if kind not in kinds:
            raise RequestError("UNSUPPORTED_DATA", f"Expected a {'text' if kind is bytes else 'binary'} message")
        return convert(data) if convert else data

    return decode


def _raw_check(annotation: Any, marks: Marks) -> Callable[[str | bytes], Any]:
    """The constraints of an ``Annotated[str, …]``, which stays raw."""
    if marks.pydantic:
        convert = compile_adapter(annotation, marks).validate_python
    else:
        _native_schema(annotation)

        def convert(data: str | bytes) -> Any:
            return msgspec.convert(data, annotation)

    def check(data: str | bytes) -> Any:
        try:
            return convert(data)
        except ValueError as error:
            listed = error.errors() if hasattr(error, "errors") else None
            details = [{"path": "$", "message": cut(e["msg"])} for e in listed] if listed else [problem_of(error)]
            raise ValidationFailed(details) from error

    return check


# -- responses --------------------------------------------------------------------------------------------------------


# msgspec's words; what follows them is the value, which does not belong into a log
_REJECTED_VALUE = re.compile(r"^(Invalid (?:enum )?value) .*?(?= - at `[^`]*`$|$)", re.DOTALL)


def _checked(write: Callable[[Any], bytes], check: Callable[[bytes], Any]) -> Callable[[Any], bytes]:
    """Encode, then validate exactly what would go on the wire."""

    def encode(value: Any) -> bytes:
        payload = write(value)
        try:
            check(payload)
        except CLIENT_ERRORS as error:
            raise ReplyInvalid(cut(_REJECTED_VALUE.sub(r"\1", str(error)))) from error
        except ValidationFailed as error:
            raise ReplyInvalid(cut("{message} - at `{path}`".format(**error.details[0]))) from error
        return payload

    return encode


def _yielded(annotation: Any) -> Any:
    """``T`` of a streaming handler's ``AsyncIterator[T]``, ``AsyncGenerator[T, None]`` or ``AsyncIterable[T]``."""
    origin = get_origin(annotation) or annotation
    if any(origin is stream for stream in _STREAMS):
        return (get_args(annotation) or (Any,))[0]
    return annotation


# -- annotations ------------------------------------------------------------------------------------------------------


@contextmanager
def _compiling(what: str, owner: str, source: str) -> Iterator[None]:
    """Any failure of the libraries to compile a type is the application's configuration error."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(f"handler {owner!r}: cannot make a {what}: {cut(reason)}", source) from error


def _bare(annotation: Any) -> Any:
    """The type without ``Annotated``, ``type`` aliases and ``NewType`` around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = annotation.__origin__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) in (dict, list) and not get_args(annotation):  # typing.Dict, typing.List
            annotation = get_origin(annotation)
        else:
            return annotation


def _is_untyped(annotation: Any, marks: Marks) -> bool:
    bare = _bare(annotation)
    return not any(marks) and any(bare is known for known in _UNTYPED)


def _is_named_tuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def _raw_kinds(annotation: Any) -> frozenset[type] | None:
    """``{str}``, ``{bytes}`` or both when the annotation asks for payloads as they are."""
    bare = _bare(annotation)
    members = get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (bare,)
    kinds = [_bare(member) for member in members]
    return frozenset(kinds) if all(kind is str or kind is bytes for kind in kinds) else None


def _document_of(schema: Schema) -> dict[str, Any]:
    if isinstance(schema, dict):
        return schema
    return {} if schema else {"not": {}}


def _name_of(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "no annotation"
    return cut(annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation))
