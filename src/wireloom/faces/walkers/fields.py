"""Fields: from what came in to a walker, in one pass. Law: what a caller sends is a walker or a `RequestError`."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from starlette.datastructures import UploadFile

from wireloom.core.components import MULTIPART
from wireloom.core.json_text import CLIENT_ERRORS, MAX_DEPTH, is_shallow, problem, problem_of, refusal_of, require_json
from wireloom.core.plain import plain_of
from wireloom.errors import ConfigError, InvalidJSON, ValidationFailed
from wireloom.faces.walkers.walker import Walker
from wireloom.graph.declared import source_of_class

__all__ = ["Fields", "split_token"]

_MULTIPLE = (list, set, frozenset, tuple)
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder(enc_hook=plain_of).encode


class Fields:
    """How a walker is made of JSON, of a query or of a form; compiled once.

    Args:
        walker: its class.

    Attributes:
        schema: JSON Schema of the fields.
        has_files: whether a field is a file, so that only a form can bring it.

    Raises:
        ConfigError: a field's type cannot be read.
    """

    def __init__(self, walker: type[Walker]) -> None:
        self._walker = walker
        try:
            hints = get_type_hints(walker)
            self._hints = get_type_hints(walker, include_extras=True)
            self._decode = msgspec.json.Decoder(walker, dec_hook=_read_foreign).decode
            self.schema: dict[str, Any] = msgspec.json.schema(walker, schema_hook=_describe_foreign)
        except (TypeError, NameError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            message = f"{walker.__name__}: a field cannot be read from JSON: {reason}"
            raise ConfigError(message, source_of_class(walker)) from error
        names = walker.__struct_fields__
        self._multiple = {name for name in names if _is_multiple(hints[name])}
        self.has_files = any(_holds_file(hints[name]) for name in names)
        if self.has_files:
            self.schema[MULTIPART] = True

    def schema_with_token(self) -> dict[str, Any]:
        """The schema of a message, which may bring a token beside the fields."""
        schema = copy.deepcopy(self.schema)
        own = schema["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        own["properties"]["token"] = {"type": "string", "description": "Whose run it is; taken out of the message."}
        return schema

    def from_json(self, payload: str | bytes) -> Walker:
        """A walker of a JSON object.

        Raises:
            InvalidJSON: it is none.
            ValidationFailed: it does not fit.
        """
        try:
            text: str = payload if payload.__class__ is str else str(payload, "utf-8")  # type: ignore[arg-type]
            walker: Walker = self._decode(text)
        except CLIENT_ERRORS as error:
            raise refusal_of(error, payload) from error
        if len(text) > MAX_DEPTH:
            _require_shallow(text)
        return walker

    def from_members(self, members: Mapping[str, Any]) -> Walker:
        """A walker of members that are texts, files or, in lists, several of these; texts become what fields are.

        Raises:
            ValidationFailed: they do not fit.
        """
        try:
            walker = msgspec.convert(members, self._walker, strict=False, dec_hook=_read_foreign)
        except (msgspec.ValidationError, *CLIENT_ERRORS) as error:
            raise ValidationFailed([problem_of(error)]) from error
        for name in members:
            _require_finite(name, getattr(walker, name))
        return walker

    def from_json_beside(self, payload: str | bytes, members: Mapping[str, Any]) -> Walker:
        """A walker of a JSON object, which is read as strictly as ever, and of fields that came beside it, which win.

        Args:
            payload: the object.
            members: texts or, in lists, several of these, by the names of fields; texts become what fields are.

        Raises:
            InvalidJSON: the payload is no JSON.
            ValidationFailed: it or a text does not fit.
        """
        try:
            body = _decode_members(payload)
        except CLIENT_ERRORS as error:
            raise refusal_of(error, payload) from error
        beside = {name: msgspec.Raw(_encode(self._read_text(name, value))) for name, value in members.items()}
        return self.from_json(_encode({**body, **beside}))

    def _read_text(self, name: str, value: Any) -> Any:
        try:
            read = msgspec.convert(value, self._hints[name], strict=False, dec_hook=_read_foreign)
        except (msgspec.ValidationError, *CLIENT_ERRORS) as error:
            found = problem_of(error)
            raise ValidationFailed([{**found, "path": f"$.{name}{found['path'][1:]}"}]) from error
        _require_finite(name, read)
        return read

    def members(self, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Pairs of a query or a form by name: all values where the field is a list, else the last."""
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in self._multiple:
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
        return found


def _require_shallow(text: str) -> None:
    """What is nested deeper might be stored from here and could not be read from a deeper stack."""
    if text.count("[") + text.count("{") > MAX_DEPTH and not is_shallow(msgspec.json.decode(text)):
        raise ValidationFailed([problem("$", "nested too deeply")])


def _require_finite(name: str, value: Any) -> None:
    """JSON has no number for what ``float("nan")`` reads; nor has a field."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationFailed([problem(f"$.{name}", "Expected a finite number")])


def split_token(payload: str | bytes) -> tuple[Any, str | bytes]:
    """The ``token`` of a message, None where it has none, and the message without it.

    Raises:
        InvalidJSON: the message is no JSON.
    """
    try:
        text = payload if isinstance(payload, str) else str(payload, "utf-8")
    except UnicodeError as error:
        raise InvalidJSON(str(error)) from error
    try:
        members = _decode_members(text)
    except CLIENT_ERRORS:
        require_json(text)
        return None, text  # an array or a number: whoever may know is told later that it is no object
    require_json(text)
    token = members.pop("token", None)
    if token is None:
        return None, text
    try:
        shown: Any = _decode_text(token)
    except CLIENT_ERRORS:
        shown = ""  # a token that is no text lets nobody in
    return shown, _encode(members).decode()


def _read_foreign(kind: Any, value: Any) -> Any:
    """A value of a type that msgspec does not know: a file, or pydantic's by its method."""
    if isinstance(kind, type) and issubclass(kind, UploadFile):
        if not isinstance(value, UploadFile):
            raise ValueError("Expected a file: send the fields as multipart/form-data")
        return value
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"{kind!r} cannot be read from JSON")
    try:
        return validate(value)
    except ValueError as error:
        listed = getattr(error, "errors", None)
        raise ValueError(listed()[0]["msg"] if listed is not None else str(error)) from error


def _describe_foreign(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, UploadFile):
        return {"type": "string", "format": "binary"}
    describe = getattr(kind, "model_json_schema", None)
    if describe is None:
        raise TypeError(f"{getattr(kind, '__name__', kind)} cannot be read from JSON")
    described: dict[str, Any] = describe()
    return described


def _is_multiple(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_multiple(arm) for arm in get_args(hint))
    return (get_origin(hint) or hint) in _MULTIPLE


def _holds_file(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, UploadFile):
        return True
    return any(_holds_file(arm) for arm in getattr(hint, "__args__", ()))
