"""Page 4, "Channels": who is a member of what, who hears what, and what reaches routes from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wireloom import App, Connection, Hub, notify, websocket
from wireloom.core.topic import channel
from wireloom.faces.routes.document import File
from wireloom.faces.routes.loading import RouteFiles
from wireloom.faces.routes.messaging import EVERY_ROUTE
from wireloom.testing import TestWebSocket

from .kit import Served, failures, http_route, serving, socket_route

pytestmark = pytest.mark.anyio

READY = "- Return: {value: ready}"
BROADCAST = '- WsOp: {command: broadcast, channel: "%s", message: "{{ message }}"}'


async def ready(served: Served, path: str = "/ws", **options: Any) -> TestWebSocket:
    """A client whose `on_connect` has ended, by what it returned."""
    client = await served.connect(path, **options)
    assert await client.receive_text() == "ready"
    return client


# -- membership --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["on_connect", "on_message", "on_disconnect"])
@pytest.mark.parametrize("command", ["broadcast", "join", "leave"])
async def test_a_a_channel_that_is_written_out_is_joined_at_connect(tmp_path: Path, hook: str, command: str) -> None:
    message = ", message: a" if command == "broadcast" else ""
    operation = f"- If: {{condition: query.do, then: [{{WsOp: {{command: {command}, channel: out{message}}}}}]}}"
    hooks: Any = {hook: operation}
    async with serving(tmp_path, socket_route(**hooks)) as served:
        await served.connect()
        await served.until(lambda: served.channels() == [{"out"}])


async def test_a_it_is_joined_before_on_connect(tmp_path: Path) -> None:
    joined = socket_route(on_connect="- WsOp: {command: broadcast, channel: out, message: newcomer}")
    async with serving(tmp_path, joined) as served:
        one = await served.connect()
        assert await one.receive_text() == "newcomer"
        other = await served.connect()
        assert [await one.receive_text(), await other.receive_text()] == ["newcomer"] * 2


async def test_a_it_counts_wherever_it_stands(tmp_path: Path) -> None:
    operations = """
    - DefineFunction: {name: tell, body: [{WsOp: {command: broadcast, channel: by-function, message: a}}]}
    - Try: {operations: [Comment], catch: [{WsOp: {command: broadcast, channel: by-catch, message: a}}]}
    - Switch: {value: 1, cases: [{value: 2, operations: [{WsOp: {command: join, channel: by-case}}]}]}
    - Parallel: {tasks: [[{WsOp: {command: leave, channel: by-task}}]]}
    """
    async with serving(tmp_path, socket_route(operations, on_connect=READY)) as served:
        await ready(served)
        assert served.channels() == [{"by-function", "by-catch", "by-case", "by-task"}]


async def test_b_a_computed_channel_is_joined_by_the_first_broadcast(tmp_path: Path) -> None:
    route = socket_route(BROADCAST % "{{ 'to-' + message }}", on_connect=READY)
    async with serving(tmp_path, route) as served:
        one, other = await ready(served), await ready(served)
        assert served.channels() == [set(), set()]
        await one.send_text("a")
        assert await one.receive_text() == "a"  # joined before it was delivered
        assert served.channels() == [{"to-a"}, set()]
        await other.send_text("a")
        assert await one.receive_text() == await other.receive_text() == "a"


async def test_b_after_on_connect_all_that_resolve_are_joined(tmp_path: Path) -> None:
    connecting = '- SetVar: {name: room, value: "{{ query.room }}"}\n' + READY
    route = socket_route(
        BROADCAST % "{{ room }}" + "\n" + BROADCAST % "{{ later }}" + "\n- SetVar: {name: later, value: 1}",
        on_connect=connecting,
        on_disconnect='- WsOp: {command: broadcast, channel: "bye-{{ room }}", message: a}',
    )
    async with serving(tmp_path, route) as served:
        await ready(served, "/ws?room=lobby")
        await ready(served)
        await served.until(lambda: served.channels() == [{"lobby", "bye-lobby"}, {"bye-"}])


async def test_b_what_belongs_to_a_function_or_loop_is_no_variable_of_the_connection(tmp_path: Path) -> None:
    operations = """
    - DefineFunction:
        name: tell
        params: [room]
        body: [{WsOp: {command: broadcast, channel: "{{ room }}", message: to the room}}]
    - Loop:
        collection: [{id: 1}]
        var: team
        body: [{WsOp: {command: broadcast, channel: "{{ team }}", message: to the team}}]
    """
    connecting = "- SetVar: {name: room, value: private}\n- SetVar: {name: team, value: secret}\n" + READY
    async with serving(tmp_path, socket_route(operations, on_connect=connecting)) as served:
        await ready(served)
        await ready(served)
        await served.until(lambda: len(served.channels()) == 2)
        assert served.channels() == [set(), set()]


async def test_c_join_and_leave(tmp_path: Path) -> None:
    operations = """
    - Switch:
        value: "{{ json.do }}"
        cases:
          - {value: join, operations: [{WsOp: {command: join, channel: "{{ json.room }}"}}]}
          - {value: leave, operations: [{WsOp: {command: leave, channel: "{{ json.room }}"}}]}
        default: [{WsOp: {command: broadcast, channel: "{{ json.room }}", message: "{{ json.text }}"}}]
    - Return: {value: done}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        one, other = await served.members("/ws", 2)

        async def do(client: TestWebSocket, **what: Any) -> str:
            await client.send_json(what)
            return await client.receive_text()

        assert await do(one, do="join", room="a") == "done"
        assert await do(one, do="join", room="a") == "done"  # twice is once
        assert await do(other, do="say", room="a", text="hi") == "hi"
        assert await other.receive_text() == "done"
        assert await one.receive_text() == "hi"
        assert await do(one, do="leave", room="a") == "done"
        assert await do(one, do="leave", room="a") == "done"
        assert await do(one, do="say", room="a", text="who hears me?") == "done"  # it left, and speaks all the same
        assert await other.receive_text() == "who hears me?"
        assert await do(one, do="join", room="a") == "done"
        assert await do(one, do="say", room="a", text="back") == "back"


