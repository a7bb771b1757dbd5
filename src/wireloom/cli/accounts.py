"""``wireloom user``, ``key`` and ``token``: users and their keys, without a server."""

from __future__ import annotations

import getpass
import json
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wireloom.cli.options import store_options
from wireloom.cli.output import print_rows

if TYPE_CHECKING:
    from wireloom.identity.identity import Identity

__all__ = ["key", "token", "user"]

T = TypeVar("T")

_json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table")
_stdin_option = click.option("--password-stdin", is_flag=True, help="read the password from the first line of stdin")


def _with_identity(
    database: str | None,
    config_file: str | None,
    work: Callable[[Identity], Awaitable[T]],
    further: Mapping[str, Any] | None = None,
) -> T:
    """Does some work with the users of the configuration; what is refused is a line for people.

    Args:
        database: from the command line.
        config_file: a ``wireloom.toml``.
        work: what to do.
        further: other options from the command line.

    Raises:
        ConfigError: the store cannot be opened.
    """
    import anyio

    from wireloom import notify
    from wireloom.config import load_config
    from wireloom.database.database import Database
    from wireloom.errors import RequestError
    from wireloom.graph.graph import Graph, erase
    from wireloom.identity.identity import Identity
    from wireloom.identity.refusal import FieldInvalid

    config = load_config({"database": database, **(further or {})}, file=config_file)
    kept = Database(config.database)
    identity = Identity(config, database=kept, erase=erase)
    if config.backplane != "memory":  # running servers are told at once, wherever they are
        notify.connect(config.backplane, config.backplane_prefix)
        identity.on_revoked = lambda user_id, token_id: notify.revoked(user_id=user_id, token_id=token_id)

    async def run() -> T:
        await kept.open()
        try:
            await Graph(kept).start()  # a user is removed with its nodes
            await identity.start()
            return await work(identity)
        finally:
            await identity.stop()
            await kept.close()

    try:
        return anyio.run(run)
    except FieldInvalid as invalid:
        raise click.ClickException(f"{invalid.field} {invalid.message}") from None
    except RequestError as refusal:
        raise click.ClickException(refusal.message) from None


@click.group()
def user() -> None:
    """Adds, lists and removes users."""


@user.command("add")
@click.argument("username")
@click.option("--email", metavar="ADDRESS", help="another name to log in with")
@click.option("--role", default="user", metavar="NAME", show_default=True, help="what the user is")
@_stdin_option
@store_options
def add_user(
    username: str, email: str | None, role: str, password_stdin: bool, database: str | None, config_file: str | None
) -> None:
    """Adds a user; asks for its password."""
    password = _ask_password(password_stdin)
    names = {"username": username, **({"email": email} if email is not None else {})}
    account = _with_identity(database, config_file, lambda identity: identity.add_user(names, password, role))
    click.echo(f"added {account.username}, user id {account.user_id}, root id {account.root_id}")


@user.command("list")
@_json_option
@store_options
def list_users(as_json: bool, database: str | None, config_file: str | None) -> None:
    """Lists all users, the oldest first."""
    rows = [
        {
            "username": account.username,
            "role": account.role,
            "user_id": account.user_id,
            "root_id": account.root_id,
            "created_at": _moment(account.created_at),
        }
        for account in _with_identity(database, config_file, lambda identity: identity.users())
    ]
    print_rows(rows, ("username", "role", "user_id", "root_id", "created_at"), as_json)


@user.command("password")
@click.argument("username")
@_stdin_option
@store_options
def set_password(username: str, password_stdin: bool, database: str | None, config_file: str | None) -> None:
    """Gives USERNAME another password; its tokens end."""
    password = _ask_password(password_stdin)

    async def change(identity: Identity) -> None:
        await identity.set_password(await identity.find_user(username), password)

    _with_identity(database, config_file, change)
    click.echo(f"changed the password of {username}; its tokens have ended")


