"""Page 3, Door 3: a signed request of another service; what is not proved is not parsed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from wireloom import App, Node, RequestError, Root, Walker, entry, spec
from wireloom.faces.walkers.fields import Fields
from wireloom.faces.walkers.webhook import WebhookDoor
from wireloom.graph.changes import Conflict
from wireloom.graph.unit import Unit
from wireloom.testing import TestServer

from .kit import PASSWORD, bearer, refused, register, replied

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
BODY = b'{"text":"hi"}'


class Seen(Node):
    text: str


@spec(protocol="webhook")
class Deploy(Walker):
    text: str = ""

    @entry(Root)
    async def deploy(self, here: Root) -> None:
        RUNS.append(self.text)
        here.connect(Seen(text=self.text))
        if FAIL and (error := FAIL.pop()) is not None:
            raise error
        self.report([here.root_id, self.request.user.username, self.text])


@spec(protocol="webhook", path="/hooks/paid", max_message_bytes=30)
class Paid(Walker):
    text: str = ""

    @entry(Root)
    def paid(self, here: Root) -> None:
        self.report(self.text)


@spec(protocol="webhook", roles=["admin"])
class ForAdmins(Walker):
    text: str = ""

    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(self.text)


class CountSeen(Walker):
    @entry(Root)
    async def count(self, here: Root) -> None:
        self.report(len(await here.nodes(Seen)))


RUNS: list[str] = []
FAIL: list[BaseException | None] = []


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(App([Deploy, Paid, ForAdmins, CountSeen], database="sqlite://")) as server:
        yield server


@pytest.fixture(scope="module")
async def alice(server: TestServer) -> Any:
    return await register(server.app, "alice")


@pytest.fixture
async def http(server: TestServer) -> httpx.AsyncClient:
    RUNS.clear()
    FAIL.clear()
    return server.http


@pytest.fixture
async def key(server: TestServer, alice: Any) -> dict[str, Any]:
    return await make_key(server, alice)


@pytest.fixture
def clock(server: TestServer, alice: Any, key: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time that signatures and keys are judged by."""

    def set_to(now: float) -> None:
        monkeypatch.setattr(server.app.identity, "_clock", lambda: now)

    return set_to


async def make_key(server: TestServer, login: Any, **wanted: Any) -> dict[str, Any]:
    answer = await server.http.post("/api-key/create", json={"name": "ci", **wanted}, headers=bearer(login))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["data"]
    return made


def signature(secret: str, body: bytes, timestamp: str | None = None) -> str:
    signed = body if timestamp is None else f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def signed(key: Any, body: bytes = BODY, timestamp: Any = None, prefix: str = "sha256=") -> dict[str, str]:
    """The headers of a good webhook."""
    at = str(int(time.time()) if timestamp is None else timestamp)
    return {
        "X-API-Key": key["api_key"],
        "X-Webhook-Timestamp": at,
        "X-Webhook-Signature": prefix + signature(key["signing_secret"], body, at),
    }


async def send(http: httpx.AsyncClient, headers: Any, body: bytes = BODY, path: str = "/webhook/Deploy") -> Any:
    return await http.post(path, content=body, headers=headers)


def require_refused(answer: httpx.Response, message: str) -> None:
    assert (answer.status_code, answer.json()) == (401, refused(401, "UNAUTHORIZED", message))
    assert RUNS == []


# -- what is proved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["none", "no prefix", "capitals"])
async def test_a_signed_request_runs_as_the_user_of_its_key(
    http: httpx.AsyncClient, key: Any, alice: Any, change: str
) -> None:
    headers = signed(key, prefix="" if change == "no prefix" else "sha256=")
    if change == "capitals":
        bare = headers["X-Webhook-Signature"].removeprefix("sha256=")
        headers["X-Webhook-Signature"] = "sha256=" + bare.upper()
    answer = await send(http, headers)
    assert (answer.status_code, answer.json()) == (200, replied([alice.user.root_id, "alice", "hi"]))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
async def test_the_body_is_json_whatever_it_is_called(http: httpx.AsyncClient, key: Any, kind: str | None) -> None:
    headers = {**signed(key), **({} if kind is None else {"Content-Type": kind})}
    assert (await send(http, headers)).status_code == 200


async def test_an_empty_body_is_signed_too(http: httpx.AsyncClient, key: Any) -> None:
    answer = await send(http, signed(key, b""), b"")
    assert answer.json()["data"]["reports"][0][2] == ""


