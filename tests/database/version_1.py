"""A database as version 1 of the identity's tables made it, with a user, a token and an API key, in literal SQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg

__all__ = ["API_KEY", "SIGNING_SECRET", "TOKEN", "USER_ID", "make_postgresql", "make_sqlite"]

USER_ID = "11f032dc4460e26a543d14da"
API_KEY = "wlk_q7WXBUfcCz6fmN7utC8_704S9ze2UK0CFiXt15ZRZ5I"
SIGNING_SECRET = "wls_gk-cOq_Vls1JCMMl0Cuj3cnRevzJPJxFvkvfu4qfjbg"
TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    ".eyJzdWIiOiIxMWYwMzJkYzQ0NjBlMjZhNTQzZDE0ZGEiLCJ1c2VybmFtZSI6IkJvYiIsInJvbGUiOiJ1c2VyIiwianRpIjoiZmM1MmI1ZDUxYjQ0M"
    "jZkNWY4MjdmNmE4YWU3ZTZmMTUiLCJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDYwNDgwMH0"
    ".mBO2zyv7oOi45NfQitwFJN6EB9xnajyos9TCd-osSek"
)

# {blob}, {double} and {hex}: the three words in which the two databases differ
_TABLES = """
CREATE TABLE wireloom_schema_versions (
    part VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (part)
);
CREATE TABLE wireloom_settings (
    name VARCHAR NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE wireloom_users (
    user_id VARCHAR NOT NULL,
    root_id VARCHAR NOT NULL,
    username TEXT NOT NULL,
    role VARCHAR NOT NULL,
    password_hash TEXT,
    subject TEXT,
    created_at {double} NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE (root_id),
    UNIQUE (subject)
);
CREATE TABLE wireloom_api_keys (
    key_id VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    name TEXT NOT NULL,
    key_hash VARCHAR NOT NULL,
    signing_secret {blob} NOT NULL,
    allowed_walkers TEXT,
    legacy_signature BOOLEAN NOT NULL,
    created_at {double} NOT NULL,
    expires_at {double},
    PRIMARY KEY (key_id),
    FOREIGN KEY(user_id) REFERENCES wireloom_users (user_id) ON DELETE CASCADE,
    UNIQUE (key_hash)
);
CREATE INDEX ix_wireloom_api_keys_user_id ON wireloom_api_keys (user_id);
CREATE TABLE wireloom_identities (
    value TEXT NOT NULL,
    type VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    PRIMARY KEY (value),
    FOREIGN KEY(user_id) REFERENCES wireloom_users (user_id) ON DELETE CASCADE
);
CREATE INDEX ix_wireloom_identities_user_id ON wireloom_identities (user_id);
CREATE TABLE wireloom_tokens (
    token_id VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    expires_at {double} NOT NULL,
    PRIMARY KEY (token_id),
    FOREIGN KEY(user_id) REFERENCES wireloom_users (user_id) ON DELETE CASCADE
);
CREATE INDEX ix_wireloom_tokens_expires_at ON wireloom_tokens (expires_at);
CREATE INDEX ix_wireloom_tokens_user_id ON wireloom_tokens (user_id);

INSERT INTO wireloom_schema_versions VALUES ('identity', 1);
INSERT INTO wireloom_settings VALUES
    ('key_secret', 'Ec99qeR2VtpBOe0D-gaWGRYIlRct12XsUbpZMEZh6JByXWsFv1JL89vb_37vkaok'),
    ('token_secret', 'kJw2psElz0BFnlyrdE7Bi1G6aG4c0NhyuBUUYZEqgL2PpRlLe_yEF-iF0OVvjQRY');
INSERT INTO wireloom_users VALUES (
    '11f032dc4460e26a543d14da', 'n::ee948362cd96223518e08f29', 'Bob', 'user',
    '$argon2id$v=19$m=8,t=1,p=1$7wH0vDP8qoXhJv1219NYXQ$PAlOO3VO6FTb6ZD+Y3whNMyifoK2naYeECfh15Rshck', NULL, 1800000000.25
);
INSERT INTO wireloom_identities VALUES
    ('bob', 'username', '11f032dc4460e26a543d14da'), ('bob@example.org', 'email', '11f032dc4460e26a543d14da');
INSERT INTO wireloom_tokens VALUES ('fc52b5d51b4426d5f827f6a8ae7e6f15', '11f032dc4460e26a543d14da', 1800604800.0);
INSERT INTO wireloom_api_keys VALUES (
    'f5a0749b6fda4dca98f62a43', '11f032dc4460e26a543d14da', 'ci',
    'e76875fbcb5debdc7c454e05df2518eda566a3b0fc0dc081c4aced28c14b549b',
    {hex}e069450e5599116e2100af348bc6bd3553d09c22d70de49d385429bb35fc6bb75101a31f433f120bdd1d99bc0f78a8baa3c4204731480421d6c6cb05d26938faaf088a350aba01a2e6b2a9',
    '["Deploy"]', FALSE, 1800000000.25, NULL
);
"""


def make_sqlite(file: Path) -> str:
    """Makes it in a file; gives its URL."""
    connection = sqlite3.connect(file)
    connection.executescript(_TABLES.format(double="FLOAT", blob="BLOB", hex="X'"))
    connection.close()
    return f"sqlite:///{file}"


async def make_postgresql(url: str) -> str:
    """Makes it in an empty database; gives its URL."""
    connection = await asyncpg.connect(url)
    await connection.execute(_TABLES.format(double="FLOAT(53)", blob="BYTEA", hex="'\\x"))
    await connection.close()
    return url
