"""Types of pydantic, when the user's annotations have any; pydantic is imported only then.

Law: pydantic reads and writes its own types by its own rules; the JSON syntax stays ours.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from wireloom.core.codec import ReplyInvalid
from wireloom.core.json_schema import compile_check, validate_wire
from wireloom.core.json_text import MAX_DETAILS, path_of, problem, require_json
from wireloom.errors import InvalidJSON, RequestError, ValidationFailed

__all__ = ["Marks", "compile_adapter", "decoder_of", "encoder_of", "marks_of"]

_MAX_ERRORS_TO_LIST = 1000  # building the list of 300,000 errors took a second
_FOREIGN = {"pydantic", "pydantic_core", "annotated_types"}


class Marks(typing.NamedTuple):
    """Whose an annotation is, by what stands anywhere inside it."""

    pydantic: bool  # pydantic's types, or constraints of annotated_types, which msgspec silently ignores
    msgspec: bool  # Struct or Meta, which pydantic refuses or silently ignores


def marks_of(annotation: Any) -> Marks:
    """Look through containers, unions, ``Annotated`` and the fields of classes; recursive types are seen once."""
    found: set[str] = set()
    _walk(annotation, found, set())
    return Marks("pydantic" in found, "msgspec" in found)


def _walk(annotation: Any, found: set[str], seen: set[Any]) -> None:
    if isinstance(annotation, list | tuple):  # the arguments of a Callable
        inner: tuple[Any, ...] = tuple(annotation)
    elif isinstance(annotation, type) and not typing.get_args(annotation):
        if annotation in seen:
            return
        seen.add(annotation)
        if _is_pydantic_class(annotation):
            found.add("pydantic")
            return  # what is inside is pydantic's affair
        if issubclass(annotation, msgspec.Struct):
            found.add("msgspec")
        inner = tuple(_fields_of(annotation).values())
    elif type(annotation).__name__ == "TypeAliasType" or isinstance(annotation, typing.NewType):
        if annotation in seen:
            return
        seen.add(annotation)
        inner = (annotation.__value__ if hasattr(annotation, "__value__") else annotation.__supertype__,)
    else:
        for metadata in getattr(annotation, "__metadata__", ()):
            _mark_metadata(metadata, found)
        inner = (typing.get_origin(annotation), *typing.get_args(annotation))
    for item in inner:
        if item is not None:
            _walk(item, found, seen)


def _is_pydantic_class(cls: type) -> bool:
    if _comes_from(cls, {"pydantic", "pydantic_core"}):
        return True
    return any(hasattr(cls, name) for name in ("__get_pydantic_core_schema__", "__pydantic_config__"))


def _mark_metadata(metadata: Any, found: set[str]) -> None:
    if isinstance(metadata, msgspec.Meta):
        found.add("msgspec")
    elif _comes_from(type(metadata), _FOREIGN) or hasattr(metadata, "__get_pydantic_core_schema__"):
        found.add("pydantic")


def _comes_from(cls: type, packages: set[str]) -> bool:
    return any(base.__module__.partition(".")[0] in packages for base in cls.__mro__)


def _fields_of(cls: type) -> dict[str, Any]:
    if cls.__module__ in sys.stdlib_module_names:
        return {}
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # an unresolvable name: the compiler of the type reports it
        return {}


def compile_adapter(annotation: Any, marks: Marks) -> Any:
    """A ``TypeAdapter``.

    Raises:
        TypeError: pydantic is missing, or the annotation also has types of msgspec.
    """
    if marks.msgspec:
        raise TypeError("it mixes pydantic (or annotated_types) with msgspec.Struct or msgspec.Meta; use one of them")
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise TypeError(
            "its constraints (annotated_types) need pydantic: pip install 'wireloom[pydantic]', or use msgspec.Meta"
        ) from None
    return TypeAdapter(annotation)


def decoder_of(adapter: Any) -> Callable[[str | bytes], Any]:
    """JSON text → the value, by ``validate_json``."""
    from pydantic import ValidationError

    validate = adapter.validate_json

    def decode(data: str | bytes) -> Any:
        try:
            text = data if isinstance(data, str) else str(data, "utf-8")
            if "NaN" in text or "Infinity" in text:  # jiter takes them for numbers; within strings they are text
                require_json(text)
            return validate(text)
        except ValidationError as error:
            raise _refusal_of(error, text) from error
        except UnicodeError as error:
            raise InvalidJSON("not UTF-8") from error
        except RecursionError as error:
            raise InvalidJSON("nested too deeply") from error

    return decode


def _refusal_of(error: Any, text: str) -> RequestError:
    try:
        require_json(text)
    except InvalidJSON as invalid:
        return invalid
    problems = _problems(error, text)
    if problems is None:
        return InvalidJSON("nested too deeply, or a number too long")
    return ValidationFailed(problems)


def _problems(error: Any, text: str | None = None) -> list[dict[str, str]] | None:
    """``details`` from pydantic's errors; None when its parser gave up on the text."""
    if error.error_count() > _MAX_ERRORS_TO_LIST:
        return [problem("$", f"{error.error_count()} problems")]
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return None
    try:
        value = msgspec.json.decode(text) if text is not None else None
    except ValueError:  # a number that only pydantic can hold
        value = None
    return [problem(path_of(_location(e["loc"], e["type"], value)), e["msg"]) for e in errors[:MAX_DETAILS]]


def _location(parts: tuple[Any, ...], kind: str, value: Any) -> list[Any]:
    """The parts that lead through the value; pydantic also names union members and tags, which are in no payload."""
    if not isinstance(value, dict | list):
        return list(parts)
    kept: list[Any] = []
    for index, part in enumerate(parts):
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            kept.append(part)
            value = value[part]
        elif kind == "missing" and index == len(parts) - 1:
            kept.append(part)
    return kept


def encoder_of(adapter: Any, schema: dict[str, Any]) -> Callable[[Any], bytes]:
    """A reply → JSON, checked as a value by pydantic and as it goes on the wire by the documented JSON Schema.

    Pydantic does not read the wire form back: serialization aliases and serializers write what validation may not read.
    The schema alone would miss validators; pydantic alone misses instances changed or made without validation.
    """
    from pydantic import ValidationError
    from pydantic_core import PydanticSerializationError

    check = compile_check(_without_patterns(schema))

    def encode(value: Any) -> bytes:
        try:
            valid = adapter.validate_python(value)
        except ValidationError as error:
            raise ReplyInvalid(_reason(_problems(error))) from error
        try:
            payload: bytes = adapter.dump_json(valid, by_alias=True, warnings=False)
        except PydanticSerializationError as error:
            raise TypeError(str(error)) from error
        try:
            validate_wire(check, payload)
        except ValidationFailed as error:
            raise ReplyInvalid(_reason(error.details)) from error
        except msgspec.DecodeError as error:  # ``ser_json_inf_nan="constants"`` writes NaN
            raise ReplyInvalid(f"not JSON: {error}") from error
        return payload

    return encode


def _reason(problems: list[dict[str, str]] | None) -> str:
    first = (problems or [problem("$", "not JSON")])[0]
    return f"{first['message']} - at `{first['path']}`"


def _without_patterns(schema: Any) -> Any:
    """A copy without regular expressions: pydantic has applied them itself, and its ``\\w`` is not ECMA-262's."""
    if isinstance(schema, dict):
        return {
            key: _without_patterns(value)
            for key, value in schema.items()
            if not (key == "pattern" and isinstance(value, str))
        }
    return [_without_patterns(item) for item in schema] if isinstance(schema, list) else schema
