"""What limits connections: of a process, of an address and of a user, on both carriers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.net.raw import dial, eventually, request_head, upgrade_head
from wireloom import App, HandshakeFailed, Request, Root, Walker, entry, spec
from wireloom.testing import TestServer, TestWebSocket

from .doors import CARRIERS, DOORS, Door, every_door, opened, say
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"


@spec(protocol="websocket", public=True)
class Whose(Walker):
    """Says whose run it is."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(getattr(self.request.user, "username", None))


@spec(protocol="websocket", broadcast=True)
class Told(Walker):
    """Tells everybody who may run it."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report("told")


class Site:
    """A server, its clients, and two users."""

    def __init__(self, server: TestServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.app = server.app
        self._stack = stack

    async def token(self, name: str) -> dict[str, str]:
        """The header of a new user."""
        assert self.app.identity is not None
        login = await self.app.identity.register({"username": name}, PASSWORD)
        return {"Authorization": f"Bearer {login.token}"}

    async def connect(self, path: str = "/open", headers: Any = None) -> TestWebSocket:
        """A client that stays until it is closed."""
        return await self._stack.enter_async_context(self.server.websocket(path, headers=headers or {}))

    async def refused(self, path: str = "/open", headers: Any = None) -> HandshakeFailed:
        """How a handshake was refused."""
        with pytest.raises(HandshakeFailed) as caught:
            await self.connect(path, headers)
        return caught.value

    async def left(self, count: int) -> None:
        """Waits until so many connections are open."""
        await eventually(lambda: self.app.hub.count() == count)


@pytest.fixture(params=list(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Any:
    """Serves endpoints for anybody and for users, with some options."""

    @asynccontextmanager
    async def site(**options: Any) -> AsyncIterator[Site]:
        app = App([Whose, Told], database="sqlite://", **options)
        app.events()

        @app.websocket("/open")
        async def open_to_all(message: str) -> str:
            return message

        @app.websocket("/members", auth=True)
        async def members(message: str) -> str:
            return message

        @app.websocket("/named", auth=name_of)
        async def named(message: str) -> str:
            return message

        @app.websocket("/lingers")
        async def lingers(message: str) -> str:
            return message

        @lingers.on_disconnect
        async def linger() -> None:
            await over.wait()

        over = asyncio.Event()
        async with CARRIERS[request.param](app) as server, AsyncExitStack() as stack:
            stack.callback(over.set)
            yield Site(server, stack)
            await stack.aclose()
            await eventually(lambda: not app.hub.count())
            assert len(app.hub.census) == 0  # everything was given back
            assert app.listener is not None
            assert not app.listener.shells

    return site


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


@pytest.fixture(scope="module", params=list(CARRIERS))
async def every_carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Serves every door with some options."""
    folder = tmp_path_factory.mktemp("routes")
    async with sharing(lambda **options: CARRIERS[request.param](every_door(folder, **options))) as get:
        yield get


async def name_of(request: Request) -> Any:
    """An application's own `auth`, whose users are what the query says."""
    return {"int": 7, "text": "seven", "none": None, "dict": {"id": 7}}[request.query["is"]]


def came_from(*addresses: str) -> dict[str, str]:
    """The header of a proxy."""
    return {"X-Forwarded-For": ", ".join(addresses)}


# -- of a process ------------------------------------------------------------------------------------------------------


async def test_so_many_of_a_process_and_the_next_is_503(carrier: Any) -> None:
    async with carrier(max_connections=3) as site:
        clients = [await site.connect() for _ in range(3)]
        refusal = await site.refused()
        assert (refusal.status, refusal.headers["retry-after"]) == (503, "5")
        await clients[0].close()
        await site.left(2)
        await site.connect()
        assert (await site.refused()).status == 503


@pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))
@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize(("option", "status"), [("max_connections", 503), ("max_connections_per_ip", 429)])
async def test_every_door_counts_and_refuses(
    every_carrier: Any, door: Door, limit: int, option: str, status: int
) -> None:
    server: TestServer = await every_carrier(**{option: limit})
    async with AsyncExitStack() as stack:
        site = Site(server, stack)
        for path in ["/text"] * (limit - 1):
            await site.connect(path)
        last = await site.connect(door.path)
        assert (await site.refused(door.path)).status == status
        assert (await site.refused("/text")).status == status
        await opened(last, door)
        await last.close()
        await site.left(limit - 1)
        await say(await opened(await site.connect(door.path), door), door)  # the place is free, and it is served
    await eventually(lambda: server.app.hub.count() == 0)


@pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))
async def test_zero_is_no_limit_of_a_process(every_carrier: Any, door: Door) -> None:
    server: TestServer = await every_carrier(max_connections=0)
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await Site(server, stack).connect(door.path)
    await eventually(lambda: server.app.hub.count() == 0)


