"""``wireloom client``: a typed client for an application, written from its documents."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from wireloom import __version__
from wireloom.cli.options import targets_argument
from wireloom.errors import ConfigError

__all__ = ["client"]

_LANGUAGES = {".ts": "ts", ".mts": "ts", ".py": "python"}
_OPEN_SECONDS = 10.0
_LOGIN = re.compile(r"^(\w+://)[^/?#]*@")  # user and password of a URL, which no file and no message has to tell


@click.command()
@targets_argument
@click.option("--lang", type=click.Choice(["ts", "python"]), help="the language  [default: by the suffix of --out]")
@click.option("--out", metavar="FILE", help="where to write it  [default: the standard output]")
@click.option("--check", is_flag=True, help="write nothing; exit 1 if FILE is not what would be written")
def client(targets: tuple[str, ...], lang: str | None, out: str | None, check: bool) -> None:
    """Writes a typed client for TARGETs.

    TARGET may also be the URL of a running server, such as http://127.0.0.1:8000. TypeScript needs nothing but a
    platform with WebSocket and fetch: a browser, Node 22, Deno, Bun. Python needs Wireloom.
    """
    language = lang or _LANGUAGES.get(Path(out or "").suffix)
    if language is None:
        raise click.UsageError("Say in which language: --lang ts or --lang python.")
    if check and out is None:
        raise click.UsageError("--check needs --out FILE, the file that is to be checked.")
    text = _write(language, targets, out)
    if out is None:
        click.echo(text, nl=False)
    elif check:
        _require_same(Path(out), text, _command(language, targets, out))
    else:
        if not Path(out).parent.is_dir():
            raise click.ClickException(f"there is no folder {str(Path(out).parent)!r} to write {Path(out).name} to")
        Path(out).write_text(text, encoding="utf-8", newline="\n")
        click.echo(f"{out} written", err=True)


def _write(language: str, targets: Sequence[str], out: str | None) -> str:
    from wireloom.codegen import write_python, write_typescript

    head = [
        f"Made by `wireloom client` of Wireloom {__version__}. Do not edit; make it anew:",
        f"    {_command(language, targets, out)}",
    ]
    openapi, asyncapi = _documents(targets)
    return (write_typescript if language == "ts" else write_python)(openapi, asyncapi, head)


def _command(language: str, targets: Sequence[str], out: str | None) -> str:
    shown = [_LOGIN.sub(r"\1", target) for target in targets]
    written = ["wireloom", "client", "--lang", language, *shown, *(["--out", Path(out).name] if out else [])]
    return shlex.join(written)


def _documents(targets: Sequence[str]) -> tuple[Any, Any]:
    """OpenAPI and AsyncAPI, of an application or a server."""
    urls = [target for target in targets if target.startswith(("http://", "https://", "ws://", "wss://"))]
    if urls and len(targets) > 1:
        raise ConfigError(f"{urls[0]} is a server, and its documents are whole; it is the only TARGET then")
    if urls:
        return _fetch(urls[0], "openapi.json"), _fetch(urls[0], "asyncapi.json")
    from wireloom.cli.target import load_app

    app = load_app(targets).app
    return app.openapi(), app.asyncapi()


def _fetch(url: str, name: str) -> Any:
    import httpx

    where = f"{re.sub('^ws', 'http', url).rstrip('/')}/{name}"
    shown = _LOGIN.sub(r"\1", where)
    try:
        answer = httpx.get(where, timeout=_OPEN_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigError(f"{shown} cannot be read: {error}; is the server running there?") from None
    if answer.status_code != 200:
        why = "; it may be served with `docs = false`" if answer.status_code == 404 else ""
        raise ConfigError(f"{shown} answers {answer.status_code}{why}")
    try:
        return answer.json()
    except ValueError:
        raise ConfigError(f"{shown} is not JSON; is it a Wireloom application?") from None


def _require_same(file: Path, text: str, command: str) -> None:
    if not file.is_file():
        raise ConfigError(f"{file} is not there; write it: {command}")
    if file.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{file} is not up to date; write it anew: {command}")
