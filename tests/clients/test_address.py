"""WebSocket URLs, held against the URL Standard and the WebSockets Standard §3.1."""

from __future__ import annotations

import pytest

from wireloom.clients.address import parse_url
from wireloom.errors import WebSocketSyntaxError


@pytest.mark.parametrize(
    ("given", "serialized", "target"),
    [
        ("ws://example.com", "ws://example.com/", "/"),
        ("WS://EXAMPLE.com/A", "ws://example.com/A", "/A"),
        ("http://h/x", "ws://h/x", "/x"),
        ("https://h:443/x", "wss://h/x", "/x"),
        ("ws://h:80/", "ws://h/", "/"),
        ("wss://h:80/", "wss://h:80/", "/"),
        ("ws://h:/", "ws://h/", "/"),
        ("ws://h:0080/", "ws://h/", "/"),
        ("ws://h?q=1", "ws://h/?q=1", "/?q=1"),
        ("ws://h/?", "ws://h/?", "/?"),
        ("  ws://h/\t\na ", "ws://h/a", "/a"),
        ("ws:\\\\h\\a?b\\c", "ws://h/a?b\\c", "/a?b\\c"),
        ("ws://h/a b/ü?q=ü b&c='", "ws://h/a%20b/%C3%BC?q=%C3%BC%20b&c=%27", "/a%20b/%C3%BC?q=%C3%BC%20b&c=%27"),
        ("ws://h/%zz%41{}", "ws://h/%zz%41%7B%7D", "/%zz%41%7B%7D"),
        ("ws://h/a/../b/./c/%2e%2E/", "ws://h/b/", "/b/"),
        ("ws://h/../..", "ws://h/", "/"),
        ("ws://h/a/..", "ws://h/", "/"),
        ("ws://[::1]:9/", "ws://[::1]:9/", "/"),
        ("ws://[0:0:0:0:0:0:0:1]/", "ws://[::1]/", "/"),
        ("ws://bücher.example/", "ws://xn--bcher-kva.example/", "/"),
        ("ws://%65xample.com/", "ws://example.com/", "/"),
        ("ws://ada:p%40w@h/", "ws://ada:p%40w@h/", "/"),
        ("ws://ada@h/", "ws://ada@h/", "/"),
    ],
)
def test_a_url_is_serialized_as_the_standard_does(given: str, serialized: str, target: str) -> None:
    address = parse_url(given)
    assert (address.url, address.target) == (serialized, target)
    assert parse_url(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "h/path",
            "//h/",
            "ws:",
            "ws://",
            "ws:///path",
            "wss:/h",
            "ftp://h/",
            "mailto:a@b",
            "javascript:x",
            "ws//h",
        ),
        *("ws://h/#", "ws://h/#fragment", "ws://h?q#f"),
        *("ws://h:65536/", "ws://h:x/", "ws://h:-1/", "ws://h:80:80/", "ws://h:٣/"),
        *("ws://a b/", "ws://a%00b/", "ws://a<b/", "ws://a^b/", "ws://a|b/", "ws://%/", "ws://a%2fb/"),
        *("ws://[::1/", "ws://[1:2]/", "ws://[::g]/", "ws://[fe80::1%25eth0]/", "ws://::1/", "ws://[]/"),
        *("ws://@/", "ws://user@/", "ws://:80/", "ws://" + "ü" * 80 + "/"),
    ],
)
def test_what_is_no_websocket_url_is_a_syntax_error(url: str) -> None:
    with pytest.raises(WebSocketSyntaxError):
        parse_url(url)


def test_the_parts() -> None:
    address = parse_url("wss://ada:p%40w:x@[::1]:8443/a?b")
    assert (address.host, address.port, address.is_secure) == ("::1", 8443, True)
    assert (address.host_header, address.origin) == ("[::1]:8443", "wss://[::1]:8443")
    assert address.credentials == "ada:p@w:x"
    assert parse_url("ws://h/").origin == "ws://h"


@pytest.mark.parametrize(
    "url", ["ws://ada:hunter2@h:99999/", "ws://ada:hunter2@h/#x", "ftp://ada:hunter2@h/", "ws:\\\\ada:hunter2@a b/"]
)
def test_a_message_about_a_url_does_not_tell_its_password(url: str) -> None:
    with pytest.raises(WebSocketSyntaxError) as caught:
        parse_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    address = parse_url("ws://ada:hunter2@h/a?b")
    assert address.public_url == "ws://h/a?b"
    assert "hunter2" not in repr(address)
