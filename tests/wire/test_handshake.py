"""The opening handshake (RFC 6455 §4): heads, upgrades, origins, answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.errors import Deny, HandshakeFailed
from wireloom.wire.handshake import (
    RequestHead,
    accept_key,
    check_answer,
    check_upgrade,
    choose_subprotocol,
    deny_response,
    is_upgrade,
    offered_subprotocols,
    parse_head,
    switching_protocols,
    upgrade_request,
)

KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
Lines = list[tuple[str, str]]
UPGRADE: Lines = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]


def request(lines: Iterable[tuple[str, str]] = UPGRADE, start: str = "GET /chat HTTP/1.1") -> bytes:
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{start}\r\n{text}\r\n".encode("latin-1")


def without(name: str) -> Lines:
    return [line for line in UPGRADE if line[0] != name]


def changed(name: str, *values: str) -> RequestHead:
    """The upgrade with other headers of one name."""
    return parse_head(request([*without(name), *((name, value) for value in values)]))


def status(head: RequestHead) -> int:
    """101, or the status of the refusal."""
    try:
        assert check_upgrade(head) == ACCEPT
    except Deny as deny:
        return deny.status
    return 101


# -- reading a head ----------------------------------------------------------------------------------------------------


def test_a_head_is_read() -> None:
    head = parse_head(
        b"GET /a/b%20c?x=1&y=?2 HTTP/1.1\r\nHoST:h\r\nX-A: \t 1 , 2\t\r\nx-a:\r\nX-B: \xe9\r\nX-A: 3\r\n\r\n"
    )
    assert (head.method, head.path, head.query_string, head.version) == ("GET", "/a/b%20c", "x=1&y=?2", "1.1")
    pairs = [(b"host", b"h"), (b"x-a", b"1 , 2"), (b"x-a", b""), (b"x-b", b"\xe9"), (b"x-a", b"3")]
    assert head.headers == pairs
    assert head.header(b"x-a") == "1 , 2"
    assert head.header(b"x-b") == "é"
    assert head.header(b"x-c") is None
    assert head.tokens(b"x-a") == ["1", "2", "3"]
    assert head.tokens(b"x-c") == []
    head.compact()
    assert head.headers == pairs
    assert head.header(b"host") == "h"


def test_a_head_without_headers() -> None:
    made = RequestHead("GET", "/", "1.1", b"", [(b"a", b"b")])  # without the text, as other servers hand it over
    made.compact()
    assert made.headers == [(b"a", b"b")]
    head = parse_head(b"GET / HTTP/1.0\r\n\r\n")
    assert (head.headers, head.version, head.query_string) == ([], "1.0", "")
    head.compact()
    assert head.headers == []


@pytest.mark.parametrize(
    "start",
    [
        "",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET chat HTTP/1.1",
        "GET http:///chat HTTP/1.1",
        "GET http://h#x/chat HTTP/1.1",
        "GET ftp://h/chat HTTP/1.1",
        "GET xhttp://h/chat HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET /é HTTP/1.1",
        "G\x00T / HTTP/1.1",
        "G(T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET /\nX: HTTP/1.1",
        "GET /\rX: HTTP/1.1",
    ],
    ids=ascii,
)
def test_malformed_request_lines(start: str) -> None:
    with pytest.raises(Deny) as caught:
        parse_head(request(start=start))
    assert caught.value.status == 400


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.1\nX:1", "HTP/1.1", "1.1"])
def test_other_versions_of_http(version: str) -> None:
    with pytest.raises(Deny) as caught:
        parse_head(request(start=f"GET / {version}"))
    assert caught.value.status == 505


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://server.example.com/chat?a=1", "/chat", "a=1"),
        ("HTTPS://server.example.com:443/chat?a=/b", "/chat", "a=/b"),
        ("http://server.example.com", "/", ""),
        ("http://server.example.com/", "/", ""),
    ],
)
def test_an_absolute_target_is_read(target: str, path: str, query: str) -> None:
    # RFC 9112 §3.2.2: a server MUST accept the absolute form; RFC 6455 §4.2.1 allows it for the handshake
    head = parse_head(request(start=f"GET {target} HTTP/1.1"))
    assert (head.path, head.query_string) == (path, query)


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b": no name",
        b"Space : x",
        b" Space: x",
        b"\tTab: x",
        b"Two Words: x",
        b"Par(en: x",
        b"N\xe9: x",
        b"X: a\r\n folded",
        b"X: a\r\n\tfolded",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"X: a\n",
        b"X: \x00",
        b"X: a\x01b",
        b"X: a\x1fb",
        b"X: a\x7fb",
        b"\x00X: a",
        b"X\n: a",
        b"",
    ],
)
def test_malformed_headers(line: bytes) -> None:
    for lines in (line + b"\r\nHost: h", b"Host: h\r\n" + line, b"Host: h\r\n" + line + b"\r\nA: b"):
        with pytest.raises(Deny) as caught:
            parse_head(b"GET / HTTP/1.1\r\n" + lines + b"\r\n\r\n")
        assert caught.value.status == 400


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_head_or_a_refusal(data: bytes, sane_start: bool) -> None:
    head = b"GET / HTTP/1.1\r\n" + data if sane_start else data
    try:
        parsed = parse_head(head + b"\r\n\r\n")
    except Deny as deny:
        assert deny.status in (400, 505)
    else:
        for name, value in parsed.headers:
            assert name == name.lower() and name
            assert not {0, 10, 13} & set(value)
        is_upgrade(parsed)
        assert status(parsed) in (400, 426)


# -- upgrades ----------------------------------------------------------------------------------------------------------


def test_the_rfcs_sample_key() -> None:
    assert accept_key(KEY.encode()) == ACCEPT
    head = parse_head(request())
    assert is_upgrade(head)
    assert check_upgrade(head) == ACCEPT


def test_header_names_and_tokens_in_any_case_and_order() -> None:
    for lines in (
        [(name.upper(), value) for name, value in UPGRADE],
        [(name.lower(), value) for name, value in reversed(UPGRADE)],
        [*without("Upgrade"), ("uPgRaDe", "WebSocket")],
        [*without("Connection"), ("Connection", "UPGRADE")],
    ):
        head = parse_head(request(lines))
        assert is_upgrade(head)
        assert status(head) == 101


@pytest.mark.parametrize(
    ("name", "values", "yes"),
    [
        ("Connection", ["keep-alive, Upgrade"], True),  # Firefox
        ("Connection", ["keep-alive,Upgrade"], True),
        ("Connection", ["Upgrade , keep-alive"], True),
        ("Connection", ["keep-alive", "Upgrade"], True),
        ("Connection", ["", ", ,upgrade,,"], True),
        ("Connection", ["keep-alive"], False),
        ("Connection", ["Upgrades"], False),
        ("Connection", ["not-upgrade"], False),
        ("Connection", ["Upgrade;q=1"], False),
        ("Connection", [""], False),
        ("Connection", [], False),
        ("Upgrade", ["WebSocket"], True),
        ("Upgrade", ["h2c, websocket"], True),
        ("Upgrade", ["h2c", "websocket"], True),
        ("Upgrade", ["websockets"], False),
        ("Upgrade", ["web socket"], False),
        ("Upgrade", ["h2c"], False),
        ("Upgrade", [], False),
    ],
)
def test_what_is_an_upgrade(name: str, values: list[str], yes: bool) -> None:
    assert is_upgrade(changed(name, *values)) is yes


@pytest.mark.parametrize(
    "start", ["POST /chat HTTP/1.1", "get /chat HTTP/1.1", "HEAD / HTTP/1.1", "GET /chat HTTP/1.0"]
)
def test_only_a_get_of_http_1_1_upgrades(start: str) -> None:
    assert status(parse_head(request(start=start))) == 400


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["a.example", "a.example"],
        ["a.example", "b.example"],
        ["a.example, b.example"],
        ["a.example", ""],
        ["", "a.example"],
    ],
)
def test_there_is_one_host(values: list[str]) -> None:
    # RFC 9112 §3.2: 400 without a Host header, and with more than one
    assert status(changed("Host", *values)) == 400


@pytest.mark.parametrize("host", ["a.example", "A.Example:8080", "127.0.0.1:1", "[::1]:80", "localhost"])
def test_hosts(host: str) -> None:
    assert status(changed("Host", host)) == 101


@pytest.mark.parametrize(
    "values", [["12"], ["8"], ["0"], ["013"], ["13.0"], [], [""], ["13", "8"], ["13, 8"], ["13", "13"]]
)
def test_another_version_is_answered_with_ours(values: list[str]) -> None:
    with pytest.raises(Deny) as caught:
        check_upgrade(changed("Sec-WebSocket-Version", *values))
    assert caught.value.status == 426
    answer = deny_response(caught.value)
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


def test_a_426_names_the_protocol() -> None:
    with pytest.raises(Deny) as caught:
        check_upgrade(changed("Sec-WebSocket-Version", "8"))
    # RFC 9110 §15.5.22: the server MUST send an Upgrade header field in a 426 response
    assert b"\r\nupgrade: websocket\r\n" in deny_response(caught.value).lower()


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        [encoded(15)],
        [encoded(17)],
        [encoded(18)],
        [encoded(0)],
        [encoded(32)],
        [KEY, KEY],
        [KEY, encoded(16)],
        [KEY + ", " + KEY],
        [KEY[:-1]],
        [KEY + "="],
        [KEY[:-2]],
        [KEY.replace("=", "a")],
        ["!" * 22 + "=="],
        ["-_" * 11 + "=="],
        ["dGhlIHNhbXBs ZSBub25jZ=="],
        ["=" * 24],
        ["é" * 24],
        ["dGhlIHNhbXBsZQ==Ub25jZQ=="],
    ],
)
def test_bad_keys(values: list[str]) -> None:
    assert status(changed("Sec-WebSocket-Key", *values)) == 400


def test_white_space_around_a_key_is_not_part_of_it() -> None:
    assert status(changed("Sec-WebSocket-Key", f" \t {KEY}\t ")) == 101


@given(st.binary(min_size=16, max_size=16))
def test_every_key_of_16_bytes(key: bytes) -> None:
    assert check_upgrade(changed("Sec-WebSocket-Key", base64.b64encode(key).decode()))


@given(st.binary(min_size=24, max_size=24).filter(lambda key: key.strip() == key and not {*b"\r\n\0"} & set(key)))
def test_any_24_bytes_are_a_key_or_refused(key: bytes) -> None:
    head = RequestHead(
        "GET", "/", "1.1", b"", [(b"host", b"h"), (b"sec-websocket-version", b"13"), (b"sec-websocket-key", key)]
    )
    try:
        check_upgrade(head)
    except Deny as deny:
        assert deny.status == 400
    else:
        assert len(base64.b64decode(key, validate=True)) == 16


# -- subprotocols ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "spoken", "chosen"),
    [
        (["a, b, c"], ["c", "a"], "c"),
        (["a", "b,c"], ["x", "c", "b"], "c"),
        (["a, b"], ["b"], "b"),
        (["a, b"], ["x"], None),
        (["a, b"], [], None),
        (["A"], ["a"], None),
        (["a b"], ["a"], None),
        ([], ["a"], None),
        ([""], ["a"], None),
    ],
)
def test_the_servers_order_chooses_the_subprotocol(offered: list[str], spoken: list[str], chosen: str | None) -> None:
    assert choose_subprotocol(changed("Sec-WebSocket-Protocol", *offered), spoken) == chosen


def test_offered_subprotocols_keep_the_clients_order() -> None:
    assert offered_subprotocols(changed("Sec-WebSocket-Protocol", "z, a", "m,")) == ["z", "a", "m"]


# -- a server's answers ------------------------------------------------------------------------------------------------


def test_switching_protocols() -> None:
    start = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    accept = f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode()
    assert switching_protocols(ACCEPT) == start + accept + b"\r\n"
    chosen = b"Sec-WebSocket-Protocol: chat\r\n"
    assert switching_protocols(ACCEPT, "chat") == start + accept + chosen + b"\r\n"
    assert switching_protocols(ACCEPT, "chat", {"X-A": "1"}) == start + accept + chosen + b"X-A: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("deny", "start", "content_type", "body"),
    [
        (Deny(403, "go away"), "403 Forbidden", "application/json", b'{"error":"go away"}'),
        (Deny(404), "404 Not Found", "application/json", b'{"error":"Not Found"}'),
        (Deny(401, {"é": [1]}), "401 Unauthorized", "application/json", '{"é":[1]}'.encode()),
        (Deny(503, b"\xff\x00"), "503 Service Unavailable", "application/octet-stream", b"\xff\x00"),
        (Deny(499, "odd"), "499 Error", "application/json", b'{"error":"odd"}'),
        (Deny(400, 'quote " and \r\n'), "400 Bad Request", "application/json", b'{"error":"quote \\" and \\r\\n"}'),
    ],
)
def test_a_refusal(deny: Deny, start: str, content_type: str, body: bytes) -> None:
    head, _, came = deny_response(deny).partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        f"HTTP/1.1 {start}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    assert came == body
    if content_type == "application/json":
        json.loads(came)


def test_a_refusals_own_headers() -> None:
    answer = deny_response(Deny(401, "who?", {"WWW-Authenticate": "Bearer", "X-A": "1"}))
    assert b"\r\nWWW-Authenticate: Bearer\r\nX-A: 1\r\n\r\n{" in answer


@pytest.mark.parametrize("status", [99, 200, 101, 302, 399, 600])
def test_a_refusal_is_an_error(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        Deny(status)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: evil=1"),
        ("X", "a\r\n\r\n<html>"),
        ("X", "a\n"),
        ("X", "\r"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X\r\nY", "a"),
        ("X\n", "a"),
        ("X: a\r\nY", "a"),
        ("X: a; Y", "a"),
        ("X ", "a"),
        ("", "a"),
        ("X", "a\0b"),
    ],
    ids=ascii,
)
def test_headers_cannot_be_injected(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        deny_response(Deny(400, "", {name: value}))
    with pytest.raises(ValueError, match="line break"):
        switching_protocols(ACCEPT, None, {name: value})
    with pytest.raises(ValueError, match="line break"):
        upgrade_request("h", "/", KEY.encode(), (), [(name, value)])
    with pytest.raises(ValueError, match="line break"):
        deny_response(Deny(400, "", {"Good": "1", name: value, "Good-Too": "2"}))


# -- a client's side ---------------------------------------------------------------------------------------------------


def test_a_clients_request_is_what_a_server_wants() -> None:
    data = upgrade_request("h:81", "/chat?x=1", KEY.encode(), ["b", "a"], [("Cookie", "a=1"), ("Cookie", "b=2")])
    head = parse_head(data)
    assert (head.method, head.path, head.query_string) == ("GET", "/chat", "x=1")
    assert is_upgrade(head)
    assert status(head) == 101
    assert head.header(b"host") == "h:81"
    assert offered_subprotocols(head) == ["b", "a"]
    assert [value for name, value in head.headers if name == b"cookie"] == [b"a=1", b"b=2"]
    assert b"Protocol" not in upgrade_request("h", "/", KEY.encode(), [], [])


def answer(*lines: str, start: str = "HTTP/1.1 101 Switching Protocols", body: str = "") -> bytes:
    return "\r\n".join((start, *lines, "", body)).encode("latin-1")


GOOD = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {ACCEPT}")


@pytest.mark.parametrize(
    ("data", "chosen"),
    [
        (answer(*GOOD), None),
        (answer(*GOOD, start="HTTP/1.1 101 "), None),
        (answer(*GOOD, start="HTTP/1.1 101"), None),
        (answer(*reversed(GOOD), "Server: x"), None),
        (answer("UPGRADE: WebSocket", "connection: keep-alive, upgrade", GOOD[2].replace("Accept:", "ACCEPT:")), None),
        (answer(*GOOD, "Sec-WebSocket-Protocol: a"), "a"),
        (answer(*GOOD, "sec-websocket-protocol: b"), "b"),
        (switching_protocols(ACCEPT, "a", {"X": "1"}), "a"),
    ],
)
def test_good_answers(data: bytes, chosen: str | None) -> None:
    assert check_answer(data, KEY.encode(), ["a", "b"]).subprotocol == chosen


@pytest.mark.parametrize(
    ("data", "status", "why"),
    [
        (b"", 0, "HTTP"),
        (b"\r\n\r\n", 0, "HTTP"),
        (b"SSH-2.0-OpenSSH_9\r\n", 0, "HTTP"),
        (answer(*GOOD, start="HTTP/1.0 101 Switching Protocols"), 0, "HTTP"),
        (answer(*GOOD, start="HTTP/1.1 1011 x"), 0, "HTTP"),
        (answer(*GOOD, start="HTTP/1.1  101 x"), 0, "HTTP"),
        (answer(*GOOD, start="xHTTP/1.1 101 x"), 0, "HTTP"),
        (answer(*GOOD, "no colon"), 0, "malformed"),
        (answer(*GOOD, "X: a\x00"), 0, "malformed"),
        (answer(*GOOD, "X: a", " folded"), 0, "malformed"),
        (answer(*GOOD[1:]), 101, "does not accept"),
        (answer(GOOD[0], GOOD[2]), 101, "does not accept"),
        (answer(*GOOD[:2]), 101, "does not accept"),
        (answer("Upgrade: h2c", *GOOD[1:]), 101, "does not accept"),
        (answer(GOOD[0], "Connection: close", GOOD[2]), 101, "does not accept"),
        (answer(*GOOD[:2], f"Sec-WebSocket-Accept: {KEY}"), 101, "does not accept"),
        (answer(*GOOD[:2], f"Sec-WebSocket-Accept: {ACCEPT.lower()}"), 101, "does not accept"),
        (answer(*GOOD[:2], f"Sec-WebSocket-Accept: {ACCEPT}x"), 101, "does not accept"),
        (answer(*GOOD, "Sec-WebSocket-Extensions: permessage-deflate"), 101, "extension"),
        (answer(*GOOD, GOOD[2]), 101, "twice"),
        (answer(*GOOD, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"), 101, "twice"),
        (answer(*GOOD, "Sec-WebSocket-Protocol: c"), 101, "'c'"),
        (answer(*GOOD, "Sec-WebSocket-Protocol: A"), 101, "'A'"),
        (answer(*GOOD, "Sec-WebSocket-Protocol: a, b"), 101, "'a, b'"),
        (answer(*GOOD, "Sec-WebSocket-Protocol:"), 101, "''"),
        (answer(*GOOD, start="HTTP/1.1 200 OK"), 200, "200"),
        (answer("Location: /", start="HTTP/1.1 302 Found"), 302, "302"),
        (answer(start="HTTP/1.1 799 Odd"), 799, "799"),
    ],
)
def test_answers_that_are_none(data: bytes, status: int, why: str) -> None:
    with pytest.raises(HandshakeFailed, match=why) as caught:
        check_answer(data, KEY.encode(), ["a", "b"])
    assert caught.value.status == status
    assert caught.value.reason == str(caught.value)


def test_a_refusals_headers_and_body_reach_the_caller() -> None:
    data = answer("Content-Type: text/plain", "X-A: é", start="HTTP/1.1 404 Not Found", body="no\r\n\r\nroute")
    with pytest.raises(HandshakeFailed) as caught:
        check_answer(data, KEY.encode(), [])
    error: Any = caught.value
    assert (error.status, error.body) == (404, b"no\r\n\r\nroute")
    assert error.headers == {"content-type": "text/plain", "x-a": "é"}
    assert "404 Not Found" in error.reason


def test_both_sides_agree() -> None:
    data = upgrade_request("h", "/", KEY.encode(), ["x", "y"], [])
    head = parse_head(data)
    said = switching_protocols(check_upgrade(head), choose_subprotocol(head, ["y", "x"]))
    assert check_answer(said, KEY.encode(), ["x", "y"]).subprotocol == "y"


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: x"])
def test_a_handshake_with_a_body_is_refused(header: str) -> None:
    """What a proxy takes for the body would be read here as frames."""
    head = parse_head(request().replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode()))
    assert status(head) == 400


def test_a_handshake_that_says_that_it_has_no_body_is_accepted() -> None:
    head = parse_head(request().replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
    assert check_upgrade(head)
