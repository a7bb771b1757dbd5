"""From a path to its endpoint: static before parameters, segment by segment."""

from typing import Any

import pytest

from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.router import Router, parameter_names
from wireloom.errors import ConfigError


def endpoint(path: str, name: str = "", source: str = "app.py:7") -> Endpoint:
    async def on_message(request: Any) -> None:
        """Nothing."""

    return Endpoint(name or path, path, Door.WEBSOCKET, Codec(str, str, repr), on_message, source=source)  # type: ignore[arg-type]


def router(*paths: str) -> Router:
    made = Router()
    for path in paths:
        made.add(endpoint(path))
    return made


@pytest.mark.parametrize(
    ("path", "template", "values"),
    [
        ("/", "/", {}),
        ("/rooms", "/rooms", {}),
        ("/rooms/new", "/rooms/new", {}),
        ("/rooms/7", "/rooms/{room}", {"room": "7"}),
        ("/rooms/new/members", "/rooms/{room}/members", {"room": "new"}),  # back from the static branch
        ("/rooms/7/members/8", "/rooms/{id}/members/{member}", {"id": "7", "member": "8"}),
        ("/rooms/new/archive", "/rooms/new/archive", {}),
        ("/a%2Fb", "/{any}", {"any": "a/b"}),
        ("/%72ooms", "/rooms", {}),
        ("/rooms/%6Eew", "/rooms/new", {}),
        ("/caf%C3%A9", "/café", {}),
        ("/x%C3%A9", "/{any}", {"any": "xé"}),
        ("/%2e%2e", "/{any}", {"any": ".."}),
        ("/{any}", "/{any}", {"any": "{any}"}),
        ("/slash/", "/slash/", {}),
    ],
)
def test_the_nearest_template_wins(path: str, template: str, values: dict[str, str]) -> None:
    routes = router(
        "/{any}",
        "/",
        "/rooms",
        "/rooms/{room}",
        "/rooms/new",
        "/rooms/{room}/members",
        "/rooms/{id}/members/{member}",
        "/rooms/new/archive",
        "/café",
        "/slash/",
    )
    found = routes.match(path)
    assert found is not None
    assert (found[0].path, found[1]) == (template, values)


@pytest.mark.parametrize(
    "path", ["", "/rooms/", "/rooms//members", "/rooms/1/", "/rooms/1/2", "/rooms/1/members/", "/Rooms", "//", "rooms"]
)
def test_everything_else_matches_nothing(path: str) -> None:
    assert router("/rooms", "/rooms/{room}", "/rooms/{room}/members/{member}").match(path) is None


def test_an_empty_router_matches_nothing() -> None:
    assert Router().match("/") is None
    assert list(Router()) == []


def test_endpoints_come_in_the_order_they_were_added() -> None:
    assert [one.path for one in router("/b", "/{x}", "/a")] == ["/b", "/{x}", "/a"]


@pytest.mark.parametrize(("first", "second"), [("/a", "/a"), ("/{x}", "/{y}"), ("/a/{x}/b", "/a/{z}/b")])
def test_a_path_has_one_endpoint(first: str, second: str) -> None:
    routes = Router()
    routes.add(endpoint(first, "one", "one.py:1"))
    with pytest.raises(ConfigError) as caught:
        routes.add(endpoint(second, "two", "two.py:2"))
    assert caught.value.source == "two.py:2"
    assert "'one'" in str(caught.value)
    assert "one.py:1" in str(caught.value)
    assert [one.name for one in routes] == ["one"]


@pytest.mark.parametrize(
    ("path", "names"), [("/", []), ("/a", []), ("/{a}", ["a"]), ("/{a_1}/x/{_B}", ["a_1", "_B"]), ("/a/", [])]
)
def test_a_templates_names_in_order(path: str, names: list[str]) -> None:
    assert parameter_names(path) == names


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("a", "must begin with a slash"),
        ("", "must begin with a slash"),
        ("/{a}x", "'{a}x' must be a whole segment"),
        ("/x{a}", "'x{a}' must be a whole segment"),
        ("/{}", "'{}' must be a whole segment"),
        ("/{1a}", "'{1a}' must be a whole segment"),
        ("/{a", "'{a' must be a whole segment"),
        ("/a}", "'a}' must be a whole segment"),
        ("/{a:int}", "'{a:int}' must be a whole segment"),
        ("/{a}\n", "must be a whole segment"),
        ("/{a}/b/{a}", "names a parameter twice"),
    ],
)
def test_a_malformed_template_is_told_with_its_place(path: str, about: str) -> None:
    for refuse in (lambda: parameter_names(path, "app.py:7"), lambda: router(path)):
        with pytest.raises(ConfigError, match=r"^app\.py:7: ") as caught:
            refuse()
        assert about in str(caught.value)


# -- any path ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/a/b/c", "//", "/chat", "/chat/", "/%2F", "*", ""])
def test_any_path_is_what_nothing_else_takes(path: str) -> None:
    router, last = Router(), endpoint("*")
    for each in (last, endpoint("/chat/{room}"), endpoint("/static")):
        router.add(each)
    assert router.match(path) == (last, {})
    assert [found[0].path for found in (router.match("/chat/x"), router.match("/static")) if found] == [
        "/chat/{room}",
        "/static",
    ]
    assert next(iter(router)) is last


def test_any_path_is_taken_once() -> None:
    router = Router()
    router.add(endpoint("*"))
    with pytest.raises(ConfigError, match=r"'\*' is already served"):
        router.add(endpoint("*"))
