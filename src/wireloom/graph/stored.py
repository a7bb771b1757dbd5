"""Stored: the fields of nodes and edges as JSON text, and back. Law: what does not fit is told, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec
import msgspec.inspect

from wireloom.core.json_text import MAX_DEPTH, is_shallow
from wireloom.errors import ConfigError, WireloomError
from wireloom.graph.declared import source_of_class

__all__ = ["StoredMisfit", "decode_fields", "encode_checked", "encode_fields", "require_storable", "unknown_members"]

T = TypeVar("T")

_decoders: WeakKeyDictionary[type, Callable[[str | bytes], Any]] = WeakKeyDictionary()


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class StoredMisfit(WireloomError):
    """What is stored does not fit the class of today's code."""


def _read_foreign(kind: Any, value: Any) -> Any:
    """A value of a type that msgspec does not know: pydantic's, by its method."""
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"{kind!r} cannot be stored")
    return validate(value)


def _write_foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a field with a {type(value).__qualname__} in it cannot be stored")
    return dump(mode="json")


encode_fields = msgspec.json.Encoder(enc_hook=_write_foreign).encode
"""The fields of a node or an edge → JSON."""


def unknown_members(kind: Any, text: str) -> dict[str, msgspec.Raw] | None:
    """What is stored and is no field of the class: another version of the code knows it. None: there is nothing."""
    members = _decode_members(text)
    unknown = {name: value for name, value in members.items() if name not in kind.__struct_fields__}
    return unknown or None


def encode_checked(made: Any, name: str, unknown: dict[str, msgspec.Raw] | None = None) -> bytes:
    """As `encode_fields`, for the store: what could not be read back is not written.

    Args:
        made: a node or an edge.
        name: its id, for errors.
        unknown: what is stored besides, which stays.

    Raises:
        TypeError: a field has a value that is not of its type, or is nested too deeply.
    """
    fields = encode_fields(made)
    try:
        _decoder_of(type(made))(fields)
        if fields.count(b"[") + fields.count(b"{") > MAX_DEPTH and not is_shallow(msgspec.json.decode(fields)):
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} cannot be stored: {error}") from None
    return fields if unknown is None else encode_fields({**_decode_members(fields), **unknown})


def decode_fields(kind: type[T], text: str | bytes, name: str) -> T:
    """A node or an edge with the fields that are stored; those that are new in the class have their defaults.

    Args:
        kind: its class.
        text: as it is stored.
        name: its id, for errors.

    Raises:
        StoredMisfit: a field has another type by now, or a new one has no default.
    """
    try:
        made: T = _decoder_of(kind)(text)
        return made
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StoredMisfit(
            f"{name} as it is stored does not fit {kind.__name__} ({source_of_class(kind)}): {error}"
        ) from None


def _decoder_of(kind: type) -> Callable[[str | bytes], Any]:
    decode = _decoders.get(kind)
    if decode is None:
        decode = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=_read_foreign).decode
    return decode


def require_storable(kind: type) -> None:
    """Refuses a class with fields that cannot be stored and read back.

    Raises:
        ConfigError: naming the class.
    """
    try:
        msgspec.json.Decoder(kind, dec_hook=_read_foreign)
        foreign = [*_foreign_types(msgspec.inspect.type_info(kind), set())]
    except (TypeError, NameError) as error:
        raise ConfigError(f"{kind.__name__} cannot be stored: {error}", source_of_class(kind)) from None
    for each in foreign:  # msgspec believes that the hooks know them all
        if not hasattr(each, "model_validate"):
            raise ConfigError(f"{kind.__name__} cannot be stored: there is {each!r} in it", source_of_class(kind))


def _foreign_types(part: Any, seen: set[int]) -> Iterator[Any]:
    """The types that msgspec does not know, in a description by it."""
    if isinstance(part, tuple):
        for each in part:
            yield from _foreign_types(each, seen)
    elif isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(part) not in seen:
        seen.add(id(part))
        if isinstance(part, msgspec.inspect.CustomType):
            yield part.cls
        for name in part.__struct_fields__:
            yield from _foreign_types(getattr(part, name), seen)
