"""Page 4, "How it runs": a hook that fails is told of and counted, and disturbs nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wireloom.core.endpoint import Endpoint
from wireloom.faces.routes.operations import control
from wireloom.faces.routes.visit import Variables, Visit

from .kit import application, failures, http_route, serving, socket_route, warnings

pytestmark = pytest.mark.anyio

WAITS = "- RedisOp: {command: EXISTS, key: nothing}\n"


def failed(endpoint: Endpoint) -> int:
    """How many hooks of a route have failed."""
    return endpoint.counts.failures.total()


@pytest.mark.parametrize("first", ["", WAITS], ids=["plain", "waiting"])
@pytest.mark.parametrize("hook", ["on_connect", "on_message", "on_disconnect"])
async def test_a_failing_operation_ends_its_hook_alone(tmp_path: Path, caplog: Any, hook: str, first: str) -> None:
    fails = """
- If:
    condition: query.fail
    then:
      - Try: {operations: [Comment], catch: []}
      - WsOp: {command: send, message: "{{ 1 / 0 }}"}
      - WsOp: {command: broadcast, message: too far}
"""
    hooks = {"on_connect": "", "on_message": "", "on_disconnect": ""}
    hooks[hook] = first + fails
    hooks["on_message"] += '\n- WsOp: {command: send, message: "{{ message }}"}'
    async with serving(tmp_path, socket_route(**hooks), socket_route("- Comment", path="/b")) as served:
        good, bad = await served.connect(), await served.connect("/ws?fail=1")
        await bad.send_text("fails")
        if hook != "on_message":
            assert await bad.receive_text() == "fails"  # it goes on
        await served.until(lambda: len(served.app._visits) == 2)
        visit = next(visit for visit in served.app._visits.values() if visit.query)
        if hook == "on_disconnect":
            await bad.close()
        await served.until(lambda: failures(caplog))
        if hook == "on_message":
            await bad.send_text("again")
            await served.until(lambda: len(failures(caplog)) == 2)
        assert bad.close_code == (1000 if hook == "on_disconnect" else None)
        await good.send_text("undisturbed")
        assert await good.receive_text() == "undisturbed"
        record = failures(caplog)[0]
        index = 1 if first else 0
        line = next(number for number, text in enumerate(socket_route(**hooks).splitlines(), 1) if "1 / 0" in text)
        place = f"{hook}[{index}].then[1]"
        assert (record.route, record.hook, record.operation, record.connection) == (  # type: ignore[attr-defined]
            "Test /ws",
            hook,
            place,
            visit.connection_id,
        )
        told = record.getMessage()
        assert f"route 'Test /ws', {place} (" in told
        assert f"0.yaml:{line}) failed on {visit.connection_id}: division by zero (DIVISION_BY_ZERO)" in told
        assert failed(visit.connection.endpoint) == len(failures(caplog))


@pytest.mark.parametrize("first", ["", WAITS], ids=["plain", "waiting"])
async def test_a_bug_is_told_with_an_id_and_the_connection_stays(
    tmp_path: Path, caplog: Any, monkeypatch: Any, first: str
) -> None:
    def broken(value: Any) -> Any:
        raise RuntimeError("a detail for developers only")

    monkeypatch.setattr(control, "listed", broken)
    broken.__name__ = "listed"
    operations = (
        first + "- If: {condition: message == 'bug', then: [{Loop: {collection: [1]}}]}\n- Return: {value: fine}"
    )
    async with serving(tmp_path, socket_route(operations)) as served:
        one, other = await served.members("/ws", 2)
        await one.send_text("bug")
        told = await one.receive_json()
        assert (told["error"], told["code"], told["id"] in caplog.text) == ("Internal error", "INTERNAL_ERROR", True)
        assert "a detail for developers only" in caplog.text
        for client in (one, other):
            await client.send_text("")
            assert await client.receive_text() == "fine"


async def test_a_bug_in_an_http_route(tmp_path: Path, caplog: Any, monkeypatch: Any) -> None:
    def listed(value: Any) -> Any:
        raise RuntimeError("a detail for developers only")

    monkeypatch.setattr(control, "listed", listed)
    async with serving(tmp_path, http_route("- Loop: {collection: [1]}")) as served:
        answer = await served.http.get("/http")
        assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
        assert "developers" not in answer.text
        assert answer.json()["id"] in caplog.text


# -- what a client says never becomes an expression --------------------------------------------------------------------

REPEATING = """
- SetVar: {name: kept, value: "{{ message }}"}
- SetVar: {name: nested, value: {"list": ["{{ kept }}"], text: "<{{ kept }}>"}}
- DefineFunction: {name: same, params: [p], body: [{Return: {value: "{{ p }}"}}]}
- CallFunction: {name: same, args: ["{{ nested.list[0] }}"], output: through}
- Try:
    operations: [{Throw: {message: "{{ through }}"}}]
    catch: [{SetVar: {name: through, value: "{{ error.message }}"}}]
- Loop: {collection: ["{{ through }}"], body: [{SetVar: {name: through, value: "{{ item }}"}}]}
- Map: {input: ["{{ through }}"], transform: "{{ item }}", output: mapped}
- If: {condition: "{{ mapped[0] == message }}", then: [{WsOp: {command: send, message: "{{ mapped[0] }}"}}]}
- Return: {value: "{{ nested.text }}"}
"""

NASTY = st.sampled_from(
    [
        "{{",
        "}}",
        "{{ 1 / 0 }}",
        "{{ connection_id }}",
        "{{ message }}",
        "\\",
        "'",
        '"',
        "%s",
        "{0}",
        "$x",
        "\n",
        "__import__('os')",
        "\x00",
    ]
)
MESSAGES = st.lists(st.one_of(NASTY, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)), max_size=8).map(
    "".join
)


class Recorder:
    """A connection that keeps what is sent to it."""

    client_id = "1:id"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connection = self
        self.send_text = self.sent.append


@pytest.fixture(scope="module")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The compiled hook of a route that repeats messages by all ways there are."""
    app = application(tmp_path_factory.mktemp("property"), socket_route(REPEATING))
    app.check()
    (endpoint, _) = [endpoint for endpoint in app._doors if endpoint.path.endswith("/ws")]
    return endpoint.on_connect.__self__._compiled.hooks["on_message"]  # type: ignore[union-attr]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=MESSAGES)
def test_a_message_is_delivered_as_it_is(repeating: Any, message: str) -> None:
    connection = Recorder()
    visit = Visit(connection)  # type: ignore[arg-type]
    assert isinstance(visit.variables, Variables)
    assert repeating.run(visit, connection, message) == f"<{message}>"
    assert connection.sent == [message]


async def test_nasty_messages_over_a_real_socket(tmp_path: Path, caplog: Any) -> None:
    texts = ["{{ connection_id }}", "{{ 1 / 0 }}", "}} {{", "{{ message }}" * 3, "\\u0041 %s {0}", "\x00\U0001f600"]
    async with serving(tmp_path, socket_route(REPEATING)) as served:
        client = await served.connect()
        for text in texts:
            await client.send_text(text)
            assert [await client.receive_text(), await client.receive_text()] == [text, f"<{text}>"]
        assert warnings(caplog) == []
