"""An external issuer: real keys, published by a real HTTP server of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from wireloom.errors import ConfigError
from wireloom.identity import issuer
from wireloom.identity.identity import Identity
from wireloom.identity.refusal import Forbidden, TokenInvalid

from .kit import BOB, PASSWORD, START, Clock, Make, config
from .test_signing import forge, public_pem

pytestmark = pytest.mark.anyio
NAME = "https://login.example.org/"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {
    "iss": NAME,
    "sub": "auth0|1",
    "aud": "app",
    "exp": START + 100,
    "iat": START,
    "jti": "t1",
    "preferred_username": "bob",
}


def jwk(key: Any, key_id: str | None, **more: Any) -> dict[str, Any]:
    """A key as issuers publish it."""
    algorithm = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    writer = next(writer for kind, writer in algorithm.items() if isinstance(key, kind))
    entry = json.loads(writer.to_jwk(key.public_key()))
    entry.pop("key_ops", None)
    return {**entry, **({"kid": key_id} if key_id is not None else {}), **more}


class Publisher:
    """A server with one document; counts how often it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.status, self.body, self.headers = 200, b"", {"Content-Type": "application/json"}
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                self.send_response(publisher.status)
                for name, value in publisher.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(publisher.body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def publish(self, *entries: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": entries}).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    publisher.publish(jwk(RSA_KEY, "k1"))
    yield publisher
    publisher.stop()


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def external(make: Make, publisher: Publisher) -> Callable[..., Any]:
    async def start(database: str = "sqlite://", **options: Any) -> Identity:
        chosen = {"token_jwks_url": publisher.url, "token_issuer": NAME, "token_audience": "app", **options}
        return await make(database, **chosen)

    return start


def token(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str | None = "k1", **claims: Any) -> str:
    wanted = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(wanted, key, algorithm, headers={"kid": key_id} if key_id is not None else None)


async def refused(identity: Identity, text: str) -> str:
    with pytest.raises(TokenInvalid) as caught:
        await identity.authenticate(text)
    return caught.value.reason


# -- users -----------------------------------------------------------------------------------------------------------


async def test_a_user_of_the_issuer_is_known_from_first_sight_on(external: Any, database: str) -> None:
    identity = await external(database)
    user = await identity.authenticate(f"Bearer {token()}")
    assert (user.username, user.role, user.token_id, user.expires_at) == ("bob", "user", "t1", START + 100)
    again = await identity.authenticate(token(jti="t2", exp=START + 200, preferred_username="bobby", role="admin"))
    assert (again.user_id, again.root_id) == (user.user_id, user.root_id)
    assert (again.username, again.role, again.token_id) == ("bobby", "admin", "t2")
    other = await identity.authenticate(token(sub="auth0|2"))
    assert other.user_id != user.user_id and other.root_id != user.root_id
    assert await identity.create_api_key(user, "ci")


async def test_many_first_sights_make_one_user(external: Any, database: str) -> None:
    identity = await external(database)
    seen = []

    async def look() -> None:
        seen.append(await identity.authenticate(token()))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(look)
    assert len(seen) == 8 and len(set(seen)) == 1 and len(await identity.users()) == 1


@pytest.mark.parametrize(
    ("claims", "username"),
    [
        ({"preferred_username": None, "username": "u", "email": "e"}, "u"),
        ({"preferred_username": None, "email": "e"}, "e"),
        ({"preferred_username": None}, "auth0|1"),
        ({"preferred_username": 7}, "auth0|1"),
    ],
)
async def test_what_a_user_is_called(external: Any, claims: dict[str, Any], username: str) -> None:
    assert (await (await external()).authenticate(token(**claims))).username == username


async def test_a_subject_is_one_of_its_issuer(external: Any, publisher: Publisher, file_url: str) -> None:
    one = await (await external(file_url)).authenticate(token())
    other = await (await external(file_url, token_issuer="https://b")).authenticate(token(iss="https://b"))
    assert one.user_id != other.user_id
    a, b = (issuer.Issuer(config("", token_jwks_url="https://h", token_issuer=name)) for name in ("a b", "a"))
    claims = issuer.Claims
    assert a.subject_of(claims("c", "", 0, {})) != b.subject_of(claims("b c", "", 0, {}))


async def test_nobody_registers_or_logs_in_here(external: Any) -> None:
    identity = await external()
    user = await identity.authenticate(token())
    account = await identity.add_user(BOB, PASSWORD)
    for refusing in (
        identity.register(BOB, PASSWORD),
        identity.login("bob", PASSWORD),
        identity.refresh(user),
        identity.logout(user),
        identity.change_password(user, PASSWORD, PASSWORD),
        identity.delete(user, PASSWORD),
        identity.issue_token(account),
    ):
        with pytest.raises(Forbidden):
            await refusing


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": START}, "Token expired"),
        ({"exp": None}, "Token invalid"),
        ({"sub": None}, "Token invalid"),
        ({"iss": None}, "Token invalid"),
        ({"iss": "https://elsewhere"}, "Token invalid"),
        ({"aud": "another app"}, "Token invalid"),
        ({"aud": None}, "Token invalid"),
        ({"nbf": START + 60}, "Token not yet valid"),
    ],
)
async def test_tokens_that_are_not_for_us(external: Any, claims: dict[str, Any], reason: str) -> None:
    identity = await external()
    assert await refused(identity, token(**claims)) == reason
    assert await identity.users() == []


