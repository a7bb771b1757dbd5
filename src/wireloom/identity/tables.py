"""Tables: users, their names, tokens and keys, in SQL. Law: a row that names a user goes when the user does."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from wireloom.database.schema import Part

__all__ = ["IDENTITY", "api_keys", "identities", "settings", "signatures", "tokens", "users"]

metadata = MetaData()


def _owner() -> Column[str]:
    return Column(
        "user_id", String, ForeignKey("wireloom_users.user_id", ondelete="CASCADE"), nullable=False, index=True
    )


users = Table(
    "wireloom_users",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("root_id", String, nullable=False, unique=True),
    Column("username", Text, nullable=False),
    Column("role", String, nullable=False),
    Column("password_hash", Text),  # None: logs in with an external issuer
    Column("subject", Text, unique=True),  # issuer and name there; None: registered here
    Column("created_at", Float(53), nullable=False),
)

# A folded name belongs to one user, whatever its type: nobody gets another's e-mail address as a username.
identities = Table(
    "wireloom_identities",
    metadata,
    Column("value", Text, primary_key=True),
    Column("type", String, nullable=False),
    _owner(),
)

# A token is valid while its row stands and `expires_at` (unix seconds) has not come.
tokens = Table(
    "wireloom_tokens",
    metadata,
    Column("token_id", String, primary_key=True),
    _owner(),
    Column("expires_at", Float(53), nullable=False, index=True),
)

api_keys = Table(
    "wireloom_api_keys",
    metadata,
    Column("key_id", String, primary_key=True),
    _owner(),
    Column("name", Text, nullable=False),
    Column("key_hash", String, nullable=False, unique=True),
    Column("signing_secret", LargeBinary, nullable=False),  # encrypted
    Column("allowed_walkers", Text),  # JSON; None: all
    Column("legacy_signature", Boolean, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("expires_at", Float(53)),
)

settings = Table(
    "wireloom_settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)

# Signatures of webhooks that were used, by a hash of the key's id and the signature.
signatures = Table(
    "wireloom_signatures",
    metadata,
    Column("signature_hash", String, primary_key=True),
    Column("expires_at", Float(53), nullable=False, index=True),
)


def _add_signatures(connection: Connection) -> None:
    """The step from 1 to 2, which stays as it is whatever becomes of the table later."""
    made = Table(
        "wireloom_signatures",
        MetaData(),
        Column("signature_hash", String, primary_key=True),
        Column("expires_at", Float(53), nullable=False, index=True),
    )
    made.create(connection)


IDENTITY = Part(
    "identity",
    2,
    metadata,
    steps={1: _add_signatures},
    counted={"user": users, "token": tokens, "API key": api_keys},
)