async def test_a_walker_may_have_a_path_and_a_limit_of_its_own(http: httpx.AsyncClient, key: Any) -> None:
    body = b'{"text":"%b"}' % (b"x" * 19)
    assert len(body) == 30
    assert (await send(http, signed(key, body), body, "/hooks/paid")).json() == replied("x" * 19)
    longer = b'{"text":"%b"}' % (b"x" * 20)
    answer = await send(http, signed(key, longer), longer, "/hooks/paid")
    assert (answer.status_code, answer.json()) == (413, refused(413, "TOO_LARGE", "The body is larger than 30 bytes"))


# -- what is not -------------------------------------------------------------------------------------------------------

SIGNATURES = [
    "",
    "sha256=",
    "abc",
    "sha256=" + "0" * 63,
    "sha256=" + "0" * 65,
    "sha1=" + "0" * 40,
    "SHA256=" + "0" * 64,
]
TIMESTAMPS = ["", "x", "1.5", "-1", "9" * 21, "1e9", "0x10", "+1800000000", "1800000000,"]


@pytest.mark.parametrize("bad", [*SIGNATURES, "0" * 64, "sha256=" + "0" * 64, "sha256=" + "g" * 64, None])
async def test_a_signature_that_is_wrong_or_none_is_refused(http: httpx.AsyncClient, key: Any, bad: Any) -> None:
    headers = {**signed(key), "X-Webhook-Signature": bad}
    require_refused(await send(http, {name: value for name, value in headers.items() if value is not None}), WRONG)


@pytest.mark.parametrize("bad", [*TIMESTAMPS, None])
async def test_a_timestamp_that_is_none_is_refused(http: httpx.AsyncClient, key: Any, bad: Any) -> None:
    headers = signed(key, timestamp=bad or "")
    if bad is None:
        del headers["X-Webhook-Timestamp"]
    require_refused(await send(http, headers), "X-Webhook-Timestamp must be unix seconds")


@pytest.mark.parametrize("bad", ["", "x", "wlk_x", None])
async def test_a_key_that_is_none_is_refused(http: httpx.AsyncClient, key: Any, bad: Any) -> None:
    headers = {**signed(key), "X-API-Key": bad}
    told = "API key invalid" if bad else "API key missing"
    require_refused(await send(http, {name: value for name, value in headers.items() if value is not None}), told)


WRONG = "Signature invalid"


async def test_what_was_signed_otherwise_is_refused(
    http: httpx.AsyncClient, key: Any, server: TestServer, alice: Any
) -> None:
    other = await make_key(server, alice)
    at = str(int(time.time()))
    require_refused(await send(http, signed(key), b'{"text":"ho"}'), WRONG)
    require_refused(await send(http, signed(key), BODY + b" "), WRONG)
    require_refused(await send(http, signed(key), b""), WRONG)
    require_refused(await send(http, {**signed(key), "X-API-Key": other["api_key"]}), WRONG)
    require_refused(await send(http, {**signed(key, timestamp=int(at) - 1), "X-Webhook-Timestamp": at}), WRONG)
    for secret, stamp in ((key["api_key"], None), (key["api_key"], at), (key["signing_secret"], None), ("", at)):
        require_refused(await send(http, {**signed(key), "X-Webhook-Signature": signature(secret, BODY, stamp)}), WRONG)


async def test_a_login_is_no_proof(http: httpx.AsyncClient, alice: Any) -> None:
    require_refused(await send(http, bearer(alice)), "API key missing")


@pytest.mark.parametrize("off", [300.0, -300.0, 301.0, -301.0, 300.5, -300.5])
async def test_the_time_may_be_off_by_300_seconds(http: httpx.AsyncClient, key: Any, clock: Any, off: float) -> None:
    clock(NOW + off)
    answer = await send(http, signed(key, timestamp=int(NOW)))
    if abs(off) <= 300:
        assert answer.status_code == 200
    else:
        require_refused(answer, "X-Webhook-Timestamp is more than 300 s from the time here")


async def test_a_signature_is_good_once(http: httpx.AsyncClient, key: Any, clock: Any) -> None:
    headers = signed(key, timestamp=int(NOW))
    clock(NOW - 300)
    assert (await send(http, headers)).status_code == 200
    RUNS.clear()
    bare = headers["X-Webhook-Signature"].removeprefix("sha256=")
    for now in (NOW - 300, NOW, NOW + 300):
        clock(now)
        for again in (bare, bare.upper(), "sha256=" + bare):
            require_refused(await send(http, {**headers, "X-Webhook-Signature": again}), "Signature was used already")
    assert (await send(http, signed(key, timestamp=int(NOW) + 1))).status_code == 200


