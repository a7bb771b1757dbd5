"""Users: the rows of users, their names and tokens. Law: what a password allowed needs it to be the same still.

Every change locks the user's row first (SQLite: the database), so of a login and a change of password at the same time
the later one sees what the earlier one did.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.database.database import Database, unbroken
from wireloom.identity.account import Account
from wireloom.identity.names import fold
from wireloom.identity.refusal import CredentialsInvalid, IdentityTaken
from wireloom.identity.tables import identities, tokens, users

__all__ = ["Erase", "Users"]

Erase: TypeAlias = Callable[[AsyncConnection, str], Awaitable[None]]

_ACCOUNT = (
    users.c.user_id,
    users.c.root_id,
    users.c.username,
    users.c.role,
    users.c.created_at,
    users.c.password_hash,
)


class Users:
    """Reads and writes users.

    Args:
        database: opened by its owner.
        erase: removes what other rooms keep of a user, by its root's id, in the transaction that removes the user.
    """

    def __init__(self, database: Database, erase: Erase | None = None) -> None:
        self._database = database
        self._erase = erase

    # -- finding -----------------------------------------------------------------------------------------------------

    @unbroken
    async def by_name(self, name: str) -> Account | None:
        """The user of a username or e-mail address."""
        owner = select(identities.c.user_id).where(identities.c.value == fold(name))
        return await self._one(users.c.user_id == owner.scalar_subquery())

    @unbroken
    async def by_id(self, user_id: str) -> Account | None:
        """The user of an id."""
        return await self._one(users.c.user_id == user_id)

    @unbroken
    async def by_token(self, user_id: str, token_id: str, now: float) -> Account | None:
        """The user of a token that stands."""
        query = _accounts().join(tokens, tokens.c.user_id == users.c.user_id)
        standing = (tokens.c.token_id == token_id) & (tokens.c.user_id == user_id) & (tokens.c.expires_at > now)
        async with self._database.reading() as connection:
            return _account((await connection.execute(query.where(standing))).one_or_none())

    @unbroken
    async def standing(self, token_ids: Sequence[str]) -> set[str]:
        """Those of some tokens that stand."""
        query = select(tokens.c.token_id).where(tokens.c.token_id.in_(token_ids))
        async with self._database.reading() as connection:
            return set((await connection.execute(query)).scalars())

    @unbroken
    async def all(self) -> Sequence[Account]:
        """All users, the oldest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_accounts().order_by(users.c.created_at, users.c.user_id))
            return [Account(*row) for row in rows]

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        async with self._database.reading() as connection:
            return _account((await connection.execute(_accounts().where(condition))).one_or_none())

    # -- users -------------------------------------------------------------------------------------------------------

    @unbroken
    async def add(self, names: Mapping[str, str], password_hash: str, role: str, now: float) -> Account:
        """Adds a user.

        Args:
            names: by type, at least one.
            password_hash: of the password.
            role: a word of the application's.
            now: in unix seconds.

        Raises:
            IdentityTaken: another has one of the names.
        """
        username = names.get("username") or next(iter(names.values()))
        account = Account(secrets.token_hex(12), _new_root_id(), username, role, now, password_hash)
        rows = {fold(name): kind for kind, name in names.items()}
        try:
            async with self._database.writing() as connection:
                await connection.execute(insert(users).values(**_values(account)))
                for value, kind in rows.items():
                    await connection.execute(insert(identities).values(value=value, type=kind, user_id=account.user_id))
        except IntegrityError:
            raise IdentityTaken from None
        return account

    @unbroken
    async def see(self, subject: str, username: str, now: float) -> Account:
        """The user of an external issuer's subject; a row is made at first sight.

        Args:
            subject: issuer and name there.
            username: for people.
            now: in unix seconds.
        """
        known = await self._one(users.c.subject == subject)
        if known is not None:
            return known
        account = Account(secrets.token_hex(12), _new_root_id(), username, "user", now)
        try:
            async with self._database.writing() as connection:
                await connection.execute(insert(users).values(**_values(account), subject=subject))
        except IntegrityError:  # seen elsewhere in the same moment
            known = await self._one(users.c.subject == subject)
            if known is None:
                raise
            return known
        return account

    @unbroken
    async def remove(self, user_id: str, verified: str | None = None) -> bool:
        """Removes a user with all that is its own, in this room and in others; or nothing at all.

        Args:
            user_id: whom.
            verified: the hash that a password was verified against, to be removed only while it is the user's.
        """
        condition = users.c.user_id == user_id
        if verified is not None:
            condition &= users.c.password_hash == verified
        async with self._database.writing() as connection:
            root_id = await connection.scalar(select(users.c.root_id).where(condition).with_for_update())
            if root_id is None:
                return False
            await connection.execute(delete(users).where(users.c.user_id == user_id))
            if self._erase is not None:
                await self._erase(connection, root_id)
            return True

    # -- passwords and tokens ----------------------------------------------------------------------------------------

    @unbroken
    async def add_token(
        self, account: Account, token_id: str, expires_at: float, *, rehashed: str | None = None
    ) -> None:
        """Lets a token stand, for a user whose password was verified.

        Args:
            account: with the hash that was verified.
            token_id: of the new token.
            expires_at: in unix seconds.
            rehashed: a hash of the same password by today's parameters.

        Raises:
            CredentialsInvalid: the password or the user is gone since.
        """
        async with self._database.writing() as connection:
            if await _lock(connection, account.user_id) != (account.password_hash,):
                raise CredentialsInvalid
            if rehashed is not None:
                await _set_password(connection, account.user_id, rehashed)
            await _add_token(connection, account.user_id, token_id, expires_at)

    @unbroken
    async def replace_token(
        self, user_id: str, old: str, old_until: float, token_id: str, expires_at: float, now: float
    ) -> bool:
        """Lets a token stand in place of another, which stands until ``old_until`` at the latest.

        Gives False, and does nothing, when the other does not stand.
        """
        standing = (tokens.c.token_id == old) & (tokens.c.user_id == user_id) & (tokens.c.expires_at > now)
        async with self._database.writing() as connection:
            await _lock(connection, user_id)
            ends_at = await connection.scalar(select(tokens.c.expires_at).where(standing))
            if ends_at is None:
                return False
            shortened = update(tokens).where(tokens.c.token_id == old).values(expires_at=min(ends_at, old_until))
            await connection.execute(shortened)
            await _add_token(connection, user_id, token_id, expires_at)
            return True

    @unbroken
    async def change_password(
        self, account: Account, password_hash: str, token: tuple[str, float] | None, *, verified: bool = True
    ) -> None:
        """Gives a user another password; every token falls.

        Args:
            account: the user, with the hash that was verified.
            password_hash: of the new password.
            token: id and end in unix seconds of a new token, or None.
            verified: whether the old password has to be still the one of `account`.

        Raises:
            CredentialsInvalid: the password or the user is gone since.
        """
        async with self._database.writing() as connection:
            current = await _lock(connection, account.user_id)
            if current is None or (verified and current != (account.password_hash,)):
                raise CredentialsInvalid
            await _set_password(connection, account.user_id, password_hash)
            await connection.execute(delete(tokens).where(tokens.c.user_id == account.user_id))
            if token is not None:
                await _add_token(connection, account.user_id, *token)

    @unbroken
    async def remove_tokens(self, user_id: str, token_id: str, ending_by: float) -> list[str]:
        """Lets a token fall, and those of the same user that are about to: it may have replaced them. Gives the ids."""
        ended = (tokens.c.token_id == token_id) | (tokens.c.expires_at <= ending_by)
        condition = (tokens.c.user_id == user_id) & ended
        async with self._database.writing() as connection:
            found = list((await connection.execute(select(tokens.c.token_id).where(condition))).scalars())
            await connection.execute(delete(tokens).where(condition))
        return found

    @unbroken
    async def prune(self, now: float) -> int:
        """Removes the tokens whose time is over; gives how many."""
        async with self._database.writing() as connection:
            return (await connection.execute(delete(tokens).where(tokens.c.expires_at <= now))).rowcount


def _accounts() -> Select[Any]:
    return select(*_ACCOUNT)


def _account(row: Any) -> Account | None:
    return None if row is None else Account(*row)


def _values(account: Account) -> dict[str, Any]:
    return {column.name: getattr(account, column.name) for column in _ACCOUNT}


async def _lock(connection: AsyncConnection, user_id: str) -> tuple[str | None] | None:
    """Locks a user's row until the transaction ends; gives the password's hash in a tuple, None without such a row."""
    query = select(users.c.password_hash).where(users.c.user_id == user_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row[0],)


async def _set_password(connection: AsyncConnection, user_id: str, password_hash: str) -> None:
    await connection.execute(update(users).where(users.c.user_id == user_id).values(password_hash=password_hash))


async def _add_token(connection: AsyncConnection, user_id: str, token_id: str, expires_at: float) -> None:
    await connection.execute(insert(tokens).values(token_id=token_id, user_id=user_id, expires_at=expires_at))


def _new_root_id() -> str:
    """A root's id that nobody has: random, and not the one of those who have not logged in."""
    while (root_id := f"n::{secrets.token_hex(12)}") == PUBLIC_ROOT_ID:
        pass
    return root_id
