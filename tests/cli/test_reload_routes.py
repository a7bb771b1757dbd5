"""``wireloom serve --reload`` of declarative routes: files are saved, connections stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from .processes import Start
from .test_reload import RUNS_ON, TIMEOUT_SECONDS, Server, ask


def route(word: str, *, channel: str = "all", path: str = "/say") -> str:
    """A route that says a word to whoever speaks, and to a channel."""
    return f"""\
path: {path}
ws_hooks:
  on_connect:
    - SetVar: {{name: count, value: 0}}
  on_message:
    - SetVar: {{name: count, value: "{{{{ count + 1 }}}}"}}
    - If:
        condition: message == 'all'
        then:
          - WsOp: {{command: broadcast, channel: {channel}, message: "{word} to all"}}
        else:
          - WsOp: {{command: send, message: "{word} {{{{ message }}}} {{{{ count }}}}"}}
"""


@pytest.fixture
def server(start: Start, directory: Path) -> Iterator[Server]:
    """``wireloom serve routes --reload``."""
    folder = directory / "routes"
    folder.mkdir()
    (folder / "say.yaml").write_text(route("old"))
    process = start("serve", "routes", "--reload", "--port", "0", PYTHONDONTWRITEBYTECODE="")
    serving = Server(process, folder)
    process.stdout = ""
    yield serving
    serving.open.close()


def test_the_next_message_of_an_open_connection_runs_the_new_route_with_the_old_variables(server: Server) -> None:
    ws = server.connect("/say")
    assert ask(ws, "hi") == "old hi 1"
    printed = server.save("say.yaml", route("new"), "reloaded")
    assert "1 connection kept" in printed and "say.yaml" in printed
    assert ask(ws, "hi") == "new hi 2"


def test_a_connection_that_stays_joins_the_channels_of_the_new_route(server: Server) -> None:
    silent, speaker = server.connect("/say"), server.connect("/say")
    server.save("say.yaml", route("new", channel="others"), "reloaded")
    assert ask(speaker, "all") == "new to all"
    assert silent.recv(TIMEOUT_SECONDS) == "new to all"


def test_a_broken_file_is_told_with_its_place_and_the_old_version_serves_on(server: Server) -> None:
    ws = server.connect("/say")
    printed = server.save("say.yaml", route("new").replace("command: send", "comand: send"), RUNS_ON)
    assert "say.yaml:12:20: route '/say', on_message[1].else[0]: WsOp has no field 'comand'" in printed
    assert "did you mean 'command'?" in printed
    assert ask(ws, "hi") == "old hi 1"
    assert ask(server.connect("/say"), "hi") == "old hi 1"


def test_another_broken_file_changes_nothing_of_the_good_ones(server: Server) -> None:
    ws = server.connect("/say")
    (server.directory / "say.yaml").write_text(route("new"))
    server.save("other.yaml", "path: /other\nws_hooks: {on_mesage: []}\n", RUNS_ON)
    assert ask(ws, "hi") == "old hi 1"
    (server.directory / "other.yaml").unlink()
    server.process.until("reloaded")
    assert ask(ws, "hi") == "new hi 2"


def test_a_new_file_is_served_and_one_that_is_gone_closes_its_connections(server: Server) -> None:
    server.save(
        "more.json", '{"path": "/more", "ws_hooks": {"on_message": [{"Return": {"value": "more"}}]}}', "reloaded"
    )
    ws = server.connect("/more")
    assert ask(ws, "hi") == "more"
    (server.directory / "more.json").unlink()
    server.process.until("1 closed")
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(TIMEOUT_SECONDS)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
