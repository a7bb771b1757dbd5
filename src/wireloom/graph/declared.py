"""Declared: classes whose annotated fields are data, and whose other names are ours.

Law: a field that would hide a method is refused where it is written.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any, dataclass_transform

import msgspec

from wireloom.errors import ConfigError

__all__ = ["Declared", "source_of_class"]


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class Declared(msgspec.StructMeta):
    """The metaclass of nodes, edges and walkers: msgspec structs whose fields are given by name.

    A class names what its fields and methods must not be called in `__reserved__`, and what a method may be called all
    the same in `__hideable__`; its subclasses inherit that.
    """

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Makes the class.

        Raises:
            ConfigError: a field has a name that is ours.
        """
        reserved: frozenset[str] = frozenset().union(*(getattr(base, "__reserved__", ()) for base in bases))
        fields = _annotated(namespace)
        taken = [own for own in fields if own in reserved or (reserved and own.startswith("_"))]
        hideable: frozenset[str] = frozenset().union(*(getattr(base, "__hideable__", ()) for base in bases))
        taken += [own for own in namespace if own in reserved and own not in hideable]
        if taken:
            kind = "field" if taken[0] in fields else "method"
            message = f"{name}: a {kind} cannot be called {taken[0]!r}; that name is Wireloom's"
            raise ConfigError(message, _place(namespace))
        if "__firstlineno__" not in namespace:  # Python has it from 3.13 on
            namespace["__firstlineno__"] = _first_line(namespace)
        options.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **options)


def _annotated(namespace: dict[str, Any]) -> list[str]:
    """The names that a class body annotates, whatever the annotations are."""
    annotations = namespace.get("__annotations__")
    if annotations is None and sys.version_info >= (3, 14):
        import annotationlib  # PEP 749: annotations are made when they are asked for

        make = annotationlib.get_annotate_from_class_namespace(namespace)
        if make is not None:
            annotations = annotationlib.call_annotate_function(make, annotationlib.Format.FORWARDREF)
    return [name for name in annotations or () if name not in ("__reserved__", "__hideable__")]


def _place(namespace: dict[str, Any]) -> str:
    """``file:line`` of the class body that is being run, found among the callers."""
    frame = _body_of(namespace)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _first_line(namespace: dict[str, Any]) -> int:
    """The line of a class with its decorators; 0 where it is not known."""
    frame = _body_of(namespace)
    if frame is None:
        return 0
    codes = [each for each in frame.f_code.co_consts if isinstance(each, CodeType)]
    lines = [each.co_firstlineno for each in codes if each.co_qualname == namespace.get("__qualname__")]
    return max((line for line in lines if line <= frame.f_lineno), default=0)


def _body_of(namespace: dict[str, Any]) -> FrameType | None:
    """The frame that makes a class, found among the callers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != namespace.get("__module__"):
        frame = frame.f_back
    return frame


def source_of_class(cls: type) -> str:
    """``file:line`` of a class: where its first function begins, or its module's file."""
    codes = [getattr(getattr(value, "function", value), "__code__", None) for value in vars(cls).values()]
    lines = [code.co_firstlineno for code in codes if code is not None]
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    file = next((code.co_filename for code in codes if code is not None), file) or ""
    line = vars(cls).get("__firstlineno__") or (min(lines) if lines else 0)
    return f"{file}:{line}" if line else file
