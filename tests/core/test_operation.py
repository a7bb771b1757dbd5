"""The operations of REST endpoints, and which endpoints documents tell of."""

from __future__ import annotations

from tests.declared import action, handle, rest, websocket

from wireloom.core.endpoint import Door
from wireloom.core.operation import Sources, operations_of


def test_one_for_every_method() -> None:
    endpoint = rest("Visit", "/v/{id}", "get", "POST", tags=("t",), summary="Says.", authorize=handle)
    get, post = operations_of([endpoint])
    assert (get.method, get.name, get.path) == ("GET", "get_Visit_by_id", "/v/{id}")
    assert (post.method, post.name, post.tags, post.summary) == ("POST", "post_Visit_by_id", ("t",), "Says.")
    assert (get.query, get.body, post.query, post.body) == ({}, None, None, {})
    assert get.auth == post.auth == "bearer" and 413 in post.errors and 413 not in get.errors


def test_only_what_is_shown_sorted_by_path() -> None:
    ends = (rest("B", "/b"), rest("A", "/a"), rest("H", "/h", hidden=True), websocket("W", "/w"), action("E"))
    sources = Sources(ends)
    assert [endpoint.name for endpoint in sources.behind(Door.REST)] == ["A", "B"]
    assert [endpoint.name for endpoint in sources.behind(Door.EVENT)] == ["E"]
