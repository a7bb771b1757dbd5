"""Commands: what RedisOp can ask of a key-value store, and its arguments as every store takes them.

Law: both stores get the same arguments and raise the same failures, so that a route cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wireloom.errors import did_you_mean
from wireloom.faces.routes.expressions.values import BITS_64, a_kind, number_of
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.arguments import as_text, invalid

__all__ = ["COMMANDS", "Command", "KeyValueStore", "not_whole", "read_call", "store_full", "wrong_type"]

_MAX_TTL_SECONDS = 10**12  # Redis counts milliseconds in 64 bits


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: as Redis has it.
        needs: the fields that must be given.
        gives: what it results in, in words.
        help: what it does, in one sentence.
        takes: the fields that may be given, too.
    """

    name: str
    needs: tuple[str, ...]
    gives: str
    help: str
    takes: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields."""
        return self.needs + self.takes


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("GET", ("key",), "text, or null", "Gives the text of a key, null where there is none."),
        Command("SET", ("key", "value"), "true", "Sets a key, for good or for `ttl_seconds`.", ("ttl_seconds",)),
        Command("DEL", ("key",), "1, or 0 where there was none", "Removes a key, whatever it holds."),
        Command(
            *("EXPIRE", ("key", "ttl_seconds"), "true, or false where there is no such key"),
            "Lets a key vanish after so many seconds, fractions allowed; at once when they are 0 or less.",
        ),
        Command("INCR", ("key",), "the new number", "Adds 1 to the whole number of a key, which begins at 0."),
        Command("DECR", ("key",), "the new number", "Takes 1 from the whole number of a key, which begins at 0."),
        Command("EXISTS", ("key",), "1 or 0", "Tells whether there is a key, whatever it holds."),
        Command("HGET", ("key", "field"), "text, or null", "Gives the text of a field of a hash."),
        Command(
            *("HSET", ("key", "value"), "how many fields are new"),
            "Sets a `field` of a hash; without `field`, the value is an object and all its members are set.",
            ("field",),
        ),
        Command("HGETALL", ("key",), "an object of texts", "Gives all fields of a hash."),
        Command(
            *("LPUSH", ("key", "value"), "the length of the list"),
            "Puts a value before the first of a list; of a list of values, one after the other.",
        ),
        Command(
            *("LRANGE", ("key",), "a list of texts"),
            "Gives the items of a list from `start` (0) to `stop` (-1), included; negative ones count from the end.",
            ("start", "stop"),
        ),
        Command("SADD", ("key", "value"), "how many are new", "Adds a value, or all values of a list, to a set."),
        Command("SMEMBERS", ("key",), "a sorted list of texts", "Gives all members of a set."),
        Command(
            *("PUBLISH", ("key", "value"), "how many subscribers of Redis there were"),
            "Publishes a value on the channel of Redis that `key` names; the embedded store has no subscribers.",
        ),
    )
}


class KeyValueStore(Protocol):
    """What RedisOp works on. It opens itself with the first command; a server need not be there before."""

    async def stop(self) -> None:
        """Ends its connections."""

    async def run(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Runs a command.

        Args:
            command: a name in `COMMANDS`.
            arguments: its fields.

        Returns:
            What `Command.gives` says, of JSON's kinds.

        Raises:
            Failure: ``INVALID_ARGUMENT``, ``WRONG_TYPE`` (of the key), ``NOT_A_NUMBER``, ``STORE_FULL``,
                ``UNAVAILABLE``, or ``REDIS_ERROR`` for what else a server refuses.
        """


def read_call(command: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a command and its arguments as stores take them.

    Every text is text. ``ttl_seconds`` is `ttl`, in whole milliseconds; the value of HSET is `fields`; those of LPUSH
    and SADD are `items`. A field that may lack and is null is as if it were not there.

    Raises:
        Failure: ``INVALID_ARGUMENT``: no such command, a field lacks, is none of the command, or cannot be taken.
    """
    known = _require(command, arguments)
    given = {name: value for name, value in arguments.items() if value is not None}
    read: dict[str, Any] = {"key": _name(command, "key", given)}
    if "value" in known.fields:
        read |= _read_value(command, given)
    elif "field" in given:
        read["field"] = _name(command, "field", given)
    if "ttl_seconds" in given:
        read["ttl"] = _milliseconds(command, given["ttl_seconds"])
    return command, read | {name: _whole(command, name, given[name]) for name in ("start", "stop") if name in given}


def _require(command: str, arguments: Mapping[str, Any]) -> Command:
    """The command, if it has all its fields and no other."""
    known = COMMANDS.get(command)
    if known is None:
        raise invalid(f"there is no command {command!r}{did_you_mean(command, COMMANDS)}")
    for name in arguments:
        if name not in known.fields:
            raise invalid(f"{command} has no field {name!r}{did_you_mean(name, known.fields)}")
    for name in known.needs:
        if arguments.get(name) is None:
            raise invalid(f"{command} takes no null as {name}" if name in arguments else f"{command} needs {name}")
    return known


def _read_value(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    value = given["value"]
    if command == "HSET":
        return {"fields": _members(given)}
    if command in ("LPUSH", "SADD"):
        items = value if isinstance(value, list) else [value]
        if not items:
            raise invalid(f"{command} takes no empty list")
        return {"items": [_text(command, item) for item in items]}
    return {"value": _text(command, value)}


def _members(given: Mapping[str, Any]) -> dict[str, str]:
    value = given["value"]
    if "field" in given:
        return {_name("HSET", "field", given): _text("HSET", value)}
    if not isinstance(value, dict) or not value:
        met = "an empty one" if isinstance(value, dict) else a_kind(value)
        raise invalid(f"HSET needs a field, or an object as value, not {met}")
    return {as_text(name): _text("HSET", member) for name, member in value.items()}


def _name(command: str, field: str, given: Mapping[str, Any]) -> str:
    value = given[field]
    if isinstance(value, list | dict):
        raise invalid(f"{command} takes text as {field}, not {a_kind(value)}")
    return _text(command, value)


def _text(command: str, value: Any) -> str:
    if value is None:
        raise invalid(f"{command} takes no null as value")
    return as_text(value)


def _milliseconds(command: str, value: Any) -> int:
    seconds = number_of(value, f"ttl_seconds of {command}")
    if not abs(seconds) <= _MAX_TTL_SECONDS:
        raise invalid(f"ttl_seconds of {command} is beyond {_MAX_TTL_SECONDS}")
    if seconds <= 0 and command == "SET":
        raise invalid("ttl_seconds of SET must be above 0")
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def _whole(command: str, name: str, value: Any) -> int:
    number = number_of(value, f"{name} of {command}")
    if number != number // 1 or int(number) not in BITS_64:
        raise invalid(f"{name} of {command} must be a whole number of 64 bits")
    return int(number)


# -- what goes wrong -------------------------------------------------------------------------------------------------


def wrong_type(command: str) -> Failure:
    """The key holds something else than the command works on."""
    return Failure(f"the key holds another kind of value than {command} works on", "WRONG_TYPE")


def not_whole(command: str) -> Failure:
    """INCR or DECR of what is no number, or would be none afterwards."""
    return Failure(f"{command} works on whole numbers that stay within 64 bits", "NOT_A_NUMBER")


def store_full() -> Failure:
    """There is no room."""
    return Failure("the key-value store is full", "STORE_FULL")
