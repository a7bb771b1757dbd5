"""``wireloom connect``: a WebSocket client for the terminal and for pipes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

if TYPE_CHECKING:
    from wireloom.errors import HandshakeFailed

__all__ = ["Wishes", "connect"]

_OPEN_SECONDS = 10.0

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks of a connection.

    Attributes:
        url: ``ws://`` or ``wss://``.
        messages: sent first.
        once: ends with the first reply.
        headers: further request headers.
        subprotocols: those offered.
        proxy: a proxy's URL; True for the environment's, None for none.
        compression: offers permessage-deflate.
        timeout: seconds to wait, for the opening and for replies; None for the defaults.
        as_json: tells events as lines of JSON.
    """

    url: str
    messages: tuple[str, ...]
    once: bool
    headers: Pairs
    subprotocols: tuple[str, ...]
    proxy: str | Literal[True] | None
    compression: bool
    timeout: float | None
    as_json: bool


def _url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """``host:port/path`` and http URLs stand for their WebSocket."""
    if "://" not in value:
        return f"ws://{value}"
    scheme, separator, rest = value.partition("://")
    return {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme.lower()) + separator + rest


def _headers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Pairs:
    pairs = []
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not name.strip() or any(character in value for character in "\r\n\0"):
            raise click.BadParameter(f"{value!r} is not of the form 'Name: value'")
        pairs.append((name.strip(), text.strip()))
    return tuple(pairs)


def _proxy(context: click.Context, parameter: click.Parameter, value: str | None) -> str | Literal[True] | None:
    """``env`` stands for the environment's proxy."""
    from wireloom.clients.proxy import Proxy

    if value is None or value == "env":
        return True if value else None
    try:
        Proxy(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.argument("url", callback=_url)
@click.option("--send", "messages", metavar="TEXT", multiple=True, help="send this first; may be repeated")
@click.option("--once", is_flag=True, help="end with the first reply; exit code 1 if none comes")
@click.option("--header", "headers", metavar="'K: V'", multiple=True, callback=_headers, help="a header; repeatable")
@click.option("--subprotocol", "subprotocols", metavar="NAME", multiple=True, help="offer it; repeatable")
@click.option(
    "--proxy", metavar="URL", callback=_proxy, help="http://…, socks5://…, socks4://… or env: the environment's"
)
@click.option("--compression", is_flag=True, help="offer permessage-deflate")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="wait for opening and for replies")
@click.option("--json", "as_json", is_flag=True, help="a line of JSON for each message and for the close")
@click.pass_context
def connect(context: click.Context, /, **wishes: object) -> None:
    """Opens the WebSocket at URL and talks to it.

    In a terminal, type messages; Ctrl-D closes. From a pipe, each line is a message, and the connection closes when no
    reply has come for a second (or for --timeout).
    """
    import asyncio

    from wireloom.cli.conversation import hold
    from wireloom.errors import HandshakeFailed

    wanted = Wishes(**wishes)  # type: ignore[arg-type]
    try:
        context.exit(asyncio.run(hold(wanted, _OPEN_SECONDS)))
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    except HandshakeFailed as error:
        raise click.ClickException(_refusal(error)) from None
    except TimeoutError:
        seconds = _OPEN_SECONDS if wanted.timeout is None else wanted.timeout
        raise click.ClickException(f"{wanted.url} did not answer within {seconds:g} s") from None
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except OSError as error:
        raise click.ClickException(f"cannot connect to {wanted.url}: {_cause(error)}") from None


def _refusal(error: HandshakeFailed) -> str:
    """The status and what the body says about it."""
    if not error.status:
        return error.reason
    if error.status == 101:
        return f"not a WebSocket: {error.reason}"
    try:
        phrase = HTTPStatus(error.status).phrase
    except ValueError:
        phrase = "refused"
    message = _message_of(error.body)
    return f"refused with {error.status} {phrase}" + (f": {message}" if message and message != phrase else "")


def _message_of(body: bytes) -> str:
    """The words in an error's body: a JSON object's message or error, or short text; markup says nothing in a line."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return "" if text.startswith("<") else (text.splitlines() or [""])[0][:200]
    if isinstance(value, dict):
        value = next((value[key] for key in ("message", "error", "detail") if key in value), text)
    return str(value)[:200]


def _cause(error: OSError) -> str:
    import socket
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no TLS there; is it ws:// instead of wss://?" if "WRONG_VERSION" in str(error) else str(error)
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "nothing listens there"
    return os.strerror(error.errno) if error.errno else str(error)
