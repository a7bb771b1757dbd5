"""The configuration of docs/how-to/nginx.md in a real nginx, before two processes with Redis between them.

Only ports, addresses of the servers and the paths of the certificate are other ones than on the page.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from tests.cli.processes import Running
from tests.net.raw import eventually
from tests.services import free_port, redis_service
from wireloom.config import Config

pytestmark = pytest.mark.anyio

SECONDS = 20.0
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "nginx.md"
APPLICATION = """\
import os

from wireloom import App, Connection, Hub

app = App()


@app.websocket("/where")
async def where(message: dict, connection: Connection, hub: Hub) -> dict:
    if message.get("publish"):
        await hub.publish("all", {"said": os.environ["PLACE"]})
    return {"place": os.environ["PLACE"], "client": connection.client[0]}


@where.on_connect
async def joined(connection: Connection, hub: Hub) -> None:
    connection.join("all")
    await hub.settle()  # the other server's publications come from now on
"""


@dataclass
class Site:
    """nginx and what is behind it."""

    https: int
    http: int
    servers: list[Running]
    trust: ssl.SSLContext

    def connect(self, *, origin: str | None = None, source: str = "127.0.0.1", **headers: str) -> connect:
        """A WebSocket by way of nginx; `source` is the client's address."""
        return connect(
            f"wss://127.0.0.1:{self.https}/where",
            ssl=self.trust,
            additional_headers=headers,
            origin=origin,  # type: ignore[arg-type]
            local_addr=(source, 0),
            proxy=None,
            ping_interval=None,
        )