async def test_some_claims_are_optional(external: Any) -> None:
    identity = await external(token_audience=None)
    assert (await identity.authenticate(token(jti=None, iat=None))).token_id == ""
    assert (await identity.authenticate(token(aud=["x", "y"]))).username == "bob"


async def test_forged_tokens(external: Any, publisher: Publisher) -> None:
    identity = await external()
    public = jwk(RSA_KEY, "k1")
    good = token()
    header, payload, signature = good.split(".")
    for forged in (
        token(OTHER_KEY),
        token("s" * 32, "HS256"),
        forge({"alg": "HS256", "kid": "k1"}, CLAIMS, json.dumps(public).encode()),
        forge({"alg": "RS256", "kid": "k1"}, CLAIMS, json.dumps(public).encode()),
        forge({"alg": "HS256", "kid": "k1"}, CLAIMS, public_pem(RSA_KEY)),
        jwt.encode(CLAIMS, None, "none", headers={"kid": "k1"}),
        f"{header}.{payload}.",
        f"{header}.{payload}x.{signature}",
        jwt.encode(CLAIMS, OTHER_KEY, "RS256", headers={"kid": "k1", "jwk": jwk(OTHER_KEY, "k1")}),
        jwt.encode(CLAIMS, OTHER_KEY, "RS256", headers={"kid": "k1", "jku": publisher.url}),
        token(EC_KEY, "ES256"),
        token(RSA_KEY, "PS256"),
        "x" * 9000,
        "",
        "a.b.c",
    ):
        assert await refused(identity, forged) == "Token invalid"
    assert (await identity.authenticate(good)).username == "bob"


@pytest.mark.parametrize(("key", "algorithm"), [(EC_KEY, "ES256"), (ED_KEY, "EdDSA"), (RSA_KEY, "RS256")])
async def test_kinds_of_keys(external: Any, publisher: Publisher, key: Any, algorithm: str) -> None:
    publisher.publish(jwk(OTHER_KEY, "other"), jwk(key, "k1"))
    assert (await (await external()).authenticate(token(key, algorithm))).username == "bob"


async def test_the_configured_algorithm_is_the_only_one(external: Any, publisher: Publisher) -> None:
    publisher.publish(jwk(RSA_KEY, "k1"), jwk(EC_KEY, "k2"))
    identity = await external(token_algorithm="ES256")
    assert await refused(identity, token()) == "Token invalid"
    assert (await identity.authenticate(token(EC_KEY, "ES256", "k2"))).username == "bob"


@pytest.mark.parametrize("key_id", [None, "k1"])
async def test_a_key_may_have_no_name_if_it_is_the_only_one(
    external: Any, publisher: Publisher, key_id: str | None
) -> None:
    publisher.publish(jwk(RSA_KEY, key_id))
    assert (await (await external()).authenticate(token(key_id=None))).username == "bob"
    publisher.publish(jwk(RSA_KEY, key_id), jwk(OTHER_KEY, "k2"))
    assert await refused(await external(), token(key_id=None)) == "Token invalid"


async def test_keys_that_are_not_to_be_used(external: Any, publisher: Publisher) -> None:
    small = rsa.generate_private_key(65537, 1024)
    secret = {"kty": "oct", "k": "c" * 43, "kid": "oct", "alg": "HS256"}
    publisher.publish(
        jwk(RSA_KEY, "enc", use="enc"),
        secret,
        jwk(small, "small"),
        {**jwk(OTHER_KEY, "private"), "d": "AQAB"},
        {"kty": "RSA", "kid": "broken"},
        {"kid": ["list"]},
        jwk(RSA_KEY, "k1"),
    )
    identity = await external()
    assert (await identity.authenticate(token())).username == "bob"
    assert list(identity._issuer._keys) == ["k1"]
    for unusable in (token(key_id="enc"), token(OTHER_KEY, key_id="private")):
        assert await refused(identity, unusable) == "Token invalid"


