"""Messages that come while `on_connect` runs are handled when it has ended, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from wireloom import App
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

ROUTE = """\
path: /early
ws_hooks:
  on_connect:
    - Sleep: {duration_ms: 50}
    - SetVar: {name: count, value: 0}
    - Return: {value: ready}
  on_message:
    - SetVar: {name: count, value: "{{ count + 1 }}"}
    - {operation}: {fields}
    - Return: {value: "{{ count }} {{ message }}"}
"""


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "waits"])
async def test_none_is_lost(tmp_path: Path, waits: bool) -> None:
    fields = "{duration_ms: 1}" if waits else "{}"
    text = ROUTE.replace("{operation}", "Sleep" if waits else "Comment").replace("{fields}", fields)
    (tmp_path / "early.yaml").write_text(text)
    app = App()
    app.add_routes(tmp_path)
    async with TestServer(app) as server, server.websocket("/early") as ws:
        for letter in "abc":
            await ws.send_text(letter)
        assert [await ws.receive_text() for _ in range(4)] == ["ready", "1 a", "2 b", "3 c"]
        await ws.send_text("d")
        assert await ws.receive_text() == "4 d"
