"""A page of another origin in Chromium: it logs in over HTTP and connects where it is allowed, and cannot where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Error

from tests.cli.processes import Running

APPLICATION = """\
from wireloom import App, Connection

app = App()


@app.websocket("/who", auth=True)
async def who(message: str, connection: Connection) -> str:
    return f"{message} {connection.user.username}"
"""
LOG_IN = """async (url) => {
    const answer = await fetch(`${url}/user/register`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ username: "ann", password: "correct horse" }),
    });
    const { token } = (await answer.json()).data;
    const me = await fetch(`${url}/user/me`, { headers: { Authorization: `Bearer ${token}` } });
    const socket = new WebSocket(`${url.replace("http", "ws")}/who`, ["wireloom.bearer", token]);
    await new Promise((opened, failed) => { socket.onopen = opened; socket.onclose = failed; });
    const heard = new Promise((come) => { socket.onmessage = ({ data }) => come(data); });
    socket.send("hello");
    return [me.status, await heard];
}"""


@contextmanager
def page_server(folder: Path) -> Iterator[str]:
    """The origin of a page that somebody else serves."""
    folder.joinpath("index.html").write_text("<!doctype html><title>Elsewhere</title>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "foreign"])
def test_a_page_of_another_origin(browser: Browser, tmp_path: Path, allowed: bool) -> None:
    tmp_path.joinpath("app.py").write_text(APPLICATION)
    tmp_path.joinpath("pages").mkdir()
    with page_server(tmp_path / "pages") as origin:
        options = ("--allowed-origins", origin if allowed else "http://elsewhere.example")
        server = Running(("serve", "app.py", "--port", "0", "--database", "sqlite://", *options), tmp_path, {})
        page = browser.new_page()
        try:
            url = server.started().replace("ws", "http", 1)
            page.goto(origin)
            if allowed:
                assert page.evaluate(LOG_IN, url) == [200, "hello ann"]
            else:
                with pytest.raises(Error, match="Failed to fetch"):
                    page.evaluate(LOG_IN, url)
        finally:
            page.close()
            server.kill()
