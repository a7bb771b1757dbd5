"""Fit: a value as an option's type has it, from text, TOML or code."""

from __future__ import annotations

import ipaddress
import re
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from wireloom.config.declared import Option, Texts
from wireloom.errors import ConfigError

__all__ = ["fit"]

_HOST_PATTERN = re.compile(r"\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?", re.IGNORECASE)


def fit(option: Option, value: Any, place: str) -> Any:
    """The value as the option's type.

    Args:
        place: where it was found, for the error.

    Raises:
        ConfigError: it does not fit.
    """
    wanted = option.type
    if get_origin(wanted) in (types.UnionType, Union):
        if value is None:
            return None
        wanted = next(arm for arm in get_args(wanted) if arm is not type(None))
    try:
        if get_origin(wanted) is Literal:
            return _choice(get_args(wanted), value)
        if get_origin(wanted) is tuple:
            return _TEXTS[option.texts](_texts(value))
        return _in_range(option, _scalar(wanted, value))
    except ValueError as error:
        shown = f"of the type {type(value).__name__}" if option.secret else repr(value)
        raise ConfigError(f"{option.name} {error}, not {shown}", place) from None


def _in_range(option: Option, value: Any) -> Any:
    if option.within is None:
        return value
    least, most = option.within
    if value < least or (most is not None and value > most):
        raise ValueError(f"must be {least} or more" if most is None else f"must be from {least} to {most}")
    return value


def _choice(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    texts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a list of texts")
    return tuple(texts)


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            text == "*" or ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"must be addresses, networks or *, and {text!r} is none") from None
    return texts


def _hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if _HOST_PATTERN.fullmatch(text) is None:
            try:
                ipaddress.ip_network(text.strip("[]"), strict=False)
            except ValueError:
                what = "hosts without scheme and port, such as example.com, *.example.com or 10.0.0.0/8"
                raise ValueError(f"must be {what}, and {text!r} is none") from None
    return texts


_TEXTS: dict[Texts, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "any": lambda texts: texts,
    "addresses": _addresses,
    "hosts": _hosts,
}


def _scalar(wanted: type, value: Any) -> Any:
    if wanted is bool:
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if str(value).lower() not in words:
            raise ValueError("must be true or false")
        return words[str(value).lower()]
    if wanted in (int, float):
        return _number(wanted, value)
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _number(wanted: type, value: Any) -> Any:
    name = "a whole number" if wanted is int else "a number"
    try:
        number = wanted(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or (isinstance(value, float) and number != value):
        raise ValueError(f"must be {name}")
    if not 0 <= number < float("inf"):
        raise ValueError(f"must be {name} of 0 or more")
    return number