async def test_what_was_refused_to_a_sender_may_be_sent_again(server: TestServer, alice: Any) -> None:
    key = await make_key(server, alice)
    headers = signed(key)
    for _ in range(2):  # once it may, it need not be signed anew
        answer = await send(server.http, headers, BODY, "/webhook/ForAdmins")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


BLOWING_UP = [b"not json", b"\xff", b"[" * 100_000, b'{"text":5}', b'{"nobody":1}']


@pytest.mark.parametrize("body", BLOWING_UP)
async def test_what_is_not_proved_is_not_parsed(
    http: httpx.AsyncClient, key: Any, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed, real = list[Any](), Fields.from_json
    monkeypatch.setattr(Fields, "from_json", lambda self, payload: parsed.append(payload) or real(self, payload))
    require_refused(await send(http, signed(key), body), WRONG)
    assert parsed == []
    answer = await send(http, signed(key, body), body)  # and once it is, it is
    assert answer.json()["error"]["code"] in ("INVALID_JSON", "VALIDATION_ERROR")
    assert parsed == [body]


async def test_without_a_good_key_the_body_is_not_even_read(http: httpx.AsyncClient, key: Any) -> None:
    body = b"x" * (1024 * 1024 + 1)
    require_refused(await send(http, {**signed(key, body), "X-API-Key": "wlk_x"}, body), "API key invalid")
    answer = await send(http, signed(key, body), body)
    expected = refused(413, "TOO_LARGE", "The body is larger than 1048576 bytes")
    assert (answer.status_code, answer.json()) == (413, expected)
    just = b'{"text":"' + b"x" * (1024 * 1024 - 11) + b'"}'
    assert (await send(http, signed(key, just), just)).status_code == 200


async def test_only_post_and_only_names_of_webhooks(http: httpx.AsyncClient, key: Any) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        answer = await http.request(method, "/webhook/Deploy", headers=signed(key))
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    for name in ("Nobody", "CountSeen", "Paid"):
        answer = await send(http, signed(key), BODY, f"/webhook/{name}")
        assert (answer.status_code, answer.json()) == (404, refused(404, "NOT_FOUND", f"Walker {name!r} not found"))


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_a_legacy_key_signs_with_itself_and_may_be_replayed(server: TestServer, alice: Any) -> None:
    RUNS.clear()
    key = await make_key(server, alice, legacy_signature=True)
    headers = {"X-API-Key": key["api_key"], "X-Webhook-Signature": signature(key["api_key"], BODY)}
    for prefix in ("", "sha256="):
        headers["X-Webhook-Signature"] = prefix + signature(key["api_key"], BODY)
        assert (await send(server.http, headers)).status_code == 200
    assert RUNS == ["hi", "hi"]
    RUNS.clear()
    require_refused(await send(server.http, headers, b"{}"), WRONG)
    require_refused(await send(server.http, signed(key)), WRONG)


async def test_a_key_reaches_the_walkers_that_it_names(server: TestServer, alice: Any) -> None:
    RUNS.clear()
    key = await make_key(server, alice, allowed_walkers=["Paid"])
    require_refused(await send(server.http, signed(key)), "API key does not reach this walker")
    assert (await send(server.http, signed(key), BODY, "/hooks/paid")).status_code == 200
    nothing = await make_key(server, alice, allowed_walkers=[])
    require_refused(await send(server.http, signed(nothing)), "API key does not reach this walker")


async def test_a_key_expires(server: TestServer, alice: Any, clock: Any) -> None:
    RUNS.clear()
    now = float(int(time.time()) + 1)
    clock(now)
    key, end = await make_key(server, alice, expiry_days=1), now + 86_400
    assert key["expires_at"] == datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    clock(end)
    require_refused(await send(server.http, signed(key, timestamp=int(end))), "API key expired")
    clock(end - 0.01)
    assert (await send(server.http, signed(key, timestamp=int(end)))).status_code == 200


async def test_a_key_that_is_revoked_or_whose_user_is_gone_is_none(server: TestServer, alice: Any) -> None:
    RUNS.clear()
    http = server.http
    key = await make_key(server, alice)
    assert (await http.delete(f"/api-key/{key['api_key_id']}", headers=bearer(alice))).status_code == 200
    require_refused(await send(http, signed(key)), "API key invalid")
    gone = await register(server.app, "gone")
    key = await make_key(server, gone)
    await http.request("DELETE", "/user", json={"password": PASSWORD}, headers=bearer(gone))
    require_refused(await send(http, signed(key)), "API key invalid")


async def test_the_endpoints_of_keys_are_as_the_page_says(server: TestServer) -> None:
    http, carol, dave = server.http, await register(server.app, "carol"), await register(server.app, "dave")
    made = await make_key(server, carol, name="one", expiry_days=2, allowed_walkers=["Deploy"])
    first = ["api_key_id", "name", "created_at", "expires_at"]
    assert {"api_key", "signing_secret", *first} <= set(made)
    assert made["name"] == "one"
    listed = (await http.get("/api-key/list", headers=bearer(carol))).json()["data"]["api_keys"]
    assert [each["api_key_id"] for each in listed] == [made["api_key_id"]]
    assert not {"api_key", "signing_secret"} & set(listed[0])
    assert made["api_key"] not in str(listed) and made["signing_secret"] not in str(listed)
    assert (await http.get("/api-key/list", headers=bearer(dave))).json()["data"] == {"api_keys": []}
    path = f"/api-key/{made['api_key_id']}"
    assert (await http.delete(path, headers=bearer(dave))).status_code == 404
    assert (await http.delete(path, headers=bearer(carol))).status_code == 200
    assert (await http.delete(path, headers=bearer(carol))).status_code == 404
    for method, url in (("POST", "/api-key/create"), ("GET", "/api-key/list"), ("DELETE", path)):
        assert (await http.request(method, url)).status_code == 401


# -- what failed may be sent again -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("a bug"), 500),
        (RequestError("CONFLICT", "busy"), 409),
        (RequestError("OVERLOADED", "busy"), 503),
        (RequestError("RUN_TIMEOUT", "late"), 503),
    ],
)
async def test_the_same_request_may_be_sent_again_when_its_run_failed_for_now(
    http: httpx.AsyncClient, key: Any, error: Any, status: int
) -> None:
    headers = signed(key)
    for _ in range(2):
        FAIL[:] = [error]
        assert (await send(http, headers)).status_code == status
    assert (await send(http, headers)).status_code == 200
    assert RUNS == ["hi"] * 3
    RUNS.clear()
    require_refused(await send(http, headers), "Signature was used already")


