"""Documents over HTTP: ``/openapi.json``, ``/asyncapi.json`` and ``/docs``, the page that shows them.

Law: a document is made when it is first asked for, and again only after the application's declarations have changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from wireloom.config import Config
from wireloom.core.asyncapi import Server, asyncapi
from wireloom.core.openapi import openapi
from wireloom.core.operation import Sources
from wireloom.errors import CLOSE_CODES

__all__ = ["PATHS", "Documents"]

PATHS = ("/openapi.json", "/asyncapi.json", "/docs")

_HEADERS = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
_KINDS = {".css": "text/css", ".js": "text/javascript"}
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?\Z")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'; connect-src 'self'"
)

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
        return [
            Route("/openapi.json", self._answer_openapi),
            Route("/asyncapi.json", self._answer_asyncapi),
            *_page_routes(),
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


@cache
def _read_page() -> tuple[bytes, dict[str, tuple[bytes, str]]]:
    """The page, and what it loads by name, with media types: files of the package, and what close codes mean."""
    folder = files("wireloom").joinpath("pages", "docs")
    codes = {code: {"meaning": each.meaning, "come_back": each.come_back} for code, each in CLOSE_CODES.items()}
    loaded = {
        each.name: (each.read_bytes(), _KINDS[suffix])
        for each in folder.iterdir()
        if (suffix := PurePath(each.name).suffix) in _KINDS
    }
    loaded["close-codes.json"] = (_encode(codes), "application/json")
    return folder.joinpath("index.html").read_bytes(), loaded


def _page_routes() -> list[Route]:
    """The page, and what it loads at paths below its own."""
    page, loaded = _read_page()

    async def show(request: HTTPRequest) -> Response:
        policy = _POLICY + _sockets_of(request.headers.get("host", ""))
        headers = {**_HEADERS, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return Response(page, headers=headers, media_type="text/html")

    return [
        Route("/docs", show),
        *(Route(f"/docs/{name}", _serve(content, kind)) for name, (content, kind) in sorted(loaded.items())),
    ]


def _serve(content: bytes, kind: str) -> Callable[[HTTPRequest], Awaitable[Response]]:
    """Answers with a file, or that it is still the one that the browser has (RFC 9110 §13.1.2)."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}

    async def answer(request: HTTPRequest) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    return answer


def _sockets_of(host: str) -> str:
    """The page's own host as a source of WebSockets: not for every browser is it in ``'self'`` (CSP 3 §6.7.2.8)."""
    return f" ws://{host} wss://{host}" if _HOST.match(host) else ""
