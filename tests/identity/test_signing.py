"""Tokens: what is signed, and every way to forge one that is known."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.identity.refusal import TokenInvalid
from wireloom.identity.signing import Signing

from .kit import START

SECRET = "s" * 32
CLAIMS: dict[str, Any] = {"sub": "u", "username": "Bob", "role": "user", "iat": START, "exp": START + 100, "jti": "t"}


def pem(key: Any, encryption: Any = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


def public_pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def signing(**options: Any) -> Signing:
    return Signing(Config(**options), "k" * 32)


def with_key(folder: Path, algorithm: str, text: bytes, **options: Any) -> Signing:
    (folder / "key.pem").write_bytes(text)
    return signing(token_algorithm=algorithm, token_private_keyfile=str(folder / "key.pem"), **options)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """An HS256 signature over anything, by hand: the libraries refuse to make such tokens."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.digest(key, text.encode(), hashlib.sha256))}"


def refused(reader: Signing, token: str, now: float = START) -> str:
    with pytest.raises(TokenInvalid) as caught:
        reader.read(token, now)
    assert token not in str(caught.value) or not token
    return caught.value.reason


def test_claims_come_back() -> None:
    reader = signing(token_secret=SECRET)
    token = reader.sign(CLAIMS)
    claims = reader.read(token, START)
    assert (claims.subject, claims.token_id, claims.expires_at) == ("u", "t", START + 100)
    assert claims.rest == CLAIMS
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert forge({"alg": "HS256"}, CLAIMS, SECRET.encode()) != token
    reader.read(forge({"alg": "HS256"}, CLAIMS, SECRET.encode()), START)  # the forger can, with the right key


def test_by_default_the_kept_secret_signs() -> None:
    token = signing().sign(CLAIMS)
    assert jwt.decode(token, "k" * 32, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert refused(signing(token_secret=SECRET), token) == "Token invalid"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_private_keys_sign(algorithm: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue({"RS256": "rsa_key", "ES256": "ec_key"}[algorithm])
    reader = with_key(tmp_path, algorithm, pem(key))
    token = reader.sign(CLAIMS)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert reader.read(token, START).subject == "u"
    with pytest.raises(TokenInvalid):
        signing().read(token, START)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_the_public_key_is_no_secret_of_hs256(algorithm: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue({"RS256": "rsa_key", "ES256": "ec_key"}[algorithm])
    reader = with_key(tmp_path, algorithm, pem(key))
    for secret in (public_pem(key), public_pem(key).strip(), b""):
        assert refused(reader, forge({"alg": "HS256", "typ": "JWT"}, CLAIMS, secret)) == "Token invalid"
        # also when the header claims the right algorithm
        assert refused(reader, forge({"alg": algorithm}, CLAIMS, secret)) == "Token invalid"


def test_another_key_of_the_same_kind_signs_nothing(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    reader = with_key(tmp_path, "RS256", pem(rsa_key))
    other = rsa.generate_private_key(65537, 2048)
    assert refused(reader, jwt.encode(CLAIMS, other, "RS256")) == "Token invalid"
    # nor does another algorithm of the same key
    assert refused(reader, jwt.encode(CLAIMS, rsa_key, "PS256")) == "Token invalid"
    assert refused(reader, jwt.encode(CLAIMS, rsa_key, "RS512")) == "Token invalid"
    # nor a key that the token brings
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key()))
    assert refused(reader, jwt.encode(CLAIMS, other, "RS256", headers={"jwk": jwk})) == "Token invalid"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "hs256", "HS384", None, 1, ["HS256"], {}])
def test_no_other_algorithm_is_heeded(name: Any) -> None:
    reader = signing(token_secret=SECRET)
    assert refused(reader, forge({"alg": name}, CLAIMS, SECRET.encode())) == "Token invalid"
    assert refused(reader, f"{part({'alg': name})}.{part(CLAIMS)}.") == "Token invalid"


