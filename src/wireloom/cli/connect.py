"""``wireloom connect``: a WebSocket client for the terminal and for pipes."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

if TYPE_CHECKING:
    from ssl import SSLContext

    from wireloom.errors import HandshakeFailed

__all__ = ["Wishes", "connect"]

_OPEN_SECONDS = 10.0
_MAX_TOKEN_BYTES = 64 * 1024
_EPILOG = (
    "Exit codes: 0 after an end that was wished for or normal; 1 when the connection failed, was refused or was closed"
    " with another code, or --once had no reply; 2 for a command line that makes no sense; 130 after Ctrl-C."
)

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks of a connection.

    Attributes:
        url: ``ws://`` or ``wss://``.
        messages: sent first.
        once: ends with the first reply.
        headers: further request headers, with that of the token.
        subprotocols: those offered.
        proxy: a proxy's URL; True for the environment's, None for none.
        compression: offers permessage-deflate.
        timeout: seconds to wait, for the opening and for replies; None for the defaults.
        as_json: tells events as lines of JSON.
        cafile: whom to trust, in PEM; None for whom the system trusts.
        history: keeps what is typed, for the next time.
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
    cafile: str | None
    history: bool


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


def _read_token(value: str | None) -> str | None:
    """A token from where it was said to be; read last of all, as somebody may be asked for it."""
    if value is None:
        return None
    token = _bare(_token_text(value))
    if not re.fullmatch(r"[!-~]+", token):
        told = "a token has characters of ASCII, at least one, and no spaces"
        raise click.BadParameter(told, param_hint="--token")
    return token


def _token_text(value: str) -> str:
    if value == "-":
        return str(click.prompt("Token", hide_input=True, err=True)) if sys.stdin.isatty() else _first_line()
    if value.startswith("@"):
        try:
            return Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            told = f"cannot read {value[1:]!r}: {getattr(error, 'strerror', 'not UTF-8')}"
            raise click.BadParameter(told, param_hint="--token") from None
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in os.environ:
            raise click.BadParameter(f"there is no environment variable {name!r}", param_hint="--token")
        return os.environ[name]
    return value


def _first_line() -> str:
    """The first line of stdin; what follows stays there, for messages."""
    line = b""
    while len(line) < _MAX_TOKEN_BYTES and (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode("utf-8", "replace")


def _bare(token: str) -> str:
    """``x`` of ``x`` or ``Bearer x``."""
    scheme, _, rest = token.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else token.strip()


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


@click.command(epilog=_EPILOG)
@click.argument("url", callback=_url)
@click.option("--send", "messages", metavar="TEXT", multiple=True, help="send this first; may be repeated")
@click.option("--once", is_flag=True, help="end with the first reply; exit code 1 if none comes")
@click.option(
    "--token",
    metavar="TOKEN",
    help="log in with it; @FILE, env:NAME or - (the first line of stdin, or to be asked) keep it out of the list of"
    " processes",
)
@click.option("--header", "headers", metavar="'K: V'", multiple=True, callback=_headers, help="a header; repeatable")
@click.option("--subprotocol", "subprotocols", metavar="NAME", multiple=True, help="offer it; repeatable")
@click.option("--cafile", metavar="FILE", help="trust these certificates, in PEM, instead of the system's")
@click.option(
    "--proxy", metavar="URL", callback=_proxy, help="http://…, socks5://…, socks4://… or env: the environment's"
)
@click.option("--compression", is_flag=True, help="offer permessage-deflate")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="wait for opening and for replies")
@click.option("--json", "as_json", is_flag=True, help="a line of JSON for each message and for the close")
@click.option("--history/--no-history", default=True, help="keep what is typed for the next time, which is the default")
@click.pass_context
def connect(context: click.Context, /, token: str | None, headers: Pairs, **wishes: object) -> None:
    """Opens the WebSocket at URL and talks to it.

    In a terminal, type messages: Ctrl-D closes, Ctrl-C forgets the line, a space before a line keeps it out of the
    history. From a pipe, each line is a message, and the connection closes when no reply has come for a second (or for
    --timeout).
    """
    import asyncio

    from wireloom.cli.conversation import hold
    from wireloom.errors import HandshakeFailed

    wanted = Wishes(headers=headers, **wishes)  # type: ignore[arg-type]
    trust = _tls(wanted)
    wanted = _with_token(wanted, token)
    try:
        context.exit(asyncio.run(hold(wanted, trust, _OPEN_SECONDS)))
    except HandshakeFailed as error:
        raise click.ClickException(_refusal(error, wanted.url)) from None
    except TimeoutError:
        seconds = _OPEN_SECONDS if wanted.timeout is None else wanted.timeout
        raise click.ClickException(f"{_shown(wanted.url)} did not answer within {seconds:g} s") from None
    except BrokenPipeError:
        raise  # nobody reads stdout any more
    except OSError as error:
        raise click.ClickException(f"cannot connect to {_shown(wanted.url)}: {_cause(error)}") from None
    except ValueError as error:  # after OSError: a certificate that is not trusted is of both
        raise click.UsageError(str(error), context) from None


def _with_token(wishes: Wishes, where: str | None) -> Wishes:
    """The wishes with the token's header; says so where others may read it on the way."""
    from wireloom.clients.address import parse_url
    from wireloom.errors import WebSocketSyntaxError

    if where is not None and any(name.lower() == "authorization" for name, _ in wishes.headers):
        raise click.UsageError("--token and --header 'Authorization: …' say the same; give one of them")
    try:
        address = parse_url(wishes.url)
    except WebSocketSyntaxError as error:
        raise click.UsageError(str(error)) from None
    token = _read_token(where)
    if token is None:
        return wishes
    is_near = re.fullmatch(r"localhost|127(\.\d+){3}|::1", address.host)
    if not address.is_secure and not is_near:
        click.echo(f"warning: the token goes to {address.host} without TLS; is there a wss:// URL?", err=True)
    return replace(wishes, headers=(*wishes.headers, ("Authorization", f"Bearer {token}")))


