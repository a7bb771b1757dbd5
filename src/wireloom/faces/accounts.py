"""Accounts: users and their API keys over HTTP (docs/reference/users.md).

Law: every answer is in the REST envelope and is cached nowhere; of who exists, and of what went wrong within, it tells
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from wireloom.config import Config, Limits
from wireloom.core.answers import Answering, Answers
from wireloom.core.json_text import CLIENT_ERRORS, problem, refusal_of
from wireloom.core.operation import Operation
from wireloom.core.rest import answer, read_body
from wireloom.errors import RequestError, Unauthorized, ValidationFailed
from wireloom.identity.api_key import ApiKey
from wireloom.identity.bearer import find_token
from wireloom.identity.identity import Identity
from wireloom.identity.login import Login
from wireloom.identity.refusal import FieldInvalid, TokenInvalid
from wireloom.identity.user import User

__all__ = ["account_operations", "account_routes"]

T = TypeVar("T")

_KINDS = ("username", "email")


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    """One of a user's names."""

    type: Annotated[str, msgspec.Meta(description="`username` or `email`")]
    value: str


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    """What proves who somebody is."""

    type: Annotated[str, msgspec.Meta(description="`password`")]
    password: str


class _Access(msgspec.Struct, forbid_unknown_fields=True):
    """A name and a password: `username` or `email` with `password`, or names with a `credential`.

    Registering takes `identities`, logging in one `identity`.
    """

    username: str | None = None
    email: str | None = None
    password: str | None = None
    identities: list[_Name] | None = None
    identity: _Name | None = None
    credential: _Credential | None = None


_EXAMPLE = msgspec.Meta(examples=[{"username": "bob", "password": "correct horse"}])
_AnyAccess: TypeAlias = Annotated[_Access, _EXAMPLE]


class _NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    old_password: str
    new_password: str


class _Password(msgspec.Struct, forbid_unknown_fields=True):
    password: str


