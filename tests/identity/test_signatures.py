"""Webhook signatures, on each kind of database: what is signed, what is refused, and that nothing is good twice."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from sqlalchemy import func, select, update
from starlette.datastructures import Headers

from wireloom.identity.api_key import NewApiKey
from wireloom.identity.identity import Identity
from wireloom.identity.refusal import KeyInvalid
from wireloom.identity.signatures import WINDOW_SECONDS
from wireloom.identity.tables import api_keys, signatures

from .kit import BOB, PASSWORD, START, Clock, Make

pytestmark = pytest.mark.anyio
BODY = b'{"ref": "main"}'
NOW = str(int(START))


async def make_key(identity: Identity, **options: Any) -> NewApiKey:
    user = (await identity.register(BOB, PASSWORD)).user
    return await identity.create_api_key(user, "ci", **options)


def sign(made: NewApiKey, body: bytes = BODY, timestamp: str = NOW) -> str:
    signed = timestamp.encode() + b"." + body
    return hmac.new(made.key.signing_secret.encode(), signed, hashlib.sha256).hexdigest()


def headers(made: NewApiKey, signature: str | None = None, timestamp: str | None = NOW) -> Headers:
    found = {
        "X-API-Key": made.api_key,
        "X-Webhook-Signature": sign(made, timestamp=timestamp or "") if signature is None else signature,
        **({"X-Webhook-Timestamp": timestamp} if timestamp is not None else {}),
    }
    return Headers(found)


async def verify(identity: Identity, found: Headers, body: bytes = BODY, walker: str = "Deploy") -> Any:
    return await (await identity.begin_webhook(found, walker)).verify(body)


async def refused(identity: Identity, found: Headers, body: bytes = BODY, walker: str = "Deploy") -> str:
    with pytest.raises(KeyInvalid) as caught:
        await verify(identity, found, body, walker)
    return caught.value.reason


async def remembered(identity: Identity) -> int:
    async with identity._keys._database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(signatures)) or 0


# -- what is signed --------------------------------------------------------------------------------------------------


async def test_a_signed_webhook_is_on_behalf_of_the_keys_user(identity: Identity) -> None:
    made = await make_key(identity)
    key = await verify(identity, headers(made))
    assert key == made.key and key.user.username == "Bob"


async def test_the_example_of_a_signature_by_other_means(identity: Identity) -> None:
    """``printf '%s' '1800000000.{}' | openssl dgst -sha256 -hmac wls_known``."""
    made = await make_key(identity)
    database = identity._keys._database
    async with database.writing() as connection:
        encrypted = identity._keys._encrypt(made.key.key_id, "wls_known")
        await connection.execute(update(api_keys).values(signing_secret=encrypted))
    signature = "9f1b53c0a97b20cac9ce682088435c588619d321bc8fabd67fd10bb3a23e2736"
    assert (await verify(identity, headers(made, signature), b"{}")).key_id == made.key.key_id


@pytest.mark.parametrize(
    "write",
    [str, str.upper, lambda text: f"sha256={text}", lambda text: f"sha256={text.upper()}"],
    ids=["bare", "upper", "prefix", "prefix upper"],
)
async def test_ways_to_write_a_signature(make: Make, write: Callable[[str], str]) -> None:
    identity = await make()
    made = await make_key(identity)
    await verify(identity, headers(made, write(sign(made))))


@pytest.mark.parametrize("body", [b"", b"\0\xff", b"x" * 1024 * 1024])
async def test_a_body_is_signed_as_it_is(make: Make, body: bytes) -> None:
    identity = await make()
    made = await make_key(identity)
    await verify(identity, headers(made, sign(made, body)), body)


async def test_a_timestamp_is_signed_as_it_is_written(make: Make) -> None:
    identity = await make()
    made = await make_key(identity)
    padded = f"000{NOW}"
    assert await refused(identity, headers(made, sign(made, timestamp=NOW), padded)) == "Signature invalid"
    await verify(identity, headers(made, sign(made, timestamp=padded), padded))


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "sha256=",
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: "0" * 64,
        lambda text: f"sha1={text}",
        lambda text: f"SHA256={text}",
        lambda text: f"sha256={text},sha256={text}",
        lambda text: f" {text}",
        lambda text: f"{text}\n",
        lambda text: "g" * 64,
        lambda text: "é" * 64,
        lambda text: "٣" * 64,
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
    ],
)
async def test_signatures_that_are_none(make: Make, change: Callable[[str], str]) -> None:
    """Malformed or wrong, the answer is the same."""
    identity = await make()
    made = await make_key(identity)
    raw = [
        (b"x-api-key", made.api_key.encode()),
        (b"x-webhook-timestamp", NOW.encode()),
        (b"x-webhook-signature", change(sign(made)).encode()),
    ]
    assert await refused(identity, Headers(raw=raw)) == "Signature invalid"
    assert await remembered(identity) == 0


async def test_another_body_another_time_another_secret(identity: Identity) -> None:
    made = await make_key(identity)
    other = await identity.create_api_key(made.key.user, "other")
    assert await refused(identity, headers(made), BODY + b" ") == "Signature invalid"
    later = str(int(NOW) + 1)
    assert await refused(identity, headers(made, sign(made), later)) == "Signature invalid"
    assert await refused(identity, headers(made, sign(other))) == "Signature invalid"
    with_key = hmac.new(made.api_key.encode(), BODY, hashlib.sha256).hexdigest()  # as legacy keys do
    assert await refused(identity, headers(made, with_key)) == "Signature invalid"
    await verify(identity, headers(made))


@pytest.mark.parametrize("timestamp", [None, "", "now", "1.8e9", f"{NOW}.25", f"+{NOW}", f"-{NOW}", "٣", "9" * 21])
async def test_timestamps_that_are_none(make: Make, timestamp: str | None) -> None:
    identity = await make()
    made = await make_key(identity)
    given = None if timestamp is None else timestamp.encode()
    raw = [(b"x-api-key", made.api_key.encode()), (b"x-webhook-signature", sign(made).encode())]
    raw += [(b"x-webhook-timestamp", given)] if given is not None else []
    assert await refused(identity, Headers(raw=raw)) == "X-Webhook-Timestamp must be unix seconds"


@pytest.mark.parametrize(("seconds", "good"), [(-300, False), (-299, True), (300, True), (301, False)])
async def test_the_window(make: Make, clock: Clock, seconds: int, good: bool) -> None:
    """The clock is a quarter of a second after `NOW`."""
    identity = await make()
    made = await make_key(identity)
    timestamp = str(int(NOW) + seconds)
    if good:
        await verify(identity, headers(made, timestamp=timestamp))
    else:
        assert "300 s from the time here" in await refused(identity, headers(made, timestamp=timestamp))


async def test_keys_that_let_nobody_in(identity: Identity, clock: Clock) -> None:
    made = await make_key(identity, expiry_days=1, allowed_walkers=["Deploy"])
    assert await refused(identity, Headers({})) == "API key missing"
    assert await refused(identity, Headers({"x-api-key": "wlk_none"})) == "API key invalid"
    assert await refused(identity, headers(made), walker="Other") == "API key does not reach this walker"
    await verify(identity, headers(made))
    clock.now += 24 * 3600
    assert await refused(identity, headers(made, timestamp=str(int(clock.now)))) == "API key expired"
    await identity.revoke_api_key(made.key.key_id, None)
    assert await refused(identity, headers(made)) == "API key invalid"


async def test_what_needs_no_body_is_checked_without_one(identity: Identity) -> None:
    made = await make_key(identity, allowed_walkers=["Deploy"])
    for found, walker in (
        (Headers({"x-api-key": "wlk_none"}), "Deploy"),
        (headers(made), "Other"),
        (headers(made, timestamp="1"), "Deploy"),
        (headers(made, "no signature"), "Deploy"),
    ):
        with pytest.raises(KeyInvalid):
            await identity.begin_webhook(found, walker)


# -- once ------------------------------------------------------------------------------------------------------------


async def test_a_signature_is_good_once(identity: Identity) -> None:
    made = await make_key(identity)
    await verify(identity, headers(made))
    for again in (sign(made), sign(made).upper(), f"sha256={sign(made)}"):
        assert await refused(identity, headers(made, again)) == "Signature was used already"
    later = str(int(NOW) + 1)
    await verify(identity, headers(made, timestamp=later))


async def test_of_many_at_once_one_is_let_through(identity: Identity) -> None:
    made = await make_key(identity)
    outcomes = []

    async def send() -> None:
        try:
            await verify(identity, headers(made))
            outcomes.append("")
        except KeyInvalid as invalid:
            outcomes.append(invalid.reason)

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(send)
    assert sorted(outcomes) == ["", *["Signature was used already"] * 5]


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
async def test_it_is_remembered_across_processes_and_restarts(make: Make, database: str) -> None:
    first, second = await make(database), await make(database)
    made = await make_key(first)
    await verify(first, headers(made))
    assert await refused(second, headers(made)) == "Signature was used already"
    await first.stop()
    await second.stop()
    assert await refused(await make(database), headers(made)) == "Signature was used already"


async def test_what_was_not_done_may_be_sent_again(identity: Identity) -> None:
    made = await make_key(identity)
    check = await identity.begin_webhook(headers(made), "Deploy")
    await check.verify(BODY)
    await check.forget()
    again = await identity.begin_webhook(headers(made), "Deploy")
    await again.verify(BODY)
    await check.forget()  # has nothing to forget any more
    assert await refused(identity, headers(made)) == "Signature was used already"


async def test_a_refused_replay_forgets_nothing(identity: Identity) -> None:
    made = await make_key(identity)
    await verify(identity, headers(made))
    replay = await identity.begin_webhook(headers(made), "Deploy")
    with pytest.raises(KeyInvalid):
        await replay.verify(BODY)
    await replay.forget()
    assert await refused(identity, headers(made)) == "Signature was used already"


async def test_signatures_are_kept_as_long_as_they_could_be_used(identity: Identity, clock: Clock) -> None:
    made = await make_key(identity)
    ahead = str(int(NOW) + 300)
    await verify(identity, headers(made, timestamp=ahead))
    clock.now = int(ahead) + WINDOW_SECONDS
    await verify(identity, headers(made, timestamp=str(int(clock.now))))  # prunes
    assert await refused(identity, headers(made, timestamp=ahead)) == "Signature was used already"


async def test_old_ones_are_pruned_now_and_then(identity: Identity, clock: Clock) -> None:
    made = await make_key(identity)
    for seconds, timestamp, kept in (
        (0, -200, 1),  # kept until 400; prunes
        (500, 500, 2),  # does not: the last time was a moment ago
        (600, 600, 2),  # prunes
        (5000, 5000, 1),
    ):
        clock.now = START + seconds
        await verify(identity, headers(made, timestamp=str(int(START) + timestamp)))
        assert await remembered(identity) == kept


# -- keys of older senders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", [None, "", "1", "yesterday"])
async def test_legacy_keys_sign_with_themselves(make: Make, timestamp: str | None) -> None:
    identity = await make()
    made = await make_key(identity, legacy_signature=True)
    signature = hmac.new(made.api_key.encode(), BODY, hashlib.sha256).hexdigest()
    for written in (signature, f"sha256={signature}"):  # and the same event may come again
        assert (await verify(identity, headers(made, written, timestamp))).user.username == "Bob"
    assert await remembered(identity) == 0
    assert await refused(identity, headers(made, signature, timestamp), BODY + b" ") == "Signature invalid"
    assert await refused(identity, headers(made, sign(made))) == "Signature invalid"


async def test_legacy_keys_are_keys(make: Make) -> None:
    identity = await make()
    made = await make_key(identity, legacy_signature=True, allowed_walkers=["Deploy"])
    signature = hmac.new(made.api_key.encode(), BODY, hashlib.sha256).hexdigest()
    assert "does not reach" in await refused(identity, headers(made, signature), walker="Other")
    check = await identity.begin_webhook(headers(made, signature), "Deploy")
    await check.verify(BODY)
    await check.forget()


# -- secrecy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_check_shows_no_secret(make: Make, legacy: bool) -> None:
    identity = await make()
    made = await make_key(identity, legacy_signature=legacy)
    check = await identity.begin_webhook(headers(made), "Deploy")
    with pytest.raises(KeyInvalid) as caught:
        await check.verify(b"another body")
    for shown in (repr(check), repr(caught.value), str(caught.value)):
        assert made.api_key not in shown and made.key.signing_secret not in shown
        assert sign(made) not in shown and repr(bytes.fromhex(sign(made))) not in shown


async def test_the_database_has_neither_signature_nor_key(identity: Identity) -> None:
    made = await make_key(identity)
    await verify(identity, headers(made))
    async with identity._keys._database.reading() as connection:
        row = repr((await connection.execute(select(signatures))).one())
    assert made.key.key_id not in row and sign(made) not in row
