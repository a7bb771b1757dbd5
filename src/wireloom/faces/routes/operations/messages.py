"""Messages: to this client, to channels, to the log."""

from __future__ import annotations

from wireloom.core.topic import channel as channel_topic
from wireloom.errors import sendable_close_code
from wireloom.faces.routes.expressions.values import text_of
from wireloom.faces.routes.messaging import (
    EVERY_ROUTE,
    MAX_CHANNEL,
    broadcast,
    close,
    join_channel,
    leave_channel,
    log,
    topic_of,
)
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.writer import Writer

__all__: list[str] = []

_COMMANDS = {
    "send": ("message",),
    "broadcast": ("message", "channel"),
    "join": ("channel",),
    "leave": ("channel",),
    "close": ("code", "reason"),
}
_NEEDED = {"send": "message", "broadcast": "message", "join": "channel", "leave": "channel"}
_LEVELS = ("debug", "info", "warning", "error")


@operation(
    "Log",
    Field("message", "text", needed=True),
    Field("level", "debug, info, warning or error", "info where it is left out"),
    help="Writes a line to the log, with the route and the connection.",
)
def _log(writer: Writer, fields: Fields) -> None:
    level = fields.word("level", _LEVELS, "info")
    writer.write(f"{writer.name(log)}(visit, {writer.context.route!r}, {level!r}, {fields.text('message')})")


@operation(
    "WsOp",
    Field("command", "send, broadcast, join, leave or close", needed=True),
    Field("message", "text", "of send and broadcast"),
    Field("channel", "text", "of join and leave; of broadcast where it is not for every connection of all routes"),
    Field("code", "number", "of close: the close code, 1000 where it is left out"),
    Field("reason", "text", "of close"),
    help="Sends to this client or to a channel, joins or leaves a channel, closes the connection.",
)
def _wsop(writer: Writer, fields: Fields) -> None:
    if "command" not in fields:  # which is told already
        for name in ("message", "channel", "reason"):
            fields.template(name)
        return
    command = fields.word("command", tuple(_COMMANDS))
    if writer.context.is_http and command != "broadcast":
        writer.problem(fields.value, f"an HTTP route has no connection to {command}; it can broadcast")
    for name in ("message", "channel", "code", "reason"):
        if name in fields and name not in _COMMANDS[command]:
            fields.problem(name, f"{command} has none")
    needed = _NEEDED.get(command)
    if needed is not None and needed not in fields:
        writer.problem(fields.value, f"{command} needs {needed!r}")
    _WRITE[command](writer, fields)


def _send(writer: Writer, fields: Fields) -> None:
    writer.write(f"connection.send_text({fields.text('message')})")


def _broadcast(writer: Writer, fields: Fields) -> None:
    hub = writer.context.services.hub
    publish, message = writer.name(hub.publish_nowait, "publish"), fields.text("message")
    if "channel" not in fields:
        writer.write(f"{publish}({writer.name(EVERY_ROUTE, 'EVERY_ROUTE')}, {message})")
    elif (literal := _literal_channel(writer, fields)) is not None:
        writer.write(f"{publish}({writer.name(channel_topic(literal), 'TOPIC')}, {message})")
    elif writer.context.is_http:
        writer.write(f"{publish}({writer.name(topic_of)}({fields.template('channel').text}), {message})")
    else:
        before = writer.scope.local_reads
        channel = fields.template("channel").text
        if not writer.in_function and writer.scope.local_reads == before:  # it speaks of the connection alone
            writer.context.channel_values.append(fields["channel"])
        writer.write(f"{publish}({writer.name(broadcast)}(visit, {channel}), {message})")
    if writer.context.services.config.backplane != "memory":
        writer.write(writer.wait(f"{writer.name(writer.context.services, 'services')}.drain()"))


def _literal_channel(writer: Writer, fields: Fields) -> str | None:
    """A channel that is written out, which every connection of the route joins."""
    data = fields["channel"].data if "channel" in fields else None
    is_number = isinstance(data, int | float) and not isinstance(data, bool)
    literal = text_of(data) if is_number else fields.literal("channel")
    if literal is None:
        return None
    if not 0 < len(literal) <= MAX_CHANNEL:
        fields.problem("channel", f"the name of a channel has from 1 to {MAX_CHANNEL} characters")
    writer.context.channels[literal] = None
    return literal


def _join(writer: Writer, fields: Fields) -> None:
    _literal_channel(writer, fields)
    writer.write(f"{writer.name(join_channel)}(visit, {fields.template('channel').text}, True)")


def _leave(writer: Writer, fields: Fields) -> None:
    _literal_channel(writer, fields)
    writer.write(f"{writer.name(leave_channel)}(visit, {fields.template('channel').text})")


def _close(writer: Writer, fields: Fields) -> None:
    code = fields["code"].data if "code" in fields else None
    if isinstance(code, int | float) and (isinstance(code, float) or not sendable_close_code(code)):
        fields.problem("code", f"{code} must not be sent in a close frame (RFC 6455 §7.4)")
    number, reason = fields.number("code", 1000), fields.text("reason")
    writer.write(f"{writer.name(close)}(visit, {number}, {reason})")


_WRITE = {"send": _send, "broadcast": _broadcast, "join": _join, "leave": _leave, "close": _close}