def test_a_tampered_token_is_refused_whatever_byte_it_is() -> None:
    reader = signing(token_secret=SECRET)
    token = reader.sign(CLAIMS)
    for index, character in enumerate(token[:-1]):  # of the last character some bits mean nothing
        other = "A" if character != "A" else "B"
        assert refused(reader, token[:index] + other + token[index + 1 :]) == "Token invalid"
    header, claims, signature = token.split(".")
    admin = part({**CLAIMS, "role": "admin"})
    for text in (f"{header}.{admin}.{signature}", f"{header}.{claims}.", f"{header}.{claims}", f"{token}.x"):
        assert refused(reader, text) == "Token invalid"


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é", "\0", "\ud800", "x" * 10_000, "[" * 5000])
def test_what_is_no_token(text: str) -> None:
    assert refused(signing(), text) == "Token invalid"


def test_a_very_long_token_is_not_looked_at() -> None:
    reader = signing()
    assert refused(reader, reader.sign({**CLAIMS, "more": "x" * 8192})) == "Token invalid"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": START}, "Token expired"),
        ({"exp": START - 1000}, "Token expired"),
        ({"exp": None}, "Token invalid"),
        ({"exp": "tomorrow"}, "Token invalid"),
        ({"exp": True}, "Token invalid"),
        ({"exp": float("inf")}, "Token invalid"),
        ({"iat": START + 11}, "Token not yet valid"),
        ({"iat": START + 9}, None),
        ({"iat": "x"}, "Token invalid"),
        ({"iat": None}, "Token invalid"),
        ({"nbf": START + 11}, "Token not yet valid"),
        ({"nbf": START + 9}, None),
        ({"sub": None}, "Token invalid"),
        ({"sub": 1}, "Token invalid"),
        ({"sub": ""}, "Token invalid"),
        ({"jti": None}, "Token invalid"),
        ({"jti": 1}, "Token invalid"),
        ({"iss": "anybody"}, None),
        ({"aud": "others"}, "Token invalid"),
    ],
)
def test_claims_that_a_signer_should_not_have_made(claims: dict[str, Any], reason: str | None) -> None:
    reader = signing(token_secret=SECRET)
    wanted = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    token = forge({"alg": "HS256"}, wanted, SECRET.encode())
    if reason is None:
        reader.read(token, START)
    else:
        assert refused(reader, token) == reason


def test_issuer_and_audience_are_written_and_asked_for() -> None:
    ours = signing(token_secret=SECRET, token_issuer="https://us", token_audience="app")
    token = ours.sign(CLAIMS)
    assert ours.read(token, START).rest == {**CLAIMS, "iss": "https://us", "aud": "app"}
    right = {"token_issuer": "https://us", "token_audience": "app"}
    for wrong in ({"token_issuer": "https://them"}, {"token_audience": "other"}, {"token_audience": None}):
        assert refused(signing(token_secret=SECRET, **{**right, **wrong}), token) == "Token invalid"
    for lacking in ({"token_issuer": None}, {"token_audience": None}):
        foreign = signing(token_secret=SECRET, **{**right, **lacking}).sign(CLAIMS)
        assert refused(ours, foreign) == "Token invalid"


def test_keys_that_cannot_be_used(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, ec_key: Any) -> None:
    small = rsa.generate_private_key(65537, 1024)
    wrong = {
        "an RSA key of 2048": ("RS256", pem(ec_key)),
        "2048 bits or more": ("RS256", pem(small)),
        "RS256 needs an RSA key": ("RS256", pem(ed25519.Ed25519PrivateKey.generate())),
        "the curve P-256": ("ES256", pem(ec.generate_private_key(ec.SECP384R1()))),
        "ES256 needs a key": ("ES256", pem(rsa_key)),
        "with a password": ("RS256", pem(rsa_key, BestAvailableEncryption(b"x"))),
        "not a private key": ("RS256", public_pem(rsa_key)),
        "not a private key in PEM": ("RS256", b"nonsense"),
    }
    for message, (algorithm, text) in wrong.items():
        with pytest.raises(ConfigError, match=message):
            with_key(tmp_path, algorithm, text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_secret": "short"}, "32 bytes"),
        ({"token_secret": ""}, "32 bytes"),
        ({"token_private_keyfile": "key.pem"}, "RS256 or ES256"),
        ({"token_algorithm": "RS256"}, "needs token_private_keyfile"),
        ({"token_algorithm": "ES256", "token_private_keyfile": "k", "token_secret": SECRET}, "HS256"),
        ({"token_algorithm": "ES256", "token_private_keyfile": "/nowhere/key.pem"}, "/nowhere/key.pem: No such file"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        signing(**options)
    assert "short" not in str(caught.value)
