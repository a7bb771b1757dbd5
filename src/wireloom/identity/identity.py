"""Identity: everything about users behind one object. Law: what it is told in confidence it never logs."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.identity.account import Account
from wireloom.identity.api_key import ApiKey, NewApiKey
from wireloom.identity.attempts import Attempts, Registrations
from wireloom.identity.bearer import bare_token
from wireloom.identity.login import Login
from wireloom.identity.names import require_name, require_password
from wireloom.identity.refusal import CredentialsInvalid, FieldInvalid, Forbidden, NotFound, TokenEnded
from wireloom.identity.user import User

if TYPE_CHECKING:
    from wireloom.database.database import Database
    from wireloom.identity.issuer import Issuer
    from wireloom.identity.keys import Keys
    from wireloom.identity.passwords import Passwords
    from wireloom.identity.signatures import Signatures, WebhookCheck
    from wireloom.identity.signing import Signing
    from wireloom.identity.users import Erase, Users

__all__ = ["GRACE_SECONDS", "Identity"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0  # a token that was refreshed is good for this long, so that its other connections can change
_PRUNE_SECONDS = 3600.0
_MAX_LIFETIME_SECONDS = 100 * 365 * 24 * 3600.0


class Identity:
    """Users, their passwords and tokens, and API keys.

    Args:
        config: the options of the database and of tokens.
        clock: unix seconds.
        database: opened, and closed by whoever opened it; None: one of its own, by the configuration.
        erase: removes what others keep of a user in the same database: called with the connection of the transaction
            that removes the user, and the id of its root. If it raises, nothing is removed.

    Attributes:
        on_revoked: called with a user's id and a token's id when tokens end before their time; either may be empty:
            all tokens of that user, or that token. Called in the event loop's thread.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float] = time.time,
        database: Database | None = None,
        erase: Erase | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._shared = database
        self._erase = erase
        self._own: Database | None = None
        self._users: Users
        self._keys: Keys
        self._signatures: Signatures
        self._passwords: Passwords
        self._signing: Signing
        self._issuer: Issuer | None = None
        self._attempts = Attempts(config.login_attempts_per_minute, clock)
        self._registrations = Registrations(config.registrations_per_minute, clock)
        self._prune_at = float("-inf")
        self._graces: dict[str, asyncio.TimerHandle] = {}  # by the id of the token that is about to end
        self.on_revoked: Callable[[str, str], None] = _tell_nobody

    async def start(self) -> None:
        """Opens the store, and makes what lacks: its directory, tables and the secret that signs tokens.

        Raises:
            ConfigError: what people have to change.
        """
        # Imported here: an application without users does not pay for them
        from wireloom.database.database import Database
        from wireloom.identity.issuer import Issuer
        from wireloom.identity.keys import Keys
        from wireloom.identity.passwords import Passwords
        from wireloom.identity.secret import keep_secret
        from wireloom.identity.signatures import Signatures
        from wireloom.identity.signing import Signing
        from wireloom.identity.tables import IDENTITY
        from wireloom.identity.users import Users

        _require_sense(self._config)
        if self._shared is None:
            self._own = Database(self._config.database)
        self._issuer = Issuer(self._config) if self._config.token_jwks_url is not None else None
        database = self._shared or self._own
        assert database is not None
        try:
            if self._own is not None:
                await self._own.open()
            await database.prepare(IDENTITY)
            key_secret = await keep_secret(database, "key_secret")
            self._users, self._passwords = Users(database, self._erase), Passwords()
            self._keys = Keys(database, key_secret)
            self._signatures = Signatures(database, self._keys)
            if self._issuer is None:
                self._signing = Signing(self._config, await keep_secret(database, "token_secret"))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes what it opened. Tokens whose grace runs end now; `on_revoked` is called for them."""
        own, self._own = self._own, None
        try:
            for token_id in list(self._graces):
                self._end_grace(token_id)
        finally:
            if own is not None:
                await own.close()

    # -- tokens ------------------------------------------------------------------------------------------------------

    @property
    def is_external(self) -> bool:
        """Whether users log in elsewhere, with an issuer whose tokens are the only ones."""
        return self._config.token_jwks_url is not None

    async def authenticate(self, token: str) -> User:
        """The user whom a token presents.

        Args:
            token: ``"x"`` or ``"Bearer x"``, in any case.

        Raises:
            TokenInvalid: with the reason that its bearer may read.
        """
        now = self._clock()
        if self._issuer is not None:
            return await self._authenticate_external(self._issuer, bare_token(token), now)
        claims = self._signing.read(bare_token(token), now)
        account = await self._users.by_token(claims.subject, claims.token_id, now)
        if account is None:
            raise TokenEnded("Token revoked")
        return replace(account.as_user(claims.token_id, claims.expires_at), claims=claims.rest)

    async def _authenticate_external(self, issuer: Issuer, token: str, now: float) -> User:
        claims = await issuer.read(token, now)
        named = (claims.text(name) for name in ("preferred_username", "username", "email"))
        username = next((name for name in named if name), claims.subject)
        account = await self._users.see(issuer.subject_of(claims), username, now)
        role = claims.text("role") or account.role
        user = account.as_user(claims.token_id, claims.expires_at)
        return replace(user, username=username, role=role, claims=claims.rest)

    async def register(self, names: Mapping[str, str], password: str, address: str | None = None) -> Login:
        """Adds a user and logs it in.

        Args:
            names: by type, ``"username"`` and ``"email"``, at least one of them.
            password: 8 characters or more.
            address: where it is asked from; registrations are counted by it. None: they are not.

        Raises:
            Forbidden: registration is turned off.
            FieldInvalid: a value that nobody may have.
            IdentityTaken: another user has one of the names.
            Overloaded: too many passwords wait to be hashed.
            RateLimited: too many were registered from there.
        """
        self._require_local()
        if not self._config.registration:
            raise Forbidden("Registration is turned off")
        if address is not None:
            self._registrations.count(address)
        return await self._log_in(await self.add_user(names, password))

    async def login(self, name: str, password: str, address: str | None = None) -> Login:
        """Logs a user in.

        Args:
            name: username or e-mail address, in any case.
            password: the user's.
            address: where the password comes from; failures are counted by it (`Attempts`).

        Raises:
            CredentialsInvalid: no such user, or not its password: the same answer after the same work.
            FieldInvalid: a password that nobody may have.
            Overloaded: too many passwords wait to be hashed.
            RateLimited: too many passwords were wrong.
        """
        self._require_local()
        password = require_password(password, new=False)
        with self._attempts.counting(name, address):
            account = await self._require_fit(await self._users.by_name(name), password)
        rehashed = None
        if account.password_hash is not None and self._passwords.is_outdated(account.password_hash):
            rehashed = await self._passwords.hash(password)
        return await self._log_in(account, rehashed)

    async def standing(self, token_ids: Sequence[str]) -> set[str]:
        """Those of some tokens, by their ids, that have not been revoked; an external issuer's all stand."""
        return set(token_ids) if self.is_external else await self._users.standing(token_ids)

    async def refresh(self, user: User) -> Login:
        """A new token; the one it replaces is good for `GRACE_SECONDS` more.

        Args:
            user: as the old token presented it.

        Raises:
            TokenInvalid: the old token has been revoked.
        """
        self._require_local()
        account = await self._users.by_id(user.user_id)
        now = self._clock()
        login = self._sign(account, now) if account is not None else None
        if login is None or not await self._users.replace_token(
            user.user_id, user.token_id, now + GRACE_SECONDS, login.user.token_id, _end(login), now
        ):
            raise TokenEnded("Token revoked")
        self._begin_grace(user.token_id)
        return login

    async def logout(self, user: User) -> None:
        """Ends the token that presented the user, wherever it is in use, and one that it has just replaced."""
        self._require_local()
        ending_by = self._clock() + GRACE_SECONDS
        ended = await self._users.remove_tokens(user.user_id, user.token_id, ending_by)
        for token_id in {user.token_id, *ended}:
            self.on_revoked("", token_id)

    async def change_password(self, user: User, old: str, new: str, address: str | None = None) -> Login:
        """Gives a user another password; all its tokens end and there is a new one. API keys stay.

        Args:
            user: whose.
            old: the password that is to be replaced.
            new: 8 characters or more.
            address: where the old one comes from.

        Raises:
            CredentialsInvalid: the old one is not the user's.
            FieldInvalid: a new one that nobody may have.
            Overloaded: too many passwords wait to be hashed.
            RateLimited: too many passwords were wrong.
        """
        self._require_local()
        new = require_password(new, "new_password")
        account = await self._verified(user, old, "old_password", address)
        password_hash = await self._passwords.hash(new)
        login = self._sign(account, self._clock())
        await self._users.change_password(account, password_hash, (login.user.token_id, _end(login)))
        self.on_revoked(user.user_id, "")
        return login

    async def delete(self, user: User, password: str, address: str | None = None) -> None:
        """Removes a user with its tokens and API keys.

        Args:
            user: whom.
            password: the user's.
            address: where the password comes from.

        Raises:
            CredentialsInvalid: not the user's password.
            RateLimited: too many passwords were wrong.
        """
        self._require_local()
        account = await self._verified(user, password, "password", address)
        if not await self._users.remove(account.user_id, account.password_hash):
            raise CredentialsInvalid
        self.on_revoked(user.user_id, "")

    # -- administration ----------------------------------------------------------------------------------------------

    async def add_user(self, names: Mapping[str, str], password: str, role: str = "user") -> Account:
        """Adds a user, whether or not people may register.

        Raises:
            FieldInvalid: a value that nobody may have.
            IdentityTaken: another user has one of the names.
        """
        if not names:
            raise FieldInvalid("identities", "must name a username or an e-mail address")
        checked = {kind: require_name(kind, name) for kind, name in names.items()}
        password_hash = await self._passwords.hash(require_password(password))
        return await self._users.add(checked, password_hash, _require_role(role), self._clock())

    async def find_user(self, name: str) -> Account:
        """The user of a username or e-mail address.

        Raises:
            NotFound: there is none.
        """
        account = await self._users.by_name(name)
        if account is None:
            raise NotFound(f"There is no user {name!r}")
        return account

    async def find_root(self, name: str) -> User | None:
        """The user of a username or e-mail address without a token, or None: for those who share with it by name."""
        account = await self._users.by_name(name)
        return account.as_user() if account is not None else None

    async def users(self) -> Sequence[Account]:
        """All users, the oldest first."""
        return await self._users.all()

    async def set_password(self, account: Account, password: str) -> None:
        """Gives a user another password, without the old one; all its tokens end."""
        password_hash = await self._passwords.hash(require_password(password))
        await self._users.change_password(account, password_hash, None, verified=False)
        self.on_revoked(account.user_id, "")

    async def remove_user(self, account: Account) -> None:
        """Removes a user with its tokens and API keys."""
        await self._users.remove(account.user_id)
        self.on_revoked(account.user_id, "")

    async def issue_token(self, account: Account) -> Login:
        """A token for a user, without a password.

        Raises:
            Forbidden: the tokens are an external issuer's.
        """
        self._require_local()
        return await self._log_in(account)

    # -- API keys ----------------------------------------------------------------------------------------------------

    async def create_api_key(
        self,
        user: User,
        name: str,
        *,
        expiry_days: int | None = None,
        allowed_walkers: Sequence[str] | None = None,
        legacy_signature: bool = False,
    ) -> NewApiKey:
        """Makes a key with which another service works on behalf of a user.

        Args:
            user: on whose behalf.
            name: for people, 1 to 100 characters.
            expiry_days: days until it ends; None: never.
            allowed_walkers: the walkers that it reaches; None: all.
            legacy_signature: webhooks sign with the key itself, without a timestamp.

        Raises:
            FieldInvalid: a value that cannot be.
        """
        return await self._keys.create(
            user,
            name,
            self._clock(),
            expiry_days=expiry_days,
            allowed_walkers=allowed_walkers,
            legacy_signature=legacy_signature,
        )

    async def api_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        """The keys of a user, or everybody's with None, without their secrets."""
        return await self._keys.all(user_id)

    async def revoke_api_key(self, key_id: str, user_id: str | None) -> None:
        """Removes a key, of this user unless it is None.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        await self._keys.revoke(key_id, user_id)

    async def check_api_key(self, key: str) -> ApiKey:
        """The API key of this text, with its signing secret.

        Raises:
            KeyInvalid: there is none, or its time is over.
        """
        return await self._keys.check(key, self._clock())

    async def begin_webhook(self, headers: Mapping[str, str], walker: str) -> WebhookCheck:
        """Checks all of a webhook that needs no body; ``await check.verify(body)`` does the rest and gives the key.

        Args:
            headers: of the request, by names in lower case or in any.
            walker: that it is to reach.

        Raises:
            KeyInvalid: with the reason that the sender may read.
        """
        return await self._signatures.begin(headers, walker, self._clock())

    # -- within ------------------------------------------------------------------------------------------------------

    def _require_local(self) -> None:
        if self.is_external:
            raise Forbidden("Users log in with the issuer of their tokens, not here")

    async def _verified(self, user: User, password: str, field: str, address: str | None) -> Account:
        """The user's account, after its password was verified."""
        password = require_password(password, field, new=False)
        with self._attempts.counting(user.user_id, address):
            return await self._require_fit(await self._users.by_id(user.user_id), password)

    async def _require_fit(self, account: Account | None, password: str) -> Account:
        """The account, if there is one and the password is its own; else the same work is done for nothing."""
        if not await self._passwords.verify(account.password_hash if account else None, password) or account is None:
            raise CredentialsInvalid
        return account

    async def _log_in(self, account: Account, rehashed: str | None = None) -> Login:
        now = self._clock()
        login = self._sign(account, now)
        await self._users.add_token(account, login.user.token_id, _end(login), rehashed=rehashed)
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_SECONDS
            await self._users.prune(now)
        return login

    def _sign(self, account: Account, now: float) -> Login:
        """A token for an account; it is good once its row stands."""
        user = account.as_user(secrets.token_hex(16), float(int(now + self._config.token_lifetime_seconds)))
        claims = {"sub": user.user_id, "username": user.username, "role": user.role, "jti": user.token_id}
        times = {"iat": int(now), "exp": int(_end_of(user))}
        return Login(user, self._signing.sign({**claims, **times}))

    def _begin_grace(self, token_id: str) -> None:
        timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_grace, token_id)
        if token_id in self._graces:  # refreshed twice: its end is the first one's
            timer.cancel()
        else:
            self._graces[token_id] = timer

    def _end_grace(self, token_id: str) -> None:
        self._graces.pop(token_id).cancel()
        self.on_revoked("", token_id)


def _tell_nobody(user_id: str, token_id: str) -> None:
    """What `on_revoked` does until the application puts something better there."""


def _end(login: Login) -> float:
    return _end_of(login.user)


def _end_of(user: User) -> float:
    assert user.expires_at is not None
    return user.expires_at


def _require_role(role: str) -> str:
    if not role.isprintable() or not 1 <= len(role.strip()) <= 50:
        raise FieldInvalid("role", "must have 1 to 50 printable characters")
    return role.strip()


def _require_sense(config: Config) -> None:
    if not 1 <= config.token_lifetime_seconds <= _MAX_LIFETIME_SECONDS:
        raise ConfigError("token_lifetime_seconds must be 1 second to 100 years")