@pytest.mark.parametrize(
    ("error", "status"), [(RequestError("FORBIDDEN", "no"), 403), (RequestError("OUT_OF_STOCK", "no"), 400)]
)
async def test_what_was_refused_for_good_is_not_sent_again(
    http: httpx.AsyncClient, key: Any, error: Any, status: int
) -> None:
    headers = signed(key)
    FAIL[:] = [error]
    assert (await send(http, headers)).status_code == status
    RUNS.clear()
    require_refused(await send(http, headers), "Signature was used already")


async def test_a_run_that_was_overtaken_twice_may_be_sent_again(
    http: httpx.AsyncClient, key: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = (await http.post("/walker/CountSeen", headers=bearer(alice))).json()["data"]["reports"]

    async def overtaken(unit: Unit) -> None:
        raise Conflict

    headers = signed(key)
    with monkeypatch.context() as patch:
        patch.setattr(Unit, "commit", overtaken)
        assert (await send(http, headers)).status_code == 409
    assert RUNS == ["hi", "hi"]
    assert (await send(http, headers)).status_code == 200
    [after] = (await http.post("/walker/CountSeen", headers=bearer(alice))).json()["data"]["reports"]
    assert after == before + 1


@pytest.mark.parametrize(
    ("error", "forgotten"), [(RuntimeError("a bug"), True), (Conflict(), True), (asyncio.CancelledError(), False)]
)
async def test_what_may_have_been_kept_is_not_to_be_sent_again(error: BaseException, forgotten: bool) -> None:
    """A run that is cancelled may be past its commit: with the same signature it would be done twice."""
    calls = []

    class Proof:
        async def forget(self) -> None:
            calls.append("forget")

    async def fail(request: Any) -> bytes:
        raise error

    request: Any = SimpleNamespace(connection=SimpleNamespace(proof=Proof()))
    with pytest.raises(type(error)):
        await WebhookDoor.forgetting(SimpleNamespace(), fail)(request)  # type: ignore[arg-type]
    assert bool(calls) is forgotten