def configuration(folder: Path, certificate: tuple[str, str], places: dict[str, str]) -> Path:
    """The page's block within what an nginx needs that is nobody's service."""
    found = re.search(r"^```nginx title=.*?\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    text = found[1]
    for old, new in {
        **places,
        "/etc/ssl/chat/fullchain.pem": certificate[0],
        "/etc/ssl/chat/privkey.pem": certificate[1],
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    folders = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    frame = f"{user}\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
    file = folder / "nginx.conf"
    file.write_text(f"{frame}http {{\naccess_log off;\n{folders}\n{text}}}\n", encoding="utf-8")
    return file


def nginx() -> str:
    """The program; where there is none the test is skipped, in CI it fails."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("nginx is not installed: apt-get install nginx-light")
        pytest.skip("nginx is not installed")
    return path


@contextmanager
def serve_site(folder: Path, certificate: tuple[str, str], *options: str) -> Iterator[Site]:
    """nginx before two servers; `options` are further ones of the servers."""
    program = nginx()
    (folder / "app.py").write_text(APPLICATION)
    https, http = free_port(), free_port()
    started: list[Running] = []
    with redis_service() as redis:
        try:
            for place in ("first", "second"):
                command = ("serve", "app.py", "--port", "0", "--backplane", redis.url, *options)
                started.append(Running(command, folder, {"PLACE": place}))
            ports = [each.started().rpartition(":")[2].rstrip("/") for each in started]
            places = {
                "listen 80;": f"listen 127.0.0.1:{http};",
                "listen 443 ssl;": f"listen 127.0.0.1:{https} ssl;",
                "127.0.0.1:8000": f"127.0.0.1:{ports[0]}",
                "127.0.0.1:8001": f"127.0.0.1:{ports[1]}",
            }
            file = configuration(folder, certificate, places)
            started.append(Running((), folder, {}, (program, "-p", str(folder), "-e", "stderr", "-c", str(file))))
            trust = ssl.create_default_context(cafile=certificate[0])
            yield wait_for(Site(https, http, started[:2], trust), started[-1])
        finally:
            for each in reversed(started):
                each.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Site]:
    """For tests that leave it as it is."""
    with serve_site(tmp_path_factory.mktemp("site"), certificate) as site:
        yield site


def wait_for(site: Site, proxy: Running) -> Site:
    """Until nginx takes connections."""
    deadline = time.monotonic() + 10
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{site.http}/", trust_env=False)
            return site
        except httpx.TransportError:
            if proxy.process.poll() is not None or time.monotonic() > deadline:
                proxy.end()
                raise AssertionError(f"nginx did not start:\n{proxy.stderr}") from None


async def hear(client: ClientConnection) -> dict[str, str]:
    """The next message."""
    async with asyncio.timeout(SECONDS):
        heard: dict[str, str] = json.loads(await client.recv())
    return heard


async def ask(client: ClientConnection) -> dict[str, str]:
    """Sends a message and gives the reply."""
    await client.send("{}")
    answer = await hear(client)
    assert "error" not in answer, answer
    return answer


def test_the_page_is_a_configuration(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """`nginx -t` has nothing to say against it, not even a warning."""
    file = configuration(tmp_path, certificate, {"listen 80;": "listen 127.0.0.1:1;", "listen 443": "listen 8443"})
    command = [nginx(), "-t", "-p", str(tmp_path), "-e", "stderr", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


async def test_websockets_pass_over_tls_and_go_to_both_servers(site: Site) -> None:
    async with site.connect() as one, site.connect() as two:
        places = (await ask(one))["place"], (await ask(two))["place"]
        assert set(places) == {"first", "second"}
        await one.send('{"publish": true}')
        assert await hear(two) == {"said": places[0]}  # from one process to the other


async def test_the_client_is_who_it_is_and_not_who_it_says(site: Site) -> None:
    async with site.connect(source="127.0.0.2", **{"X-Forwarded-For": "203.0.113.9"}) as client:
        assert (await ask(client))["client"] == "127.0.0.2"


async def test_origins_are_those_of_the_site(site: Site) -> None:
    async with site.connect(origin=f"https://127.0.0.1:{site.https}") as client:
        assert (await ask(client))["client"] == "127.0.0.1"
    with pytest.raises(InvalidStatus) as refused:
        async with site.connect(origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_http_is_sent_to_https_and_health_is_for_this_machine(site: Site) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{site.http}/openapi.json")
        assert (answer.status_code, answer.headers["location"]) == (301, "https://127.0.0.1/openapi.json")
    async with httpx.AsyncClient(verify=site.trust, trust_env=False) as here:
        ready = await here.get(f"https://127.0.0.1:{site.https}/healthz/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2", verify=site.trust)
    async with httpx.AsyncClient(transport=elsewhere) as far:
        for path in ("healthz/ready", "healthz/live", "metrics"):
            assert (await far.get(f"https://127.0.0.1:{site.https}/{path}")).status_code == 403
        assert (await far.get(f"https://127.0.0.1:{site.https}/openapi.json")).status_code == 200


async def test_a_restart_is_told_and_the_other_server_takes_over(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with serve_site(tmp_path, certificate) as site:
        await stop_one(site)


async def stop_one(site: Site) -> None:
    """SIGTERM to the first server while both have clients."""
    async with site.connect() as one, site.connect() as two:
        clients = {(await ask(each))["place"]: each for each in (one, two)}
        site.servers[0].signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as ended:
            await hear(clients["first"])
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, "reconnect_in_ms" in ended.value.rcvd.reason) == (1012, True)
        assert site.servers[0].end() == 0
        for _ in range(4):
            async with site.connect() as again:
                assert (await ask(again))["place"] == "second"


def read_timeout_seconds() -> int:
    """`proxy_read_timeout` on the page."""
    found = re.search(r"proxy_read_timeout (\d+)s;", PAGE.read_text(encoding="utf-8"))
    assert found
    return int(found[1])


def test_the_time_out_is_longer_than_the_silence_before_a_ping() -> None:
    limits = Config().limits
    assert read_timeout_seconds() > limits.ping_interval_seconds + limits.ping_timeout_seconds


async def test_pings_come_through(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """They are what keeps an idle connection open: each begins nginx's time anew."""
    with serve_site(tmp_path, certificate, "--ping-interval-seconds=0.5", "--ping-timeout-seconds=1.5") as site:
        async with site.connect() as client:
            kinds: list[int] = []
            take = client.protocol.recv_frame

            def note(frame: Frame) -> None:
                kinds.append(frame.opcode)
                take(frame)

            client.protocol.recv_frame = note  # type: ignore[method-assign]
            await eventually(lambda: kinds.count(Opcode.PING) >= 2)
            assert (await ask(client))["client"] == "127.0.0.1"
