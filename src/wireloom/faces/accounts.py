"""Accounts: users and their API keys over HTTP (page 3, Users and tokens).

Law: every answer is in the REST envelope and is cached nowhere; of who exists, and of what went wrong within, it tells
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from wireloom.config import Config
from wireloom.core.json_text import CLIENT_ERRORS, problem, refusal_of
from wireloom.core.rest import answer, read_body, refuse
from wireloom.errors import HTTP_STATUSES, RequestError, Unauthorized, ValidationFailed, new_error_id
from wireloom.identity.api_key import ApiKey
from wireloom.identity.identity import Identity, find_token
from wireloom.identity.login import Login
from wireloom.identity.refusal import FieldInvalid, RateLimited, TokenInvalid
from wireloom.identity.user import User

__all__ = ["account_routes"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Answering: TypeAlias = Callable[[HTTPRequest], Awaitable[Response]]

_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}  # RFC 9110 §11.6.1, §10.2.3
_KINDS = ("username", "email")


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    """One of a user's names."""

    type: str
    value: str


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    """What proves who somebody is."""

    type: str
    password: str


class _Access(msgspec.Struct, forbid_unknown_fields=True):
    """A name and a password in one of the three forms; `_names_of` and `_password_of` see that it is one."""

    username: str | None = None
    email: str | None = None
    password: str | None = None
    identities: list[_Name] | None = None
    identity: _Name | None = None
    credential: _Credential | None = None


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


def account_routes(identity: Identity, config: Config) -> list[Route]:
    """The routes of users and API keys.

    Args:
        identity: started before the first request.
        config: says whether ``?token=`` counts.
    """
    accounts = _Accounts(identity, config)
    table: dict[str, dict[str, Answering]] = {
        "/user/register": {"POST": accounts.register},
        "/user/login": {"POST": accounts.login},
        "/user/me": {"GET": accounts.me},
        "/user/refresh-token": {"POST": accounts.refresh},
        "/user/password": {"PUT": accounts.change_password},
        "/user/logout": {"POST": accounts.logout},
        "/user": {"DELETE": accounts.delete},
        "/api-key/create": {"POST": accounts.create_key},
        "/api-key/list": {"GET": accounts.list_keys},
        "/api-key/{key_id}": {"DELETE": accounts.revoke_key},
    }
    return [Route(path, _Answers(methods)) for path, methods in table.items()]


class _Answers:
    """One path: finds the method's answer; whatever is raised becomes one too.

    Args:
        methods: what answers, by method.
    """

    def __init__(self, methods: Mapping[str, Answering]) -> None:
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (ASGI)."""
        try:
            response = await self._answer(HTTPRequest(scope, receive))
        except ClientDisconnect:
            return
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def _answer(self, request: HTTPRequest) -> Response:
        respond = self._methods.get(request.method)
        if respond is None:
            allowed = ", ".join(self._methods)  # RFC 9110 §15.5.6: a 405 MUST name what is allowed
            refusal = RequestError("METHOD_NOT_ALLOWED", f"{request.method} is not allowed here; {allowed} is")
            return refuse(refusal, 405, {"Allow": allowed})
        try:
            return await respond(request)
        except TokenInvalid as invalid:
            error: RequestError = Unauthorized(invalid.reason)
        except FieldInvalid as invalid:
            error = ValidationFailed([problem(f"$.{invalid.field}", invalid.message)])
        except RequestError as refusal:
            error = refusal
        except ClientDisconnect:
            raise
        except Exception:
            error_id = new_error_id()
            error = RequestError("INTERNAL_ERROR", f"Internal error, id {error_id}")
            logger.exception("a bug, error id %s: %s %s", error_id, request.method, request.url.path)
        status = HTTP_STATUSES.get(error.code, 400)
        return refuse(error, status, _headers_of(error, status))


def _headers_of(error: RequestError, status: int) -> Mapping[str, str] | None:
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.retry_after_seconds)}  # RFC 6585 §4
    return _HEADERS.get(status)


class _Accounts:
    """What the endpoints do."""

    def __init__(self, identity: Identity, config: Config) -> None:
        self._identity = identity
        self._in_query = config.allow_token_in_query

    # -- users -------------------------------------------------------------------------------------------------------

    async def register(self, request: HTTPRequest) -> Response:
        """Adds a user."""
        access = await _read(request, _Access)
        names, paths = _names_of(access, many=True)
        with _told_at(paths):
            return answer(_login(await self._identity.register(names, _password_of(access))), 201)

    async def login(self, request: HTTPRequest) -> Response:
        """Logs a user in."""
        access = await _read(request, _Access)
        names, paths = _names_of(access, many=False)
        with _told_at(paths):
            name, password = next(iter(names.values())), _password_of(access)
            return answer(_login(await self._identity.login(name, password, _address_of(request))))

    async def me(self, request: HTTPRequest) -> Response:
        """Says who one is."""
        return answer(_user(await self._user(request)))

    async def refresh(self, request: HTTPRequest) -> Response:
        """Gives a new token for one that is good."""
        return answer(_login(await self._identity.refresh(await self._user(request))))

    async def change_password(self, request: HTTPRequest) -> Response:
        """Gives oneself another password."""
        user = await self._user(request)
        passwords = await _read(request, _NewPassword)
        login = await self._identity.change_password(
            user, passwords.old_password, passwords.new_password, _address_of(request)
        )
        return answer(_login(login))

    async def logout(self, request: HTTPRequest) -> Response:
        """Ends the token that is shown."""
        await self._identity.logout(await self._user(request))
        return answer({})

    async def delete(self, request: HTTPRequest) -> Response:
        """Removes oneself."""
        user = await self._user(request)
        await self._identity.delete(user, (await _read(request, _Password)).password, _address_of(request))
        return answer({})

    # -- API keys ----------------------------------------------------------------------------------------------------

    async def create_key(self, request: HTTPRequest) -> Response:
        """Makes a key; its secrets are shown here and never again."""
        user = await self._user(request)
        wanted = await _read(request, _NewKey)
        made = await self._identity.create_api_key(
            user,
            wanted.name,
            expiry_days=wanted.expiry_days,
            allowed_walkers=wanted.allowed_walkers,
            legacy_signature=wanted.legacy_signature,
        )
        shown_once = {"api_key": made.api_key, "signing_secret": made.key.signing_secret}
        return answer({**_key(made.key), **shown_once}, 201)

    async def list_keys(self, request: HTTPRequest) -> Response:
        """Lists one's own keys."""
        user = await self._user(request)
        return answer({"api_keys": [_key(key) for key in await self._identity.api_keys(user.user_id)]})

    async def revoke_key(self, request: HTTPRequest) -> Response:
        """Removes a key of one's own."""
        user = await self._user(request)
        await self._identity.revoke_api_key(request.path_params["key_id"], user.user_id)
        return answer({})

    async def _user(self, request: HTTPRequest) -> User:
        token = find_token(request.headers, request.query_params, [], in_query=self._in_query)
        if token is None:
            raise Unauthorized
        return await self._identity.authenticate(token)


# -- reading ---------------------------------------------------------------------------------------------------------


def _address_of(request: HTTPRequest) -> str | None:
    return request.client.host if request.client is not None else None


async def _read(request: HTTPRequest, kind: type[T]) -> T:
    """The body as a struct.

    Raises:
        RequestError: it is too large, not JSON, or not of that shape.
    """
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json")
    body = await read_body(request)
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


def _login(login: Login) -> dict[str, Any]:
    return {**_user(login.user), "token": login.token}


def _user(user: User) -> dict[str, Any]:
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