async def test_d_setting_the_variable_channel_joins_it_in_addition(tmp_path: Path) -> None:
    operations = '- SetVar: {name: channel, value: "{{ message }}"}\n- Return: {value: "{{ channel }}"}'
    async with serving(tmp_path, socket_route(operations, more="channels: [base]")) as served:
        client = await served.connect()
        for name in ("news", "sports", ""):
            await client.send_text(name)
            assert await client.receive_text() == name
        assert served.channels() == [{"base", "news", "sports"}]


async def test_d_a_functions_own_variable_joins_nothing(tmp_path: Path) -> None:
    operations = """
    - DefineFunction: {name: f, body: [{SetVar: {name: channel, value: secret}}]}
    - CallFunction: {name: f}
    - Return: {value: done}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("")
        assert await client.receive_text() == "done"
        assert served.channels() == [set()]


async def test_e_the_channels_of_the_route(tmp_path: Path) -> None:
    more = 'channels: [plain, "user-{{ query.name }}", "{{ unset }}", "{{ null }}"]'
    route = socket_route("- SetVar: {name: unset, value: 1}", on_connect=READY, more=more)
    async with serving(tmp_path, route) as served:
        await ready(served, "/ws?name=ann")
        await served.until(lambda: served.channels() == [{"plain", "user-ann"}])


async def test_all_are_left_at_disconnect(tmp_path: Path) -> None:
    leaving = '- WsOp: {command: broadcast, channel: "bye-{{ connection_id }}", message: bye}'
    async with serving(tmp_path, socket_route(on_disconnect=leaving, more="channels: [a, b]")) as served:
        client = await served.connect()
        await served.until(lambda: served.app._visits)
        connection = next(iter(served.app._visits))
        await client.close()
        await served.until(lambda: not served.app._visits)
        topics = [channel("a"), channel("b"), channel(f"bye-{connection.client_id}"), EVERY_ROUTE]
        assert [served.app.hub.count(topic) for topic in topics] == [0] * 4


async def test_more_channels_than_a_connection_may_hear(tmp_path: Path, caplog: Any) -> None:
    operations = """
    - Try:
        operations: [{WsOp: {command: join, channel: "{{ message }}"}}]
        catch: [{Return: {value: "{{ error.code }}"}}]
    - Return: {value: done}
    """
    async with serving(tmp_path, socket_route(operations), max_channels=2) as served:
        client = await served.connect()
        answers = []
        for name in ("a", "b", "c"):
            await client.send_text(name)
            answers.append(await client.receive_text())
        assert answers == ["done", "done", "TOO_MANY_CHANNELS"]


# -- who hears what ----------------------------------------------------------------------------------------------------


async def test_the_sender_is_included(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(BROADCAST % "all", on_connect=READY)) as served:
        one, other = await ready(served), await ready(served)
        await one.send_text("hear me")
        assert await one.receive_text() == await other.receive_text() == "hear me"


async def test_a_channel_is_shared_by_all_routes(tmp_path: Path) -> None:
    routes = [socket_route(BROADCAST % "all", path=path, on_connect=READY) for path in ("/a", "/b")]
    third = socket_route(path="/c", on_connect=READY)
    async with serving(tmp_path, *routes, third) as served:
        one, other, outsider = await ready(served, "/a"), await ready(served, "/api/b"), await ready(served, "/c")
        await one.send_text("across")
        assert await one.receive_text() == await other.receive_text() == "across"
        served.app.hub.publish_nowait(channel("nowhere"), "nobody")
        await outsider.send_text("nothing is said to this")
        for connection in served.app._visits:
            connection.send_text("end")
        assert await outsider.receive_text() == "end"


async def test_a_broadcast_to_nobody_is_a_success(tmp_path: Path, caplog: Any) -> None:
    operations = """
    - WsOp: {command: leave, channel: empty}
    - WsOp: {command: broadcast, channel: empty, message: anybody?}
    - Return: {value: done}
    """
    tell = http_route("- WsOp: {command: broadcast, channel: void, message: a}\n- Return: {value: done}")
    everybody = http_route("- WsOp: {command: broadcast, message: a}\n- Return: {value: done}", path="/every")
    async with serving(tmp_path, socket_route(operations), tell, everybody) as served:
        for path in ("/http", "/every"):
            assert (await served.http.get(path)).json() == "done"
        assert await served.ask() == "done"
        assert failures(caplog) == []


async def test_without_a_channel_it_reaches_every_connection_of_routes_and_no_other(tmp_path: Path) -> None:
    @websocket("/typed")
    async def typed(message: str, connection: Connection) -> str:
        connection.join("all")
        return message

    tell = socket_route('- WsOp: {command: broadcast, message: "{{ message }}"}', on_connect=READY)
    silent = socket_route(path="/silent", on_connect=READY)
    by_http = http_route("- WsOp: {command: broadcast, message: '{{ payload }}'}", more="method: POST")
    async with serving(tmp_path, tell, silent, by_http, declarations=[typed]) as served:
        one, other, handled = await ready(served), await ready(served, "/silent"), await served.connect("/typed")
        await one.send_text("to all")
        assert await one.receive_text() == await other.receive_text() == "to all"
        assert (await served.http.post("/http", json="by HTTP")).status_code == 204
        assert await one.receive_text() == await other.receive_text() == "by HTTP"
        await handled.send_text("mine")
        assert await handled.receive_text() == "mine"  # and nothing before it


async def test_typed_handlers_reach_the_channels_of_routes_and_hear_them(tmp_path: Path) -> None:
    @websocket("/typed")
    async def typed(message: str, connection: Connection, hub: Hub) -> None:
        connection.join("all")
        await hub.publish(channel("all"), message)

    async with serving(tmp_path, socket_route(BROADCAST % "all", on_connect=READY), declarations=[typed]) as served:
        one, handled = await ready(served), await served.connect("/typed")
        await handled.send_text("from a handler")
        assert await one.receive_text() == await handled.receive_text() == "from a handler"
        await one.send_text("from a route")
        assert await handled.receive_text() == "from a route"


async def test_notify_reaches_the_channels_of_routes(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(BROADCAST % "all", on_connect=READY)) as served:
        one = await ready(served)
        notify.channels(["all"], {"by": "notify"})
        assert await one.receive_json() == {"by": "notify"}


async def test_messages_of_one_connection_keep_their_order(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(BROADCAST % "all", on_connect=READY)) as served:
        one, other = await ready(served), await ready(served)
        texts = [str(number) for number in range(200)]
        for text in texts:
            await one.send_text(text)
        assert [await other.receive_text() for _ in texts] == texts


@pytest.mark.parametrize("name", ["''", "null", "true", "[a]", "{a: b}", f"{'x' * 256}"])
async def test_what_is_no_name_of_a_channel(tmp_path: Path, caplog: Any, name: str) -> None:
    operations = f"""
    - SetVar: {{name: room, value: {name}}}
    - Try:
        operations: [{{WsOp: {{command: "{{command}}", channel: "{{{{ room }}}}"{{more}}}}}}]
        catch: [{{Return: {{value: "{{{{ error.code }}}}"}}}}]
    - Return: {{value: taken}}
    """
    routes = []
    for command in ("join", "leave", "broadcast"):
        more = ", message: a" if command == "broadcast" else ""
        text = operations.replace("{command}", command).replace("{more}", more)
        routes.append(socket_route(text, path=f"/{command}"))
    async with serving(tmp_path, *routes) as served:
        for command in ("join", "leave", "broadcast"):
            assert await served.ask(path=f"/{command}") == "NO_CHANNEL"


async def test_a_number_is_a_name(tmp_path: Path) -> None:
    operations = '- SetVar: {name: room, value: 5}\n- WsOp: {command: broadcast, channel: "{{ room }}", message: five}'
    async with serving(tmp_path, socket_route(operations)) as served:
        assert await served.ask() == "five"


@pytest.mark.parametrize("command", ["broadcast", "join", "leave"])
async def test_a_a_number_is_the_name_of_a_channel_too(tmp_path: Path, command: str) -> None:
    message = ", message: a" if command == "broadcast" else ""
    operation = f"- If: {{condition: query.do, then: [{{WsOp: {{command: {command}, channel: 5{message}}}}}]}}"
    async with serving(tmp_path, socket_route(operation)) as served:
        await served.connect()
        await served.until(lambda: served.channels() == [{"5"}])


async def test_b_after_a_live_reload_connections_join_what_resolves_now(tmp_path: Path) -> None:
    old, new = (socket_route(BROADCAST % f"{{{{ '{name}-' + query.room }}}}", on_connect=READY) for name in "ab")
    async with serving(tmp_path, old) as served:
        await ready(served, "/ws?room=1")
        await served.until(lambda: served.channels() == [{"a-1"}])
        await served.app.reload(App([RouteFiles([File("new.yaml", new)])]))
        assert served.channels() == [{"a-1", "b-1"}]
