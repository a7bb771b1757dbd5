"""Documents over HTTP: ``/openapi.json``, ``/asyncapi.json`` and ``/docs``, the page that shows them.

Law: a document is made when it is first asked for, and again only after the application's declarations have changed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from wireloom.config import Config
from wireloom.core.asyncapi import Server, asyncapi
from wireloom.core.openapi import openapi
from wireloom.core.operation import Sources

__all__ = ["PATHS", "Documents"]

PATHS = ("/openapi.json", "/asyncapi.json", "/docs")

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}

_encode = msgspec.json.Encoder().encode


class Documents:
    """The documents of one application.

    Args:
        read: gives what they are made from.
    """

    def __init__(self, read: Callable[[], Sources]) -> None:
        self._read = read
        self._openapi: dict[str, Any] | None = None
        self._asyncapi: dict[str, Any] | None = None

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made now."""
        return openapi(self._read())

    def asyncapi(self, config: Config | None = None) -> dict[str, Any]:
        """The AsyncAPI document, made now.

        Args:
            config: says where the application will be reached; None: whoever asks knows it better.
        """
        return asyncapi(self._read(), _server_of(config) if config is not None else Server())

    def forget(self) -> None:
        """The declarations have changed."""
        self._openapi = self._asyncapi = None

    def routes(self) -> list[Route]:
        """Where they are served."""
        page = files("wireloom").joinpath("pages", "docs.html").read_text("utf-8")
        headers = {**_HEADERS, "Content-Security-Policy": _policy_of(page), "Referrer-Policy": "no-referrer"}

        async def show(request: HTTPRequest) -> Response:
            return Response(page, headers=headers, media_type="text/html")

        return [
            Route("/openapi.json", self._answer_openapi),
            Route("/asyncapi.json", self._answer_asyncapi),
            Route("/docs", show),
        ]

    async def _answer_openapi(self, request: HTTPRequest) -> Response:
        base = request.scope.get("root_path", "").rstrip("/")
        document = self._openapi = self._openapi or self.openapi()
        return _answer({**document, "servers": [{"url": base or "/"}]})

    async def _answer_asyncapi(self, request: HTTPRequest) -> Response:
        base = request.scope.get("root_path", "").rstrip("/")
        server = Server(request.headers.get("host", "localhost"), request.scope["scheme"] == "https", base)
        document = self._asyncapi = self._asyncapi or self.asyncapi()
        return _answer({**document, "servers": {"default": server.describe()}})


def _server_of(config: Config) -> Server:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return Server(f"{host}:{config.port}", config.ssl_certfile is not None)


def _answer(document: dict[str, Any]) -> Response:
    return Response(_encode(document), headers=_HEADERS, media_type="application/json")


def _policy_of(page: str) -> str:
    """The Content-Security-Policy of a page that loads nothing: what is inline is known by its hash."""
    sources: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources[kind].append(f"'sha256-{digest}'")
    return (
        f"default-src 'none'; script-src {' '.join(sources['script'])}; style-src {' '.join(sources['style'])}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
