"""Outbound: HTTP requests to other servers. Laws: only to hosts that are allowed, no further, and no longer than asked.

A redirect is an answer like any other, as the host that it names may be one that is not allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wireloom.faces.routes.expressions.values import MAX_TEXT, json_of, parse_json, text_of
from wireloom.faces.routes.failure import Failure

if TYPE_CHECKING:
    import httpx

__all__ = ["METHODS", "Outbound"]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "https": 443}
_MAX_CONNECTIONS = 100
_CHARSETS = ("iso-8859-1", "us-ascii", "windows-1252")  # besides UTF-8; others' decoders may be slow


class Outbound:
    """Asks other servers.

    Args:
        hosts: that may be asked: ``example.com``, ``example.com:8443`` or ``*.example.com``.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._client: httpx.AsyncClient | None = None

    def refusal(self, url: str) -> str | None:
        """Why a URL may not be asked; None: it may."""
        import httpx

        try:
            parts = httpx.URL(url)  # as it will be asked: two readers of one URL may find two hosts
        except (httpx.InvalidURL, TypeError):
            parts = httpx.URL()
        host, port = parts.host.lower(), parts.port or _PORTS.get(parts.scheme)
        if parts.scheme not in _PORTS or not host:
            return "a URL begins with http:// or https:// and names a host"
        if parts.userinfo:
            return "a URL of a route holds no user and password; send a header"
        if any(_is_allowed(host, port, pattern) for pattern in self._hosts):
            return None
        return f"the host {host!r} is not among those of the option routes_http_hosts"

    async def request(self, method: str, url: str, headers: Any, body: Any, seconds: float) -> dict[str, Any]:
        """Asks a server and gives its answer.

        Args:
            headers: an object, or null.
            body: a text is sent as it is, null is no body, anything else is JSON.
            seconds: how long it may take.

        Raises:
            Failure: ``NOT_ALLOWED``, ``UNAVAILABLE``, or the answer is ``TOO_LARGE``.
        """
        import anyio
        import httpx

        refusal = self.refusal(url)
        if refusal is not None:
            raise Failure(refusal, "NOT_ALLOWED")
        sent = {name.lower(): text_of(value) for name, value in (headers or {}).items()}
        if body is not None and not isinstance(body, str):
            body = json_of(body)
            sent.setdefault("content-type", "application/json")
        try:
            with anyio.fail_after(seconds):
                async with self._open().stream(method, url, headers=sent, content=body) as response:
                    return _answer(response, await _read(response))
        except TimeoutError:
            raise Failure(f"{_shown(url)} did not answer within {seconds:g} s", "UNAVAILABLE") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise Failure(f"{_shown(url)} cannot be asked: {type(error).__name__}", "UNAVAILABLE") from error

    def _open(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            # No proxies of the environment: they would be asked in the place of hosts that are allowed
            limits = httpx.Limits(max_connections=_MAX_CONNECTIONS)
            self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=None, limits=limits)
        return self._client

    async def stop(self) -> None:
        """Closes its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _is_allowed(host: str, port: int | None, pattern: str) -> bool:
    name, _, wanted = pattern.partition(":") if not pattern.startswith("[") else (pattern, "", "")
    if wanted and wanted != str(port):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:])
    return host == name.strip("[]")


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_TEXT:
            raise Failure(f"the answer is larger than {MAX_TEXT} bytes", "TOO_LARGE")
    return bytes(body)


def _answer(response: httpx.Response, body: bytes) -> dict[str, Any]:
    charset = (response.charset_encoding or "").lower()
    text = body.decode(charset if charset in _CHARSETS else "utf-8", errors="replace")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = text and (kind == "application/json" or kind.endswith("+json"))
    return {
        "status": response.status_code,
        "ok": response.is_success,
        "headers": dict(response.headers),
        "body": parse_json(text) if is_json else text,
    }


def _shown(url: str) -> str:
    """What of a URL may be told: no query, which may hold a key."""
    return url.partition("?")[0].partition("#")[0][:200]