async def test_requests_of_http_are_not_counted(every_carrier: Any) -> None:
    server: TestServer = await every_carrier(max_connections=1)
    async with server.websocket("/text"):
        assert (await server.http.get("/anything")).status_code == 200
    await eventually(lambda: server.app.hub.count() == 0)


# -- of an address -----------------------------------------------------------------------------------------------------


async def test_so_many_of_an_address_and_the_next_is_429(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=3) as site:
        clients = [await site.connect(path) for path in ("/open", "/websocket", "/ws/Whose")]
        refusal = await site.refused()
        assert (refusal.status, refusal.headers["retry-after"]) == (429, "5")
        assert b"Too many connections from this address" in refusal.body
        await site.connect(headers=came_from("192.0.2.1"))
        await clients[1].close()
        await site.left(3)
        await site.connect()
        assert (await site.refused()).status == 429


async def test_what_a_proxy_says_counts_where_it_is_trusted(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=1) as site:
        await site.connect(headers=came_from("192.0.2.1"))
        assert (await site.refused(headers=came_from("192.0.2.1"))).status == 429
        assert (await site.refused(headers=came_from("192.0.2.9, 192.0.2.1"))).status == 429
        await site.connect(headers=came_from("192.0.2.2"))


async def test_nobody_chooses_an_address_where_no_proxy_is_trusted() -> None:
    app = App(max_connections_per_ip=1, forwarded_allow_ips="192.0.2.77")

    @app.websocket("/open")
    async def open_to_all(message: str) -> str:
        return message

    async with TestServer(app) as server, AsyncExitStack() as stack:
        site = Site(server, stack)
        await site.connect(headers=came_from("192.0.2.1"))
        assert (await site.refused(headers=came_from("192.0.2.2"))).status == 429


async def test_a_network_of_ipv6_is_one_address(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=2) as site:
        await site.connect(headers=came_from("2001:db8:0:1::1"))
        await site.connect(headers=came_from("2001:db8:0:1:ffff::2"))
        assert (await site.refused(headers=came_from("2001:db8:0:1::3"))).status == 429
        await site.connect(headers=came_from("2001:db8:0:2::1"))
        await site.connect(headers=came_from("192.0.2.1"))
        await site.connect(headers=came_from("::ffff:192.0.2.1"))
        assert (await site.refused(headers=came_from("192.0.2.1"))).status == 429


async def test_an_address_is_refused_before_anybody_is_asked_who_it_is(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=1) as site:
        await site.connect()
        assert (await site.refused("/members")).status == 429  # and not 401
        assert (await site.refused("/nowhere")).status == 404


async def test_handshakes_that_are_refused_count_for_nothing(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=1) as site:
        for _ in range(3):
            assert (await site.refused("/members")).status == 401
        await site.connect()


async def test_handshakes_at_the_same_moment_do_not_slip_past(carrier: Any) -> None:
    async with carrier(max_connections_per_ip=5, max_connections_per_user=3) as site:
        token = await site.token("ann")

        async def status(path: str, headers: Any = None) -> int:
            try:
                await site.connect(path, headers)
            except HandshakeFailed as refusal:
                return refusal.status
            return 101

        statuses = await asyncio.gather(*(status("/members", token) for _ in range(20)))
        assert sorted(statuses) == [101] * 3 + [429] * 17
        statuses = await asyncio.gather(*(status("/open") for _ in range(20)))
        assert sorted(statuses) == [101] * 2 + [429] * 18


async def test_a_last_hook_that_lingers_keeps_no_place(carrier: Any) -> None:
    async with carrier(max_connections=1, max_connections_per_ip=1) as site:
        await (await site.connect("/lingers")).close()
        await site.left(0)
        await site.connect()


async def test_a_client_that_goes_before_it_is_accepted_keeps_no_place() -> None:
    app = App(max_connections_per_ip=1)

    @app.websocket("/open")
    async def open_to_all(message: str) -> str:
        return message

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        raise OSError("the client is gone")

    scope = {"type": "websocket", "path": "/open", "query_string": b"", "headers": [], "client": ("192.0.2.1", 1)}
    async with app.running():
        for _ in range(2):
            with pytest.raises(OSError, match="the client is gone"):
                await app(scope, receive, send)
        assert app.listener is not None
        assert not app.listener.shells
        assert len(app.hub.census) == 0


# -- of a user ---------------------------------------------------------------------------------------------------------


async def test_so_many_of_a_user_and_the_next_is_429(carrier: Any) -> None:
    async with carrier(max_connections_per_user=2) as site:
        ann, bob = await site.token("ann"), await site.token("bob")
        clients = [await site.connect("/members", ann) for _ in range(2)]
        refusal = await site.refused("/members", ann)
        assert (refusal.status, refusal.headers["retry-after"]) == (429, "5")
        assert b"Too many connections of this user" in refusal.body
        await site.connect("/members", bob)
        await site.connect("/open", ann)  # where nobody is asked who it is, nobody is counted
        await clients[0].close()
        await site.left(3)
        await site.connect("/members", ann)
        assert (await site.refused("/members", ann)).status == 429