class _NewKey(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    expiry_days: int | None = None
    allowed_walkers: list[str] | None = None
    legacy_signature: bool = False


class _User(msgspec.Struct):
    """A user, and when the token that was shown or given expires."""

    user_id: str
    root_id: str
    username: str
    role: str
    expires_at: str | None


class _Login(_User):
    """A user with a new token."""

    token: str


class _Key(msgspec.Struct):
    """An API key without its secrets."""

    api_key_id: str
    name: str
    created_at: str | None
    expires_at: str | None
    allowed_walkers: list[str] | None
    legacy_signature: bool


class _MadeKey(_Key):
    """An API key with its secrets, which are shown once."""

    api_key: str
    signing_secret: str


class _Keys(msgspec.Struct):
    api_keys: list[_Key]


class _Nothing(msgspec.Struct):
    """An empty object."""


def account_routes(identity: Identity, config: Config) -> list[Route]:
    """The routes of users and API keys.

    Args:
        identity: started before the first request.
        config: says whether ``?token=`` counts, and how large a body may be.
    """
    accounts = _Accounts(identity)
    paths: dict[str, dict[str, Answering]] = {}
    for endpoint in _ENDPOINTS:
        respond = endpoint.answering(accounts, config)
        paths.setdefault(endpoint.path, {})[endpoint.method] = respond
    return [Route(path, Answers(methods, _refusal_of)) for path, methods in paths.items()]


def account_operations() -> list[Operation]:
    """What the documents say of these routes."""
    return [endpoint.operation() for endpoint in _ENDPOINTS]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One method of one path. What it takes and gives is read from the signature of what responds.

    Args:
        respond: a method of `_Accounts`. A parameter ``user`` asks for a login, ``body`` for a body, ``address`` for
            the peer's; any other is one of the path.
        errors: statuses of its refusals besides those of all.
    """

    method: str
    path: str
    respond: Callable[..., Awaitable[Any]]
    tag: str
    status: int = 200
    errors: tuple[int, ...] = ()

    def answering(self, accounts: _Accounts, config: Config) -> Answering:
        """Answers a request."""
        takes = get_type_hints(self.respond, include_extras=True)

        async def answer_it(request: HTTPRequest) -> Response:
            values: dict[str, Any] = dict(request.path_params)
            if "user" in takes:
                values["user"] = await accounts.find_user(request, in_query=config.allow_token_in_query)
            if "address" in takes:
                values["address"] = _address_of(request)
            if "body" in takes:
                values["body"] = await _read(request, takes["body"], config.limits)
            return answer(await self.respond(accounts, **values), self.status)

        return answer_it

    def operation(self) -> Operation:
        """What the documents say of it."""
        takes = get_type_hints(self.respond, include_extras=True)
        guarded, body = "user" in takes, takes.get("body")
        errors = {500, 503, *self.errors, *((401,) if guarded else ()), *((400, 408, 413, 415, 422) if body else ())}
        return Operation(
            method=self.method,
            path=self.path,
            name=self.respond.__name__,
            summary=(self.respond.__doc__ or "").partition("\n")[0],
            tags=(self.tag,),
            auth="bearer" if guarded else None,
            body=msgspec.json.schema(body) if body else None,
            status=self.status,
            response=msgspec.json.schema(takes["return"]),
            errors=tuple(sorted(errors)),
        )


def _refusal_of(error: Exception) -> RequestError | None:
    """What a user is told of what `Identity` refuses."""
    if isinstance(error, TokenInvalid):
        return Unauthorized(error.reason)
    if isinstance(error, FieldInvalid):
        return ValidationFailed([problem(f"$.{error.field}", error.message)])
    return None


class _Accounts:
    """What the endpoints do."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def find_user(self, request: HTTPRequest, *, in_query: bool) -> User:
        """Who asks.

        Raises:
            Unauthorized: nobody who is logged in.
        """
        token = find_token(request.headers, request.query_params, [], in_query=in_query)
        if token is None:
            raise Unauthorized
        return await self._identity.authenticate(token)

    # -- users -------------------------------------------------------------------------------------------------------

    async def register(self, body: _AnyAccess, address: str | None) -> _Login:
        """Adds a user."""
        names, paths = _names_of(body, many=True)
        with _told_at(paths):
            return _login(await self._identity.register(names, _password_of(body), address or "unknown"))

    async def login(self, body: _AnyAccess, address: str | None) -> _Login:
        """Logs a user in."""
        names, paths = _names_of(body, many=False)
        with _told_at(paths):
            return _login(await self._identity.login(next(iter(names.values())), _password_of(body), address))

    async def me(self, user: User) -> _User:
        """Says who one is."""
        return _user(user)

    async def refresh(self, user: User) -> _Login:
        """Gives a new token for one that is good."""
        return _login(await self._identity.refresh(user))

    async def change_password(self, user: User, body: _NewPassword, address: str | None) -> _Login:
        """Gives oneself another password."""
        return _login(await self._identity.change_password(user, body.old_password, body.new_password, address))

    async def logout(self, user: User) -> _Nothing:
        """Ends the token that is shown."""
        await self._identity.logout(user)
        return _Nothing()

    async def delete_user(self, user: User, body: _Password, address: str | None) -> _Nothing:
        """Removes oneself."""
        await self._identity.delete(user, body.password, address)
        return _Nothing()

    # -- API keys ----------------------------------------------------------------------------------------------------

    async def create_key(self, user: User, body: _NewKey) -> _MadeKey:
        """Makes a key; its secrets are shown here and never again."""
        made = await self._identity.create_api_key(
            user,
            body.name,
            expiry_days=body.expiry_days,
            allowed_walkers=body.allowed_walkers,
            legacy_signature=body.legacy_signature,
        )
        return _MadeKey(**_key(made.key), api_key=made.api_key, signing_secret=made.key.signing_secret)

    async def list_keys(self, user: User) -> _Keys:
        """Lists one's own keys."""
        return _Keys([_Key(**_key(key)) for key in await self._identity.api_keys(user.user_id)])

    async def revoke_key(self, user: User, api_key_id: str) -> _Nothing:
        """Removes a key of one's own."""
        await self._identity.revoke_api_key(api_key_id, user.user_id)
        return _Nothing()


_ENDPOINTS = (
    _Endpoint("POST", "/user/register", _Accounts.register, "users", 201, errors=(403, 429)),
    _Endpoint("POST", "/user/login", _Accounts.login, "users", errors=(401, 429)),
    _Endpoint("GET", "/user/me", _Accounts.me, "users"),
    _Endpoint("POST", "/user/refresh-token", _Accounts.refresh, "users"),
    _Endpoint("PUT", "/user/password", _Accounts.change_password, "users", errors=(429,)),
    _Endpoint("POST", "/user/logout", _Accounts.logout, "users"),
    _Endpoint("DELETE", "/user", _Accounts.delete_user, "users", errors=(429,)),
    _Endpoint("POST", "/api-key/create", _Accounts.create_key, "API keys", 201),
    _Endpoint("GET", "/api-key/list", _Accounts.list_keys, "API keys"),
    _Endpoint("DELETE", "/api-key/{api_key_id}", _Accounts.revoke_key, "API keys", errors=(404,)),
)


# -- reading ---------------------------------------------------------------------------------------------------------


def _address_of(request: HTTPRequest) -> str | None:
    return request.client.host if request.client is not None else None


async def _read(request: HTTPRequest, kind: type[T], limits: Limits) -> T:
    """The body as a struct.

    Raises:
        RequestError: it is too large, not JSON, or not of that shape.
    """
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json")
    body = await read_body(request, limits)
    try:
        return msgspec.json.decode(body, type=kind)
    except CLIENT_ERRORS as error:
        raise refusal_of(error, body) from None


def _names_of(access: _Access, *, many: bool) -> tuple[dict[str, str], dict[str, str]]:
    """The names by type, and the path of each.

    Raises:
        ValidationFailed: there is none, or more than the one form or name that is asked for.
    """
    found: list[tuple[str, str, str]] = []  # type, value, path
    for kind in _KINDS:
        value = getattr(access, kind)
        if value is not None:
            found.append((kind, value, f"$.{kind}"))
    listed = access.identities if many else None if access.identity is None else [access.identity]
    for index, name in enumerate(listed or ()):
        path = f"$.identities[{index}]" if many else "$.identity"
        if name.type not in _KINDS:
            raise _invalid(f"{path}.type", "must be 'username' or 'email'")
        found.append((name.type, name.value, f"{path}.value"))
    _require_form(access, found, many)
    return {kind: value for kind, value, _ in found}, {kind: path for kind, _, path in found}


def _require_form(access: _Access, found: list[tuple[str, str, str]], many: bool) -> None:
    """Refuses what is none of the three forms, or a mixture of them."""
    misplaced = ("identity", access.identity) if many else ("identities", access.identities)
    structured = "identities" if many else "identity"
    if misplaced[1] is not None:
        raise _invalid(f"$.{misplaced[0]}", f"belongs to {'login' if many else 'registering'}; here it is {structured}")
    if getattr(access, structured) is not None:
        if access.username is not None or access.email is not None or access.password is not None:
            raise _invalid(f"$.{structured}", "needs a credential beside it, and nothing else")
    elif access.credential is not None:
        raise _invalid("$.credential", f"needs {structured} beside it")
    if not found:
        raise _invalid("$", "must name a username or an e-mail address")
    kinds = [kind for kind, _, _ in found]
    if len(kinds) != len(set(kinds)) or (len(kinds) > 1 and access.identities is None):
        raise _invalid(found[-1][2], "must be the only one")


def _password_of(access: _Access) -> str:
    if access.credential is not None:
        if access.credential.type != "password":
            raise _invalid("$.credential.type", "must be 'password'")
        return access.credential.password
    if access.password is None:
        structured = access.identities is not None or access.identity is not None
        raise _invalid("$.credential" if structured else "$.password", "is missing")
    return access.password


@contextmanager
def _told_at(paths: Mapping[str, str]) -> Iterator[None]:
    """Tells of a field that is not valid by its path in the payload.

    Args:
        paths: of the names, by their type.
    """
    try:
        yield
    except FieldInvalid as invalid:
        structured = any("identit" in path for path in paths.values())
        password = "$.credential.password" if structured else "$.password"
        path = password if invalid.field == "password" else paths.get(invalid.field, "$")
        raise _invalid(path, invalid.message) from None


def _invalid(path: str, message: str) -> ValidationFailed:
    return ValidationFailed([problem(path, message)])


# -- answering -------------------------------------------------------------------------------------------------------


def _login(login: Login) -> _Login:
    return _Login(**_members(login.user), token=login.token)


def _user(user: User) -> _User:
    return _User(**_members(user))


def _members(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "root_id": user.root_id,
        "username": user.username,
        "role": user.role,
        "expires_at": _moment(user.expires_at),
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "api_key_id": key.key_id,
        "name": key.name,
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "allowed_walkers": key.allowed_walkers,
        "legacy_signature": key.legacy_signature,
    }


def _moment(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 has it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