def _shown(url: str) -> str:
    """The URL without user and password."""
    from wireloom.clients.address import parse_url

    return parse_url(url).public_url


def _tls(wishes: Wishes) -> SSLContext | None:
    """Whom to trust, where that is not the system's choice."""
    if wishes.cafile is None:
        return None
    import ssl

    if not wishes.url.startswith("wss:"):
        raise click.UsageError("--cafile is for wss://; this URL has no TLS")
    try:
        return ssl.create_default_context(cafile=wishes.cafile)
    except ssl.SSLError:
        raise click.BadParameter(f"{wishes.cafile}: no certificate in PEM", param_hint="--cafile") from None
    except OSError as error:
        raise click.BadParameter(f"{wishes.cafile}: {error.strerror}", param_hint="--cafile") from None


def _refusal(error: HandshakeFailed, url: str) -> str:
    """The status, what the body says about it, and what to do."""
    if not error.status:
        is_strange = "HTTP/1.1" in error.reason or "closed the connection" in error.reason
        return _plain(error.reason) + ("; is it wss://?" if is_strange and url.startswith("ws:") else "")
    if error.status == 101:
        return f"not a WebSocket: {_plain(error.reason)}"
    try:
        phrase = HTTPStatus(error.status).phrase
    except ValueError:
        phrase = "refused"
    message = _message_of(error.body)
    told = f"refused with {error.status} {phrase}" + (f": {message}" if message and message != phrase else "")
    return told + _advice(error)


def _advice(error: HandshakeFailed) -> str:
    """What to do about a refusal, where that is known."""
    if error.status == 401:
        return "; give a token with --token"
    if error.status in (200, 426):
        return "; no WebSocket is served at this path"
    if 300 <= error.status < 400 and error.headers.get("location"):
        return f"; it points to {_plain(error.headers['location'])}"
    return ""


def _plain(text: str) -> str:
    """Text of the server's, for a terminal."""
    return "".join(character for character in text if character.isprintable())[:200]


def _message_of(body: bytes) -> str:
    """The words in an error's body: a JSON object's message or error, or short text; markup says nothing in a line."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return "" if text.startswith("<") else _plain((text.splitlines() or [""])[0])
    if isinstance(value, dict):
        value = next((value[key] for key in ("message", "error", "detail") if key in value), text)
    return _plain(str(value))


def _cause(error: OSError) -> str:
    import socket
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}; if it is yours, name its file with --cafile"
    if isinstance(error, ssl.SSLError):
        return "no TLS there; is it ws:// instead of wss://?" if "WRONG_VERSION" in str(error) else str(error)
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "nothing listens there"
    return os.strerror(error.errno) if error.errno else str(error)
