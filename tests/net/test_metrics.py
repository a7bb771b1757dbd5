"""``/metrics``: what is counted, under which names, and who may read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import httpx
import pytest
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from wireloom import EVERYONE, App, Connection, Deny, Disconnect, Hub, Request, RequestError, Root, Walker, entry, spec
from wireloom.errors import CLOSE_CODES, ConfigError
from wireloom.metrics import MOST_CODES, OTHER, REMOVED, SECONDS, Counts, EndpointCounts
from wireloom.net.metrics import ROWS
from wireloom.testing import TestServer

from .raw import dial, eventually, upgrade_head

pytestmark = pytest.mark.anyio

CHAT = {"door": "websocket", "endpoint": "/chat/{room}"}


class Line(TypedDict):
    """What ``/chat/{room}`` takes."""

    text: str


@spec(public=True, methods=["post", "websocket"])
class Double(Walker):
    number: int

    @entry(Root)
    async def double(self, here: Root) -> None:
        if self.number == 13:
            raise ZeroDivisionError("a bug")
        self.report(2 * self.number)


def make_app(**options: Any) -> App:
    """An application with an endpoint of each kind."""
    app = App(database="sqlite://", **options)

    @app.websocket("/chat/{room}")
    async def chat(message: Line, room: str) -> dict[str, str]:
        if message["text"] == "bug":
            raise KeyError("bug")
        if message["text"] == "refuse":
            raise RequestError("NOT_NOW", "not now")
        if message["text"] == "leave":
            raise Disconnect(4321, "left")
        return {"echo": message["text"]}

    @app.websocket("/waits")
    async def waits(message: str) -> str:
        await asyncio.sleep(0)
        return message

    @app.websocket("/stream")
    async def stream(message: int) -> AsyncIterator[int]:
        for number in range(message):
            yield number

    @app.websocket("/guarded")
    async def guarded(message: str) -> None: ...

    @guarded.on_handshake
    async def guard(request: Request) -> None:
        raise Deny(451)

    @app.websocket("/bad")
    async def bad(message: str) -> None: ...

    @bad.on_connect
    async def fail() -> None:
        raise ValueError("a bug")

    @app.websocket("/say")
    async def say(message: str, hub: Hub, connection: Connection) -> None:
        connection.join("news")
        await hub.publish("news", message)

    app.add(Double)
    return app


class Told:
    """What ``/metrics`` told."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Of the one sample of a name that has at least these labels; 0 where there is none."""
        found = [each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        assert len(found) <= 1, (name, labels)
        return found[0] if found else 0.0


async def told(server: TestServer) -> Told:
    answer = await server.http.get("/metrics")
    assert answer.status_code == 200
    return Told(answer.text)


async def told_when(server: TestServer, holds: Callable[[Told], bool]) -> Told:
    """What is told as soon as something holds: an end comes a turn or two after its cause."""
    async with asyncio.timeout(5):
        while True:
            now = await told(server)
            if holds(now):
                return now


# -- what is counted -------------------------------------------------------------------------------------------------


async def test_connections_and_messages_of_an_endpoint() -> None:
    async with TestServer(make_app()) as server:
        async with server.websocket("/chat/a") as one, server.websocket("/chat/b?x=1"):
            for text in ("hello", "you"):
                await one.send_json({"text": text})
                await one.receive()
            now = await told(server)
            assert now.value("wireloom_connections", **CHAT) == 2
            assert now.value("wireloom_connections_opened_total", **CHAT) == 2
            assert now.value("wireloom_messages_received_total", **CHAT) == 2
            assert now.value("wireloom_messages_sent_total", **CHAT) == 2
            # RFC 6455 §5.2: 2 bytes of header, 4 of mask from a client
            assert now.value("wireloom_received_bytes_total", **CHAT) == sum(6 + 11 + len(t) for t in ("hello", "you"))
            assert now.value("wireloom_sent_bytes_total", **CHAT) == sum(2 + 11 + len(t) for t in ("hello", "you"))
            assert now.value("wireloom_handler_seconds_count", **CHAT) == 2
        now = await told_when(server, lambda now: now.value("wireloom_connections", **CHAT) == 0)
        assert now.value("wireloom_connections_closed_total", code="1000", **CHAT) == 2
        assert now.value("wireloom_messages_received_total", **CHAT) == 2, "a close frame is no message"
        assert now.value("wireloom_messages_sent_total", **CHAT) == 2


@pytest.mark.parametrize("path", ["/chat/{room}", "/waits", "/stream"])
async def test_messages_that_come_in_one_read_are_counted_one_by_one(path: str) -> None:
    count, text = 40, {"/chat/{room}": '{"text":"x"}', "/stream": "1"}.get(path, "x")
    async with TestServer(make_app()) as server, dial(server.port) as peer:
        await peer.upgrade(path.replace("{room}", "a"))
        for _ in range(count):
            peer.text(text)
        for _ in range(count):
            await peer.frame()
        now = await told(server)
        assert now.value("wireloom_messages_received_total", endpoint=path) == count
        assert now.value("wireloom_messages_sent_total", endpoint=path) == count
        assert 25 <= now.value("wireloom_handler_seconds_count", endpoint=path) <= count


async def test_control_frames_are_bytes_but_no_messages_and_no_counter_falls() -> None:
    async with TestServer(make_app()) as server, dial(server.port) as peer:
        await peer.upgrade("/waits")
        peer.text("one")
        await peer.expect_text("one")
        for _ in range(3):
            peer.ping(b"x")
            await peer.frame()
        peer.pong()
        peer.text("two")
        await peer.expect_text("two")
        now = await told(server)
        assert now.value("wireloom_messages_received_total", endpoint="/waits") == 2
        assert now.value("wireloom_messages_sent_total", endpoint="/waits") == 2
        assert now.value("wireloom_sent_bytes_total", endpoint="/waits") == 2 * 5 + 3 * 3
        counts = server.app.hub.counts.of("websocket", "/waits")
        counts.control += 1  # a ping that has not left yet
        assert (await told(server)).value("wireloom_messages_sent_total", endpoint="/waits") == 2


async def test_errors_bugs_and_the_codes_that_end_connections() -> None:
    async with TestServer(make_app()) as server:
        async with server.websocket("/chat/a") as ws:
            for text in ('{"text":"refuse"}', '{"text":"bug"}', "{", "[]"):
                await ws.send_text(text)
                await ws.receive()
            await ws.send_json({"text": "leave"})
            assert await ws.wait_closed() == 4321
        async with server.websocket("/bad") as ws:
            assert await ws.wait_closed() == 1011
        now = await told_when(server, lambda now: now.value("wireloom_connections_closed_total", code="1011") == 1)
        for code in ("NOT_NOW", "INTERNAL_ERROR", "INVALID_JSON", "VALIDATION_ERROR"):
            assert now.value("wireloom_errors_total", code=code, **CHAT) == 1, code
        assert now.value("wireloom_bugs_total", where="handler", **CHAT) == 1
        assert now.value("wireloom_bugs_total", where="on_connect", endpoint="/bad") == 1
        assert now.value("wireloom_connections_closed_total", code="4xxx", **CHAT) == 1


async def test_handshakes_that_are_refused() -> None:
    async with TestServer(make_app(), timeout=10) as server:
        for target, status in (("/nowhere", 404), ("/guarded", 451), ("/guarded", 451)):
            async with dial(server.port) as peer:
                peer.send(upgrade_head(target))
                assert (await peer.answer()).status == status
        now = await told(server)
        assert now.value("wireloom_connections_refused_total", status="404") == 1
        assert now.value("wireloom_connections_refused_total", status="451") == 2
        assert now.value("wireloom_connections_opened_total", endpoint="/guarded") == 0


async def test_http_endpoints_and_events() -> None:
    async with TestServer(make_app()) as server:
        body = b'{"number": 21}'
        answer = await server.http.post("/walker/Double", content=body)
        assert answer.json()["data"]["reports"] == [42], answer.text
        assert (await server.http.post("/walker/Double", json={"number": "x"})).status_code == 422
        assert (await server.http.post("/walker/Double", json={"number": 13})).status_code == 500
        assert (await server.http.put("/walker/Double", json={})).status_code == 405
        async with server.websocket("/websocket") as ws:
            await ws.receive()
            for number in (4, "x"):
                await ws.send_json(
                    {"type": "walker", "walker": "Double", "context": {"number": number}, "response": True}
                )
                await ws.receive()
        now = await told(server)
        rest = {"door": "rest", "endpoint": "/walker/Double"}
        assert now.value("wireloom_messages_received_total", **rest) == 4
        assert now.value("wireloom_messages_sent_total", **rest) == 4
        assert now.value("wireloom_sent_bytes_total", **rest) > len(answer.content)
        assert now.value("wireloom_handler_seconds_count", **rest) == 3
        for status in ("200", "422", "500", "405"):
            assert now.value("wireloom_responses_total", status=status, **rest) == 1
        for code in ("VALIDATION_ERROR", "INTERNAL_ERROR", "METHOD_NOT_ALLOWED"):
            assert now.value("wireloom_errors_total", code=code, **rest) == 1
        assert now.value("wireloom_bugs_total", where="handler", **rest) == 1
        of_events = {"door": "event", "endpoint": "Double"}
        assert now.value("wireloom_messages_received_total", **of_events) == 2
        assert now.value("wireloom_messages_sent_total", **of_events) == 1
        assert now.value("wireloom_errors_total", code="VALIDATION_ERROR", **of_events) == 1


async def test_publications_and_deliveries() -> None:
    async with TestServer(make_app()) as server, server.websocket("/say") as one, server.websocket("/say") as two:
        for ws in (one, two):
            await ws.send_text("here")
            await ws.receive()
        await one.receive()
        await server.app.hub.publish(EVERYONE, "all")
        await server.app.hub.publish("nobody", "hears this")
        now = await told(server)
        assert now.value("wireloom_publications_total") == 4
        assert now.value("wireloom_deliveries_total") == 1 + 2 + 2
        assert now.value("wireloom_topics") == 2
        assert now.value("wireloom_backplane_up") == 1


@pytest.mark.parametrize("policy", ["drop_oldest", "close"])
async def test_a_reader_that_stops_and_what_it_does_not_get(policy: Any) -> None:
    app = make_app(outbox_bytes=100_000, outbox_policy=policy)
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/waits")
        peer.writer.transport.pause_reading()
        await eventually(lambda: app.hub.count() == 1)
        counts, published = app.hub.counts.of("websocket", "/waits"), 0
        seen = Told("")
        while not counts.dropped[policy]:
            await app.hub.publish(EVERYONE, "x" * 10_000)
            await asyncio.sleep(0)
            published += 1
            if counts.paused:
                seen = await told(server)
            assert published < 5000
        assert seen.value("wireloom_connections_behind", endpoint="/waits") == 1
        assert seen.value("wireloom_outbox_bytes", endpoint="/waits") > 0
        now, dropped = await told(server), counts.dropped[policy]
        assert now.value("wireloom_messages_dropped_total", endpoint="/waits", policy=policy) == dropped > 0
        sent = now.value("wireloom_messages_sent_total", endpoint="/waits")
        assert sent + dropped <= published
        peer.abort()
        now = await told_when(server, lambda now: now.value("wireloom_connections", endpoint="/waits") == 0)
        assert now.value("wireloom_connections_behind", endpoint="/waits") == 0
        if policy == "close":
            assert now.value("wireloom_connections_closed_total", endpoint="/waits", code="1013") == 1


async def test_a_live_reload_goes_on_counting_at_the_same_path() -> None:
    async with TestServer(make_app()) as server, server.websocket("/chat/a") as ws:
        await ws.send_json({"text": "before"})
        await ws.receive()
        await server.app.reload(make_app())
        await ws.send_json({"text": "after"})
        await ws.receive()
        now = await told(server)
        assert now.value("wireloom_connections", **CHAT) == 1
        assert now.value("wireloom_messages_received_total", **CHAT) == 2
        assert now.value("wireloom_messages_sent_total", **CHAT) == 2


async def test_what_was_counted_where_a_live_reload_leaves_nothing_is_told_as_removed() -> None:
    async with TestServer(make_app()) as server, server.websocket("/chat/a") as ws:
        await ws.send_json({"text": "before"})
        await ws.receive()
        await server.app.reload(App(database="sqlite://"))
        assert await ws.wait_closed() == 1012
        removed = {"door": "websocket", "endpoint": REMOVED}
        now = await told_when(server, lambda now: now.value("wireloom_connections", **removed) == 0)
        assert now.value("wireloom_connections_opened_total", **removed) == 1
        assert now.value("wireloom_connections_closed_total", code="1012", **removed) == 1
        assert now.value("wireloom_messages_received_total", **removed) == 1
        assert not any(sample.labels.get("endpoint") == "/chat/{room}" for sample in now.samples)


async def test_a_connection_whose_endpoint_comes_back_is_counted_once() -> None:
    gate = asyncio.Event()

    def gated(*paths: str) -> App:
        app = App()
        for path in paths:

            @app.websocket(path)
            async def wait(message: str) -> str:
                await gate.wait()
                return message

        return app

    async with TestServer(gated("/gate", "/other")) as server, server.websocket("/gate") as ws:
        await ws.send_text("wait")
        [shell] = server.app.listener.shells
        await told_when(server, lambda now: shell._tasks is not None)
        await server.app.reload(gated("/other"))  # it stays open as long as its handler runs
        await server.app.reload(gated("/gate", "/other"))
        gate.set()
        assert await ws.receive_text() == "wait"
        assert await ws.wait_closed() == 1012
        named = {"door": "websocket", "endpoint": "/gate"}
        await told_when(server, lambda now: now.value("wireloom_connections", **named) == 0)
        assert not any(sample.value < 0 for sample in (await told(server)).samples)


async def test_every_metric_that_the_reference_names_is_told_with_its_type_and_help() -> None:
    async with TestServer(make_app()) as server, server.websocket("/chat/a"):
        now = await told(server)
        for row in ROWS:
            family = now.families[row.name]
            assert (family.type, family.documentation) == (row.kind, row.help)
        assert now.value("wireloom_build_info") == 1
        assert now.value("process_resident_memory_bytes") > 0


async def test_what_the_application_counts_itself_is_told_too() -> None:
    jokes = Counter("jokes", "Jokes told")
    jokes.inc(3)
    async with TestServer(make_app()) as server:
        assert (await told(server)).value("jokes_total") == 3


async def test_openmetrics_for_whoever_asks_for_it() -> None:
    async with TestServer(make_app()) as server, server.websocket("/chat/a"):
        answer = await server.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        names = {family.name for family in read_openmetrics(answer.text)}
        assert {row.name for row in ROWS} <= names


async def test_one_of_several_workers_says_which_it_is() -> None:
    app = make_app(workers=2)
    async with TestServer(app) as server:
        samples = (await told(server)).samples
        assert {sample.labels["worker"] for sample in samples} == {samples[0].labels["worker"]}


# -- names are bounded -----------------------------------------------------------------------------------------------


def test_codes_of_errors_are_bounded_in_number_and_shape() -> None:
    counts = EndpointCounts()
    wrong: Any = 404
    for code in ("FINE", "not fine", "", "x" * 65, "ü", wrong):
        counts.tell(code)
    assert counts.errors == {"FINE": 1, OTHER: 5}
    for number in range(1000):
        counts.tell(f"CODE_{number}")
    assert len(counts.errors) == 50
    counts.tell("FINE")
    assert counts.errors["FINE"] == 2


def test_close_codes_are_bounded() -> None:
    counts = EndpointCounts()
    for code in (*range(65536), None):
        counts.close(code)
    assert set(counts.closed) == {
        *map(str, (*range(1000, 1016), *CLOSE_CODES)),
        *("1xxx 2xxx 3xxx 4xxx other".split()),
    }
    assert counts.closed["1005"] == 2


def test_times_are_counted_below_the_bound_that_they_reach() -> None:
    counts = EndpointCounts()
    for seconds in (*SECONDS, 100.0, 0.0):
        counts.time(seconds, 1.0)
    assert counts.timings.buckets == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert counts.timings.total == sum(SECONDS) + 100


def test_so_many_are_timed_at_once_and_no_more() -> None:
    counts = EndpointCounts()
    for now in (1.0, 2.0):
        for _ in range(25):
            assert counts.timed_until != now
            counts.time(0.1, now)
        assert counts.timed_until == now


def test_an_endpoint_has_the_same_counts_whenever_it_is_compiled() -> None:
    counts = Counts()
    assert counts.of("rest", "/a") is counts.of("rest", "/a")
    assert counts.of("rest", "/a") is not counts.of("webhook", "/a")


def test_endpoints_that_are_removed_become_one_of_their_door_whose_numbers_do_not_fall() -> None:
    counts = Counts()
    for number in range(100):
        each = counts.of("websocket", f"/{number}")
        each.opened, each.received, each.sent, each.control = 1, number, 10, 12 - number % 10
        each.close(1000)
        each.open = 0
        each.tell(f"CODE_{number}")
        each.time(0.1, 1.0)
        each.messages_sent = 5
        counts.keep({("rest", "/stays")})
    [(door, sum_of)] = counts.removed().items()
    assert (door, sum_of.opened, sum_of.received, sum_of.closed) == ("websocket", 100, 4950, {"1000": 100})
    assert sum_of.messages_sent == 10 * (5 * 8 + 6 + 7)
    assert len(sum_of.errors) == MOST_CODES + 1 and sum(sum_of.errors.values()) == 100
    assert sum(sum_of.timings.buckets) == 100
    assert counts.removed()["websocket"].received == 4950  # asking changes nothing
    assert not counts._endpoints and not counts._leaving


def test_what_goes_on_at_a_removed_endpoint_until_its_connections_end_is_in_the_sum() -> None:
    counts = Counts()
    leaving = counts.of("websocket", "/a")
    leaving.open, leaving.opened = 2, 2
    counts.keep(())
    again = counts.of("websocket", "/a")
    assert again is not leaving and again.opened == 0
    for left in (1, 0):
        leaving.close(1012)
        leaving.received += 1
        now = counts.removed()["websocket"]
        assert (now.open, now.opened, now.closed["1012"], now.received) == (left, 2, 2 - left, 2 - left)
    assert not counts._leaving


# -- who may read them -----------------------------------------------------------------------------------------------


async def ask(app: App, client: tuple[str, int] | None, headers: dict[str, str]) -> int:
    """The status that a request from an address gets, which is not always one of this machine."""
    async with TestServer(app):
        transport = httpx.ASGITransport(app=app, client=client or ("", 0))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            return (await http.get("/metrics", headers=headers)).status_code


@pytest.mark.parametrize(
    ("address", "allowed", "status"),
    [
        ("127.0.0.1", (), 200),
        ("127.8.8.8", (), 200),
        ("::1", (), 200),
        ("::ffff:127.0.0.1", (), 200),
        ("10.1.2.3", (), 403),
        ("10.1.2.3", ("10.0.0.0/8",), 200),
        ("10.1.2.3", ("10.1.2.3",), 200),
        ("10.1.2.4", ("10.1.2.3", "fd00::/8"), 403),
        ("fd12::1", ("10.1.2.3", "fd00::/8"), 200),
        ("2001:db8::1", ("*",), 200),
        ("not an address", (), 403),
        ("", (), 403),
    ],
)
async def test_loopback_and_the_allowed(address: str, allowed: tuple[str, ...], status: int) -> None:
    assert await ask(make_app(metrics_allow=allowed), (address, 1234), {}) == status


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host"]
)
async def test_a_proxy_on_this_machine_that_nobody_trusts_opens_nothing(name: str) -> None:
    assert await ask(make_app(), ("127.0.0.1", 1234), {name: "127.0.0.1"}) == 403