@pytest.mark.parametrize(("kind", "counts"), [("int", True), ("text", True), ("none", False), ("dict", False)])
async def test_users_of_an_auth_of_ones_own(carrier: Any, kind: str, counts: bool) -> None:
    async with carrier(max_connections_per_user=1) as site:
        await site.connect(f"/named?is={kind}")
        if counts:
            assert (await site.refused(f"/named?is={kind}")).status == 429
        else:
            await site.connect(f"/named?is={kind}")


async def test_a_user_of_the_event_socket_is_told_and_stays_as_the_public(carrier: Any) -> None:
    async with carrier(max_connections_per_user=1) as site:
        ann = await site.token("ann")
        first = await site.connect("/websocket", ann)
        assert "auth_error" not in (await first.receive_json())["data"]
        second = await site.connect("/websocket", ann)
        told = (await second.receive_json())["data"]
        assert told["auth_error"] == "Too many connections of this user"
        assert told["root_id"] == "n::000000000000000000000001"
        assert (await site.refused("/members", ann)).status == 429
        await first.close()
        await site.left(1)
        await second.send_json({"type": "change_user", "token": ann["Authorization"]})
        assert "auth_error" not in (await second.receive_json())["data"]
        assert (await site.refused("/members", ann)).status == 429


async def test_a_login_later_on_the_event_socket_counts_and_gives_back(carrier: Any) -> None:
    async with carrier(max_connections_per_user=1) as site:
        ann, bob = await site.token("ann"), await site.token("bob")
        ws = await site.connect("/websocket", ann)
        await ws.receive_json()
        await ws.send_json({"type": "change_user", "token": ann["Authorization"]})  # the same is no further one
        assert "auth_error" not in (await ws.receive_json())["data"]
        await ws.send_json({"type": "change_user", "token": bob["Authorization"]})
        await ws.receive_json()
        other = await site.connect("/members", ann)
        assert (await site.refused("/members", bob)).status == 429
        await ws.send_json({"type": "change_user", "token": ann["Authorization"]})
        told = (await ws.receive_json())["data"]
        assert told["auth_error"] == "Too many connections of this user"
        assert told["root_id"] == "n::000000000000000000000001"
        await site.connect("/members", bob)  # whom it was before, it is not any more
        await other.close()


async def test_a_login_that_ends_is_given_back(carrier: Any) -> None:
    async with carrier(max_connections_per_user=1) as site:
        ann = await site.token("ann")
        ws = await site.connect("/websocket", ann)
        await ws.receive_json()
        assert site.app.identity is not None
        [user] = await site.app.identity.users()
        site.app.hub.revoke(user_id=user.user_id)
        assert (await ws.receive_json())["data"]["auth_error"] == "Token revoked"
        login = await site.app.identity.login("ann", PASSWORD)
        await site.connect("/members", {"Authorization": f"Bearer {login.token}"})


async def test_a_walkers_connection_of_a_user_with_too_many_ends_with_1008(carrier: Any) -> None:
    async with carrier(max_connections_per_user=1) as site:
        ann = await site.token("ann")
        first = await site.connect("/ws/Whose", ann)
        await first.send_json({})
        assert (await first.receive_json())["data"]["reports"] == ["ann"]
        second = await site.connect("/ws/Whose", ann)
        assert (await second.wait_closed(), second.close_reason) == (1008, "Too many connections of this user")


async def test_a_token_in_a_message_that_makes_it_a_users_connection(carrier: Any) -> None:
    async with carrier(max_connections_per_user=1) as site:
        ann = await site.token("ann")
        first, second = await site.connect("/ws/Told"), await site.connect("/ws/Told")
        message = {"token": ann["Authorization"]}
        await first.send_json(message)
        assert (await first.receive_json())["data"]["reports"] == ["told"]
        await second.send_json(message)
        assert (await second.receive_json())["error"]["code"] == "TOO_MANY_CONNECTIONS"


# -- heads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "status"), [(upgrade_head, 101), (request_head, 200)])
@pytest.mark.parametrize("later", [False, True])
async def test_a_head_of_16_kib_and_one_byte_more(head: Any, status: int, later: bool) -> None:
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    target = ("/echo",) if head is upgrade_head else ("GET", "/healthz/live")
    room = 16 * 1024 - len(head(*target, {"X-Filler": ""}))
    async with TestServer(app) as server:
        for size, wanted in ((room, status), (room + 1, 431)):
            async with dial(server.port) as peer:
                if later:
                    peer.send(request_head("GET", "/healthz/live"))
                    assert (await peer.answer()).status == 200
                peer.send(head(*target, {"X-Filler": "x" * size}))
                assert (await peer.answer()).status == wanted
