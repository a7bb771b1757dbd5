"""Page 3, "Declaring": what a walker may be declared as, and what is told where it cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wireloom import (
    APIProtocol,
    App,
    ConfigError,
    Edge,
    Node,
    Request,
    Root,
    UploadFile,
    Walker,
    entry,
    exit,
    spec,
)

from .kit import asked, bearer, register, replied

pytestmark = pytest.mark.anyio


def walker(name: str = "Hello", *, specs: Any = None, **fields: Any) -> Any:
    """A class of walkers that reports its name."""

    @entry(Root)
    async def hello(self: Any, here: Root) -> None:
        self.report(name)

    body = {"__module__": __name__, "hello": hello, "__annotations__": fields}
    return type(Walker)(name, (Walker,), body if specs is None else {**body, "__specs__": specs})


def doors(*walkers: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """Door, path and methods of all that walkers make an application serve."""
    app = App(walkers)
    return [(each.door, each.path, tuple(each.methods or ())) for each in app.describe() if each.name != "events"]


# -- which doors -------------------------------------------------------------------------------------------------------

REST = [("rest", "/walker/Hello"), ("rest", "/walker/Hello/{node_id}")]


def paths(declared: Any) -> list[tuple[str, str]]:
    return [(door, path) for door, path, _ in doors(declared)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, REST),
        ({"protocol": "rest"}, REST),
        ({"protocol": APIProtocol.REST}, REST),
        ({"protocol": APIProtocol.HTTP}, REST),
        ({"protocol": "websocket"}, [("websocket", "/ws/Hello")]),
        ({"protocol": APIProtocol.WEBSOCKET}, [("websocket", "/ws/Hello")]),
        ({"protocol": APIProtocol.WEBSOCKET, "path": "/live"}, [("websocket", "/live")]),
        ({"protocol": "webhook"}, [("webhook", "/webhook/Hello")]),
        ({"protocol": "webhook", "path": "/hooks/x"}, [("webhook", "/hooks/x")]),
        ({"methods": ["get", "post"]}, REST),
        ({"methods": ["websocket"]}, [("event", "Hello")]),
        ({"methods": ["websocket", "post"]}, [*REST, ("event", "Hello")]),
        ({"methods": ["websocket", "post"], "path": "/hello"}, [("rest", "/hello"), ("event", "Hello")]),
        ({"path": "/a/{node_id}/b"}, [("rest", "/a/{node_id}/b")]),
    ],
)
def test_a_walker_is_reached_by_the_doors_that_its_spec_names(options: Any, expected: Any) -> None:
    assert sorted(paths(spec(**options)(walker()))) == sorted(expected)


def test_a_walker_without_a_spec_is_posted_to() -> None:
    assert doors(walker()) == [("rest", path, ("POST",)) for _, path in REST]


def test_the_methods_of_a_spec_are_those_of_its_rest_door() -> None:
    declared = spec(methods=["get", "put", "patch", "delete", "websocket"])(walker())
    assert [methods for door, _, methods in doors(declared) if door == "rest"] == [
        ("GET", "PUT", "PATCH", "DELETE")
    ] * 2


def test_the_class_in_the_body_means_the_same() -> None:
    class Specs:
        methods = ("websocket", "get")
        auth = False
        path = "/hello"

    declared = walker(specs=Specs)
    assert sorted(paths(declared)) == [("event", "Hello"), ("rest", "/hello")]


@pytest.mark.parametrize(("auth", "status"), [(False, 200), (True, 401)])
async def test_auth_in_the_body_is_the_opposite_of_public(auth: bool, status: int) -> None:
    declared = walker(specs=type("Specs", (), {"auth": auth}))
    async with asked(App([declared], database="sqlite://")) as client:
        assert (await client.post("/walker/Hello")).status_code == status


async def test_a_subclass_inherits_how_it_is_reached_but_not_the_path() -> None:
    base = spec(public=True, path="/base")(walker("Base"))

    class Derived(base):  # type: ignore[valid-type, misc]
        @entry(Root)
        async def hello(self, here: Root) -> None:
            self.report("derived")

    async with asked(App([base, Derived], database="sqlite://")) as client:
        assert (await client.post("/base")).json() == replied("Base")
        assert (await client.post("/walker/Derived")).json() == replied("derived")


async def test_an_app_declares_walkers_too() -> None:
    app = App(database="sqlite://")

    @app.walker(methods=["get"])
    class Who(Walker):
        @entry(Root)
        async def who(self, here: Root) -> None:
            assert isinstance(self.request, Request) and self.root is here
            self.report([self.request.user.username, here.root_id])

    async with asked(app) as client:
        alice = await register(app)
        answer = await client.get("/walker/Who", headers=bearer(alice))
        assert answer.json() == replied(["alice", alice.user.root_id])


# -- what cannot be ----------------------------------------------------------------------------------------------------

CONTRADICTIONS = [
    (
        {"protocol": "websockets"},
        "protocol is one of rest, websocket, webhook, not 'websockets'; did you mean 'websocket'?",
    ),
    ({"protocol": "ftp"}, "not 'ftp'"),
    ({"methods": ["pst"]}, "not 'pst'; did you mean 'post'?"),
    ({"methods": ["POST"]}, "not 'POST'; did you mean 'post'?"),
    ({"methods": ["get", "head"]}, "not 'head'"),
    ({"methods": []}, "methods is empty"),
    ({"methods": "post"}, "methods is a list of texts, not the text 'post'"),
    ({"roles": "admin"}, "roles is a list of texts"),
    ({"tags": "a"}, "tags is a list of texts"),
    ({"as_query": "count"}, "as_query is a list of texts"),
    ({"protocol": "websocket", "methods": ["post"]}, "one door of its own"),
    ({"protocol": "webhook", "methods": ["post"]}, "one door of its own"),
    ({"broadcast": True}, 'broadcast needs protocol="websocket"'),
    ({"broadcast": True, "protocol": "webhook"}, 'broadcast needs protocol="websocket"'),
    ({"broadcast": True, "methods": ["websocket"]}, 'broadcast needs protocol="websocket"'),
    ({"public": True, "roles": ["admin"]}, "public or for roles"),
    ({"methods": ["websocket"], "path": "/x"}, "nothing to have a path"),
    ({"as_query": ["cont"]}, "as_query names 'cont', which is no field; did you mean 'count'?"),
    ({"path": "/x/{cont}"}, "the path names 'cont', which is no field; did you mean 'count'?"),
    ({"path": "x"}, "must begin with a slash"),
    ({"path": "/x/{count}/{count}"}, "names a parameter twice"),
    ({"path": "/x/a{count}"}, "whole segment"),
    ({"path": "/x/{count}", "protocol": "websocket"}, "only paths of the REST door have parameters such as {count}"),
    ({"path": "/x/{count}", "protocol": "webhook"}, "only paths of the REST door"),
]


@pytest.mark.parametrize(("options", "told"), CONTRADICTIONS)
def test_a_contradiction_is_told_where_it_is_declared(options: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec(**options)(walker(count=int))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"method": ["get"]}, "Hello: __specs__ has no 'method'; did you mean 'methods'?"),
        ({"zzz": 1}, "Hello: __specs__ has no 'zzz'"),
        ({"methods": "post"}, "methods is a list of texts"),
        ({"protocol": "socket"}, "Hello: protocol is one of"),
        ({"broadcast": True}, "Hello: broadcast needs"),
        ({"auth": True, "public": True}, "Hello.__specs__ has auth and public; use one"),
    ],
)
def test_a_contradiction_in_the_body_is_told_when_the_walker_is_registered(members: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        App([walker(specs=type("Specs", (), members))])
    assert told in str(caught.value) and "test_declaring.py:" in str(caught.value)


def test_only_one_of_the_two_forms_is_used() -> None:
    with pytest.raises(ConfigError, match="Hello has @spec and __specs__; use one"):
        spec(public=True)(walker(specs=type("Specs", (), {"auth": False})))


@pytest.mark.parametrize(
    "name", ["report", "visit", "disengage", "on_commit", "find_user", "root", "request", "token", "__x"]
)
def test_a_field_of_a_walker_cannot_have_a_name_of_ours(name: str) -> None:
    with pytest.raises(ConfigError, match=f"a field cannot be called '{name}'"):
        walker(**{name: str})


@pytest.mark.parametrize("base", [Node, Edge])
@pytest.mark.parametrize("name", ["id", "connect", "grant", "nodes", "source"])
def test_nor_has_one_of_a_node_or_an_edge(base: Any, name: str) -> None:
    free = {Node: ("source",), Edge: ("connect", "grant", "nodes")}[base]
    body = {"__module__": __name__, "__annotations__": {name: str}}
    if name in free:
        type(base)("Kept", (base,), body)
        return
    with pytest.raises(ConfigError, match=f"a field cannot be called '{name}'"):
        type(base)("Kept", (base,), body)


def test_abilities_of_a_websocket_walker_are_async() -> None:
    with pytest.raises(ConfigError, match="abilities of a WebSocket walker are async def"):

        @App().walker(protocol="websocket")
        class Plain(Walker):
            @entry(Root)
            async def one(self, here: Root) -> None: ...

            @exit(Root)
            def other(self, here: Root) -> None: ...


def test_a_walker_without_an_ability_is_none() -> None:
    class Idle(Walker):
        async def act(self, here: Root) -> None: ...

    with pytest.raises(ConfigError, match="Idle has no ability; mark a method with @entry"):
        App([Idle])


def _generator(self: Any, here: Any) -> Any:
    yield


async def _stream(self: Any, here: Any) -> Any:
    yield


async def _no_node(self: Any) -> None: ...


async def _three(self: Any, here: Any, more: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_generator, "does not yield"),
        (_stream, "does not yield"),
        (_no_node, "an ability takes self and here"),
        (_three, "an ability takes self and here"),
    ],
)
def test_what_cannot_be_an_ability_is_told(function: Any, told: str) -> None:
    marked = entry(Root)(function)
    try:
        with pytest.raises(ConfigError, match=told):
            App([type(Walker)("Odd", (Walker,), {"__module__": __name__, "act": marked})])
    finally:
        del function.__wireloom_entry__


@pytest.mark.parametrize("kind", [int, "Root", Walker, Edge])
@pytest.mark.parametrize("mark", [entry, exit])
def test_an_ability_is_for_classes_of_nodes(mark: Any, kind: Any) -> None:
    with pytest.raises(TypeError, match="an ability is for classes of nodes"):
        mark(kind)


class Unreadable:
    """Nothing that JSON has."""


def test_a_field_that_no_json_becomes_is_told() -> None:
    with pytest.raises(ConfigError, match="Hello: a field cannot be read from JSON"):
        App([walker(count=Unreadable)])


@pytest.mark.parametrize("options", [{"protocol": "websocket"}, {"methods": ["post", "websocket"]}])
@pytest.mark.parametrize("hint", [UploadFile, list[UploadFile], UploadFile | None])
def test_files_come_by_the_rest_door_only(options: Any, hint: Any) -> None:
    with pytest.raises(ConfigError, match="files come over the REST door only"):
        App([spec(**options)(walker(file=hint))])


# -- who is where ------------------------------------------------------------------------------------------------------


def test_two_walkers_of_one_path_stand_beside_each_other_by_their_methods() -> None:
    app = App([spec(path="/x")(walker("Write")), spec(path="/x", methods=["get"])(walker("Read"))])
    assert [(row.name, row.methods) for row in app.describe()] == [("Write", ("POST",)), ("Read", ("GET",))]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"path": "/x"}, {"path": "/x", "methods": ["get", "post"]}),
        ({"path": "/x/{count}"}, {"path": "/x/{node_id}"}),
        ({}, {"path": "/walker/Hello/{count}"}),
        ({"protocol": "websocket"}, {"protocol": "websocket"}),
        ({"protocol": "webhook"}, {"path": "/webhook/Hello"}),
        ({"methods": ["websocket"]}, {"methods": ["websocket"]}),
    ],
)
def test_two_walkers_on_one_path_clash(first: Any, second: Any) -> None:
    declared = [spec(**options)(walker(count=int)) for options in (first, second)]
    with pytest.raises(ConfigError, match="already"):
        App(declared)


def test_a_walker_and_a_typed_handler_on_one_path_clash() -> None:
    for walker_first in (True, False):
        app = App([spec(protocol="websocket")(walker())] if walker_first else [])

        async def echo(message: str) -> str:
            return message

        if walker_first:
            with pytest.raises(ConfigError, match="'/ws/Hello' is already served by 'Hello'"):
                app.websocket("/ws/Hello")(echo)
        else:
            app.websocket("/ws/Hello")(echo)
            with pytest.raises(ConfigError, match="'/ws/Hello' is already served by"):
                app.add(spec(protocol="websocket")(walker()))


def test_a_walker_and_an_event_of_one_name_clash() -> None:
    app = App()

    @app.event("Hello")
    async def hello() -> None: ...

    with pytest.raises(ConfigError, match="the event 'Hello' is taken already"):
        app.add(spec(methods=["websocket"])(walker()))


def test_two_classes_of_nodes_with_one_name_clash() -> None:
    def kept(kind: Any) -> Any:
        @entry(kind)
        async def act(self: Any, here: Any) -> None: ...

        return act

    nodes = [type(Node)("Twin", (Node,), {"__module__": __name__}) for _ in range(2)]
    body = {"__module__": __name__, "one": kept(nodes[0]), "two": kept(nodes[1])}
    pair = type(Walker)("Pair", (Walker,), body)
    with pytest.raises(ConfigError, match="Twin is the name of another class too"):
        App([pair])


def test_fields_are_described_as_their_schema() -> None:
    [described, *_] = App([walker(count=int)]).describe()
    assert described.message_schema is not None
    text = msgspec.json.encode(described.message_schema).decode()
    assert '"count"' in text and '"integer"' in text
