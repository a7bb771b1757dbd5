"""Who may open a WebSocket from a browser's page (RFC 6455 §10.2, RFC 6454)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from wireloom.errors import Deny
from wireloom.wire.handshake import RequestHead, check_origin


def origin_passes(origins: list[str], host: str = "example.com", allowed: Iterable[str] = ()) -> bool:
    head = RequestHead(
        "GET", "/", "1.1", b"", [(b"host", host.encode()), *((b"origin", it.encode()) for it in origins)]
    )
    try:
        check_origin(head, tuple(allowed))
    except Deny as deny:
        assert deny.status == 403
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        ("http://example.com", "example.com", True),
        ("https://example.com", "example.com", True),  # TLS may end before us
        ("HTTPS://Example.COM", "eXample.com", True),
        ("http://example.com", "example.com:80", True),
        ("http://example.com:80", "example.com", True),
        ("https://example.com", "example.com:443", True),
        ("https://example.com:443", "example.com", True),
        ("http://example.com:8080", "example.com:8080", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://example.com", "example.com:80", False),
        ("http://example.com", "example.com:443", False),
        ("http://example.com", "example.com:8080", False),
        ("http://example.com:8080", "example.com", False),
        ("http://example.com:8081", "example.com:8080", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://other.com", "example.com", False),
        ("http://sub.example.com", "example.com", False),
        ("http://example.com", "sub.example.com", False),
        ("http://notexample.com", "example.com", False),
        ("http://example.com.evil.org", "example.com", False),
        ("http://example.com.", "example.com", False),
        ("http://example.com@evil.org", "example.com", False),
        ("http://evil.org/example.com", "example.com", False),
        ("http://evil.org#@example.com", "example.com", False),
        ("http://evil.org?example.com", "example.com", False),
        ("http://evil.org\\@example.com", "example.com", False),
        ("ftp://example.com", "example.com", False),
        ("ws://example.com", "example.com", False),
        ("chrome-extension://example.com", "example.com", False),
        ("example.com", "example.com", False),
        ("//example.com", "example.com", False),
        ("null", "example.com", False),
        ("null", "null", False),
        ("", "example.com", False),
        ("http://", "example.com", False),
        ("http://", ":80", False),
        ("http://:80", ":80", False),
        ("http://[::1", "[::1", False),
        ("http://evil.org:99999", "example.com:99999", False),
        ("http://evil.org:x", "example.com:x", False),
    ],
)
def test_the_same_host_passes(origin: str, host: str, passes: bool) -> None:
    assert origin_passes([origin], host) is passes


EXACT, ANY = "https://app.example.com", "https://*.example.com"


@pytest.mark.parametrize(
    ("pattern", "origin", "passes"),
    [
        (EXACT, "https://app.example.com", True),
        (EXACT, "HTTPS://APP.example.com", True),
        (EXACT.upper(), "https://app.example.com", True),
        (EXACT, "http://app.example.com", False),
        (EXACT, "https://app.example.com:8443", False),
        (EXACT, "https://app.example.com.evil.org", False),
        (EXACT, "https://evil.org/https://app.example.com", False),
        (EXACT, "app.example.com", False),
        (ANY, "https://a.example.com", True),
        (ANY, "https://a.b.example.com", True),
        (ANY.upper(), "https://A.example.com", True),
        (ANY, "https://example.com", False),
        (ANY, "https://notexample.com", False),
        (ANY, "https://example.com.evil.org", False),
        (ANY, "https://a.example.com.evil.org", False),
        (ANY, "https://evil.org/.example.com", False),
        (ANY, "https://evil.org/a.example.com", False),
        (ANY, "https://evil.org?.example.com", False),
        (ANY, "https://evil.org#.example.com", False),
        (ANY, "https://evil.org\\.example.com", False),
        (ANY, "https://evil.org:80/.example.com", False),
        (ANY, "https://evil.org:443@a.example.com", False),
        (ANY, "https://.example.com", False),
        (ANY, "http://a.example.com", False),
        (ANY, "https://a.example.com:8443", False),
        (ANY, "null", False),
        (ANY, ".example.com", False),
        (ANY, "://a.example.com", False),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://*.example.com:8443", "https://a.example.com", False),
        ("*", "https://evil.org", True),
        ("*", "null", True),
        ("null", "null", True),
        ("*.example.com", "https://a.example.com", False),
        ("https://*", "https://evil.org", False),
        ("https://a*.example.com", "https://ab.example.com", False),
        ("", "https://evil.org", False),
    ],
)
def test_allowed_origins(pattern: str, origin: str, passes: bool) -> None:
    assert origin_passes([origin], "host.test", [pattern]) is passes
    assert origin_passes([origin], "host.test", ["https://else.test", pattern]) is passes


def test_without_an_origin_it_is_no_browser() -> None:
    assert origin_passes([])


def test_several_origins_are_refused() -> None:
    assert not origin_passes(["http://example.com", "http://example.com"])
    assert not origin_passes(["http://example.com", "http://evil.org"], allowed=["*"])
