"""JSON Schema: a validator compiled once, for plain Python values.

Law: a schema is complete where it is written; nothing is fetched to understand it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from wireloom.core.json_text import MAX_DEPTH, MAX_DETAILS, is_shallow, path_of, problem
from wireloom.errors import ValidationFailed

__all__ = ["Check", "compile_check", "validate_wire"]

Check = Callable[[Any, str | bytes], None]

_MAX_TEXT_FOR_ALL_PROBLEMS = 4096  # bytes or characters; see _problems


def compile_check(schema: dict[str, Any] | bool) -> Check:
    """Compile a JSON Schema (2020-12, or the draft that its ``$schema`` names) into a check of decoded values.

    ``format`` is asserted up to draft-07 and an annotation from 2019-09 on, as the drafts say.

    Args:
        schema: an object or a boolean.

    Returns:
        A function of the decoded value and the JSON text it came from; it raises ``ValidationFailed``.

    Raises:
        ValueError: not a valid schema, or one with a reference that leads outside.
    """
    if not isinstance(schema, dict | bool):
        raise ValueError(f"a JSON Schema is a dict or a bool, not {type(schema).__name__}")
    validator = _compile(schema)
    is_valid = validator.is_valid

    def check(value: Any, text: str | bytes) -> None:
        # The validator recurses natively without a guard: 10 kB of JSON, 9,999 levels deep, end the process with a
        # segmentation fault (jsonschema_rs 0.60, Python 3.13). Few messages have enough brackets to need the walk.
        if _brackets(text) > MAX_DEPTH and not is_shallow(value):
            raise ValidationFailed([problem("$", "nested too deeply")])
        if not is_valid(value):
            raise ValidationFailed(_problems(validator, value, len(text)))

    return check


def _compile(schema: dict[str, Any] | bool) -> Any:
    try:
        jsonschema_rs.validator_for(schema, retriever=_refuse)  # unmasked, for errors that quote the schema
        # mask: messages name what was expected and do not repeat the client's data, which may be megabytes.
        return jsonschema_rs.validator_for(schema, mask="value", retriever=_refuse)
    except jsonschema_rs.ValidationError as error:
        at = path_of(error.instance_path)
        raise ValueError(f"{error.message}{f' (at {at} of the schema)' if at != '$' else ''}") from error


def _refuse(uri: str) -> Any:
    raise ValueError("references outside the schema are not fetched; put the definition under $defs")


def _brackets(text: str | bytes) -> int:
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _problems(validator: Any, value: Any, length: int) -> list[dict[str, str]]:
    """What is wrong: everything for a short text, the first problem for a long one.

    ``iter_errors`` is not lazy: for 300,000 wrong items it took 4.7 s, ``validate`` 0.1 ms.
    """
    try:
        if length <= _MAX_TEXT_FOR_ALL_PROBLEMS:
            return [_problem(error) for error in islice(validator.iter_errors(value), MAX_DETAILS)]
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [_problem(error)]
    except ValueError:  # a value that the library cannot put into an error
        pass
    return [problem("$", "The value does not match the schema")]


def _problem(error: Any) -> dict[str, str]:
    return problem(path_of(error.instance_path), error.message)


def validate_wire(check: Check, payload: bytes) -> None:
    """Run a check on encoded JSON, as it goes on the wire."""
    check(msgspec.json.decode(payload), payload)