@user.command("remove")
@click.argument("username")
@click.option("--yes", is_flag=True, help="do not ask")
@store_options
def remove_user(username: str, yes: bool, database: str | None, config_file: str | None) -> None:
    """Removes USERNAME with its tokens and keys."""
    if not yes:
        click.confirm(f"Remove {username} for good?", abort=True, err=True)

    async def remove(identity: Identity) -> None:
        await identity.remove_user(await identity.find_user(username))

    _with_identity(database, config_file, remove)
    click.echo(f"removed {username}")


@click.group()
def key() -> None:
    """Makes, lists and revokes API keys."""


@key.command("create")
@click.argument("username")
@click.argument("name")
@click.option("--expiry-days", type=int, metavar="DAYS", help="days until it ends  [default: never]")
@click.option("--walker", "walkers", multiple=True, metavar="NAME", help="a walker it reaches; repeatable  [all]")
@click.option("--legacy-signature", is_flag=True, help="webhooks sign with the key itself, without a timestamp")
@store_options
def create_key(
    username: str,
    name: str,
    expiry_days: int | None,
    walkers: tuple[str, ...],
    legacy_signature: bool,
    database: str | None,
    config_file: str | None,
) -> None:
    """Makes a key with which another service works for USERNAME.

    Prints it as JSON. Its secrets are shown now and never again.
    """

    async def create(identity: Identity) -> dict[str, Any]:
        owner = (await identity.find_user(username)).as_user()
        made = await identity.create_api_key(
            owner,
            name,
            expiry_days=expiry_days,
            allowed_walkers=walkers or None,
            legacy_signature=legacy_signature,
        )
        return {"api_key": made.api_key, "api_key_id": made.key.key_id, "signing_secret": made.key.signing_secret}

    click.echo(json.dumps(_with_identity(database, config_file, create), indent=2))


@key.command("list")
@click.argument("username", required=False)
@_json_option
@store_options
def list_keys(username: str | None, as_json: bool, database: str | None, config_file: str | None) -> None:
    """Lists the keys of USERNAME, or all, without their secrets."""

    async def find(identity: Identity) -> Sequence[Any]:
        owner = None if username is None else (await identity.find_user(username)).user_id
        return await identity.api_keys(owner)

    rows = [
        {
            "api_key_id": each.key_id,
            "name": each.name,
            "username": each.user.username,
            "walkers": None if each.allowed_walkers is None else list(each.allowed_walkers),
            "created_at": _moment(each.created_at),
            "expires_at": _moment(each.expires_at),
        }
        for each in _with_identity(database, config_file, find)
    ]
    print_rows(rows, ("api_key_id", "name", "username", "walkers", "created_at", "expires_at"), as_json)


@key.command("revoke")
@click.argument("api_key_id")
@store_options
def revoke_key(api_key_id: str, database: str | None, config_file: str | None) -> None:
    """Revokes the key with API_KEY_ID."""
    _with_identity(database, config_file, lambda identity: identity.revoke_api_key(api_key_id, None))
    click.echo(f"revoked {api_key_id}")


@click.command()
@click.argument("username")
@click.option("--lifetime", type=click.IntRange(min=1), metavar="SECONDS", help="[default: token_lifetime_seconds]")
@store_options
def token(username: str, lifetime: int | None, database: str | None, config_file: str | None) -> None:
    """Prints a token of USERNAME, and nothing else."""

    async def issue(identity: Identity) -> str:
        return (await identity.issue_token(await identity.find_user(username))).token

    further = {"token_lifetime_seconds": None if lifetime is None else float(lifetime)}
    click.echo(_with_identity(database, config_file, issue, further))


def _ask_password(from_stdin: bool) -> str:
    """A password that is not shown, and not taken from the command line, where other users of the machine see it."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would be read from a pipe, and shown
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except getpass.GetPassWarning:
            told = "There is no terminal to ask for the password; give it by --password-stdin."
            raise click.UsageError(told) from None


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