# -- fetching --------------------------------------------------------------------------------------------------------


async def test_keys_are_fetched_when_needed_and_kept(external: Any, publisher: Publisher) -> None:
    identity = await external()
    assert await refused(identity, forge({"alg": "HS256", "kid": "k1"}, CLAIMS, b"s" * 32)) == "Token invalid"
    assert publisher.asked == 0
    for number in range(3):
        await identity.authenticate(token(jti=str(number)))
    assert publisher.asked == 1


async def test_many_who_ask_at_once_make_one_fetch(external: Any, publisher: Publisher) -> None:
    identity = await external()
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(identity.authenticate, token())
    assert publisher.asked == 1


async def test_a_new_key_is_found_but_unknown_ones_are_not_asked_for_again_and_again(
    external: Any, publisher: Publisher
) -> None:
    identity, time = await external(), Monotonic()
    identity._issuer._monotonic = time
    await identity.authenticate(token())
    publisher.publish(jwk(RSA_KEY, "k1"), jwk(OTHER_KEY, "k2"))
    for number in range(5):  # at most one fetch in 30 seconds, whoever invents names
        assert await refused(identity, token(OTHER_KEY, key_id=f"invented{number}")) == "Token invalid"
    assert await refused(identity, token(OTHER_KEY, key_id="k2")) == "Token invalid"
    assert publisher.asked == 1
    time.now += 30
    assert (await identity.authenticate(token(OTHER_KEY, key_id="k2"))).username == "bob"
    assert publisher.asked == 2


async def test_a_key_that_was_taken_back_is_not_believed_for_ever(external: Any, publisher: Publisher) -> None:
    identity, time = await external(), Monotonic()
    identity._issuer._monotonic = time
    await identity.authenticate(token())
    publisher.publish(jwk(OTHER_KEY, "k2"))
    time.now += 3600
    await identity.authenticate(token())
    time.now += 1
    assert await refused(identity, token()) == "Token invalid"


async def test_an_issuer_that_does_not_answer_is_believed_for_a_day(
    external: Any, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    identity, time = await external(), Monotonic()
    identity._issuer._monotonic = time
    await identity.authenticate(token())
    publisher.status = 500
    time.now += 24 * 3600
    await identity.authenticate(token())
    assert "cannot be had: HTTP status 500" in caplog.text
    time.now += 1
    assert await refused(identity, token()) == "The issuer's keys cannot be had"
    publisher.status = 200
    time.now += 30
    await identity.authenticate(token())


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (404, b"", {}),
        (200, b"<html>", {}),
        (200, b"[]", {}),
        (200, b'{"keys": 1}', {}),
        (200, b'{"keys": []}', {}),
        (200, b'{"keys": [1, {"kty": "oct", "k": "AA"}]}', {}),
        (200, b" " * (1024 * 1024 + 1), {}),
        (302, b"", {"Location": "/jwks2.json"}),
    ],
)
async def test_answers_that_are_of_no_use(
    external: Any, publisher: Publisher, status: int, body: bytes, headers: dict[str, str]
) -> None:
    identity = await external()
    publisher.status, publisher.body, publisher.headers = status, body, headers
    assert await refused(identity, token()) == "The issuer's keys cannot be had"
    assert publisher.asked == 1


async def test_the_loop_is_free_while_keys_are_fetched(
    external: Any, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, threads = issuer._fetch, []

    def watch(url: str) -> bytes:
        threads.append(threading.current_thread())
        return fetch(url)

    monkeypatch.setattr(issuer, "_fetch", watch)
    await (await external()).authenticate(token())
    assert threads and threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.org/jwks.json",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "https://",
        "login.example.org/jwks.json",
        "",
    ],
)
async def test_keys_come_by_https_or_from_this_machine(url: str) -> None:
    with pytest.raises(ConfigError, match="https://"):
        await Identity(config("sqlite://", token_jwks_url=url, token_issuer=NAME)).start()


@pytest.mark.parametrize("url", ["https://h/j", "http://localhost:1/j", "http://127.0.0.2/j", "http://[::1]:1/j"])
async def test_urls_that_may_be(url: str, clock: Clock) -> None:
    identity = Identity(config("sqlite://", token_jwks_url=url, token_issuer=NAME), clock)
    await identity.start()
    await identity.stop()


async def test_an_issuer_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match="token_issuer"):
        await Identity(config("sqlite://", token_jwks_url="https://h")).start()
