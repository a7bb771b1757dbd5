"""``wireloom openapi`` and ``wireloom asyncapi``: the documents of an application, as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from wireloom.cli.options import targets_argument

__all__ = ["asyncapi", "openapi"]


@click.command()
@targets_argument
def openapi(targets: tuple[str, ...]) -> None:
    """Prints the OpenAPI document of TARGETs.

    It describes the endpoints of HTTP.
    """
    from wireloom.cli.target import load_app

    _print(load_app(targets).app.openapi())


@click.command()
@targets_argument
def asyncapi(targets: tuple[str, ...]) -> None:
    """Prints the AsyncAPI document of TARGETs.

    It describes the WebSocket endpoints.
    """
    from wireloom.cli.target import load_app

    _print(load_app(targets).app.asyncapi())


def _print(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
