"""A request reads everything from the connection that it came by."""

from types import SimpleNamespace
from typing import Any

from wireloom.core.request import Request


def request(headers: list[tuple[bytes, bytes]] | None = None, **fields: Any) -> Request:
    head = SimpleNamespace(method="GET", path="/a%20b", query_string="x=1&x=2&y=%C3%A9", headers=headers or [])
    caller = SimpleNamespace(head=head, path_params={"a": 1}, user="alice", client=("1.2.3.4", 5), **fields)
    return Request(None, caller, {"message": 1})  # type: ignore[arg-type]


def test_it_shows_the_head() -> None:
    made = request([(b"x-one", b"1"), (b"x-two", b"a"), (b"x-two", b"b")])
    assert (made.method, made.path) == ("GET", "/a%20b")
    assert (made.path_params, made.user, made.client, made.message) == (
        {"a": 1},
        "alice",
        ("1.2.3.4", 5),
        {"message": 1},
    )
    assert (made.headers["X-One"], made.headers.getlist("x-two"), made.headers.get("none")) == ("1", ["a", "b"], None)
    assert (made.query.getlist("x"), made.query["y"]) == (["1", "2"], "é")


def test_cookies_are_parsed() -> None:
    assert request().cookies == {}
    assert request([(b"cookie", b'a=1; b="two words"; c')]).cookies == {"a": "1", "b": "two words", "": "c"}


def test_offered_subprotocols_keep_the_clients_order() -> None:
    assert request().subprotocols == []
    offered = [(b"sec-websocket-protocol", b"b, a"), (b"sec-websocket-protocol", b" c ,, d")]
    assert request(offered).subprotocols == ["b", "a", "c", "d"]


def test_without_a_message_it_is_none() -> None:
    assert Request(None, None).message is None  # type: ignore[arg-type]