@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        ("127.0.0.1", "203.0.113.9", 403),
        ("127.0.0.1", "10.1.2.3", 200),  # Prometheus, by the proxy
        ("127.0.0.1", "127.0.0.1, 203.0.113.9", 403),  # the client has made up the first
        ("127.0.0.1", "10.1.2.3, 203.0.113.9", 403),
        ("127.0.0.1", "203.0.113.9, 10.1.2.3", 200),
        ("10.9.9.9", "10.1.2.3", 403),  # the proxy is not trusted, so nobody knows whose request it is
        ("*", "127.0.0.1", 403),  # anybody may say so
        ("*", "10.1.2.3", 403),
    ],
)
async def test_by_a_proxy_it_is_the_client_who_asks(trusted: str, forwarded: str, status: int) -> None:
    app = make_app(metrics_allow=("10.1.2.0/24",), forwarded_allow_ips=trusted)
    async with TestServer(app) as server:
        answer = await server.http.get("/metrics", headers={"X-Forwarded-For": forwarded})
        assert answer.status_code == status


async def test_everybody_where_it_says_so() -> None:
    app = make_app(metrics_allow=("*",), forwarded_allow_ips="*")
    async with TestServer(app) as server:
        assert (await server.http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})).status_code == 200


@pytest.mark.parametrize("wrong", ["10.0.0.0/99", "prometheus", "10.1.2"])
def test_what_is_no_address_is_told_at_the_start(wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"metrics_allow must be addresses, networks or .*{wrong}"):
        App(metrics_allow=(wrong,))


async def test_it_can_be_turned_off_and_its_path_is_free_then() -> None:
    async with TestServer(make_app(metrics=False)) as server:
        assert (await server.http.get("/metrics")).status_code == 404
    free = App(metrics=False)

    @free.websocket("/metrics")
    async def mine(message: str) -> None: ...

    async with TestServer(free) as server, server.websocket("/metrics"):
        pass


async def test_no_declaration_takes_its_path() -> None:
    app = App()

    @app.websocket("/metrics")
    async def mine(message: str) -> None: ...

    with pytest.raises(ConfigError, match="/metrics"):
        app.check()
    open_app = App()

    @open_app.websocket("/{anything}")
    async def anything(message: str) -> None: ...

    async with TestServer(open_app) as server:
        assert (await server.http.get("/metrics")).status_code == 200
