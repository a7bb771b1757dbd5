"""Every option of Wireloom, declared once: name, type, unit, default, group and help.

Law: the command-line flag, the ``WIRELOOM_…`` variable, the ``wireloom.toml`` key and the reference page are all made
from these declarations. Precedence: flag, environment, file, default.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_type_hints

__all__ = ["LOCAL_HOSTS", "Config", "Limits", "Option", "Texts", "grouped_options", "guard_hosts", "options"]

T = TypeVar("T")
Texts: TypeAlias = Literal["any", "addresses", "hosts"]
Group: TypeAlias = Literal[
    "Server",
    "Development",
    "Logs and metrics",
    "Security",
    "Users and tokens",
    "Limits",
    "Compression",
    "Shutdown",
    "Backplane",
    "Storage",
    "Declarative routes",
]

LOCAL_HOSTS = ("localhost", "*.localhost", "0.0.0.0/0", "::/0")  # what no DNS server of a stranger can speak of


def _option(
    default: T,
    group: Group,
    help: str,
    unit: str = "",
    *,
    secret: bool = False,
    within: tuple[int, int | None] | None = None,
    texts: Texts = "any",
) -> T:
    """Declares one option of a dataclass. The return type is that of the value, as dataclass fields want it.

    Args:
        group: of what it is, for people who look for it.
        secret: its value is not shown where the configuration is printed, or is wrong.
        within: the least and the greatest number that it may be; None: there is no greatest.
        texts: what its texts are: IP addresses, networks or ``*``; or these and names of hosts.
    """
    told = {"group": group, "help": help, "unit": unit, "within": within, "texts": texts}
    return field(default=default, repr=not secret, metadata=told)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost. Every endpoint has its own; these are the defaults."""

    max_message_bytes: int = _option(
        1024 * 1024, "Limits", "size of one message; above it the connection ends: 1009", "bytes"
    )
    max_fragments: int = _option(
        100_000, "Limits", "fragments of one message; above it the connection ends: 1009", "fragments", within=(1, None)
    )
    max_body_bytes: int = _option(
        1024 * 1024,
        "Limits",
        "size of the body of one HTTP request, of a webhook too; above it the answer is 413",
        "bytes",
    )
    body_timeout_seconds: float = _option(
        30.0,
        "Limits",
        "time for the body of an HTTP request to come; after it the answer is 408; 0 for no limit",
        "seconds",
    )
    messages_per_second: float = _option(
        0.0,
        "Limits",
        "messages of one connection; more are refused, and if that goes on it ends: 1008; 0: no limit",
        "messages",
    )
    message_burst: int = _option(
        0, "Limits", "messages that may come at once; 0 for as many as may come in one second", "messages"
    )
    inbound_queue: int = _option(
        64, "Limits", "messages waiting for a handler before reading pauses", "messages", within=(1, None)
    )
    outbox_bytes: int = _option(
        1024 * 1024, "Limits", "bytes waiting for a slow reader before its policy applies", "bytes"
    )
    outbox_policy: Literal["close", "drop_oldest", "conflate"] = _option(
        "close",
        "Limits",
        "what happens to a reader that is too slow: close it with 1013, drop its oldest messages,"
        " or keep only the newest publication of every key",
    )
    max_channels: int = _option(128, "Limits", "channels that one connection may hear", "channels")
    ping_interval_seconds: float = _option(
        25.0, "Limits", "silence after which a ping is sent; 0 turns pings off", "seconds"
    )
    ping_timeout_seconds: float = _option(8.0, "Limits", "time to answer a ping before the connection ends", "seconds")
    close_timeout_seconds: float = _option(10.0, "Limits", "time for the peer to answer a close frame", "seconds")

    def sized(self, size: int | None) -> Limits:
        """The same for an endpoint that has a size of its own for one message or body, in bytes; None: it has none."""
        return self if size is None else replace(self, max_message_bytes=size, max_body_bytes=size)


@dataclass(frozen=True, slots=True)
class Config:
    """All options of an application and its server."""

    host: str = _option("127.0.0.1", "Server", "address to listen on")
    port: int = _option(8000, "Server", "port to listen on; 0 picks a free one", within=(0, 65535))
    workers: int = _option(1, "Server", "processes that share the port", "processes", within=(1, 1024))
    dev: bool = _option(
        False,
        "Development",
        "development mode: tells clients which fields are wrong, shows the traceback of a failed start, warns where"
        " code blocks the event loop",
    )
    reload: bool = _option(
        False, "Development", "swap declarations when their files change, while connections stay open; for development"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _option(
        "info", "Logs and metrics", "least severe level that is logged"
    )
    log_format: Literal["text", "json"] = _option(
        "text", "Logs and metrics", "how it is logged: lines for people, or JSON, one object a line"
    )
    ssl_certfile: str | None = _option(None, "Security", "certificate chain in PEM; turns TLS on")
    ssl_keyfile: str | None = _option(None, "Security", "private key in PEM")
    forwarded_allow_ips: str = _option(
        "127.0.0.1,::1", "Security", "proxies whose X-Forwarded headers are believed, or *"
    )
    allowed_hosts: tuple[str, ...] = _option(
        (),
        "Security",
        "hosts that requests may name: exact, *.host, addresses, networks, or *; none: any",
        texts="hosts",
    )
    allowed_origins: tuple[str, ...] = _option(
        (),
        "Security",
        "origins of pages besides the Host, for WebSockets and by CORS for HTTP: exact, https://*.host, or *",
    )
    validation_details: bool = _option(False, "Security", "tell clients which fields of an invalid message are wrong")
    handshake_timeout_seconds: float = _option(10.0, "Limits", "time for a client to finish its handshake", "seconds")
    max_header_bytes: int = _option(16 * 1024, "Limits", "size of a request head", "bytes")
    max_connections: int = _option(
        100_000, "Limits", "open WebSocket connections of one process; 0 for no limit", "connections"
    )
    max_connections_per_ip: int = _option(
        0,
        "Limits",
        "open WebSocket connections of one address, of IPv6 its /64, in one process; 0 for no limit",
        "connections",
    )
    max_connections_per_user: int = _option(
        0, "Limits", "open WebSocket connections of one user in one process; 0 for no limit", "connections"
    )
    compression: bool = _option(
        False,
        "Compression",
        "permessage-deflate for clients that offer it; not where one message holds a secret and another's text",
    )
    compression_min_bytes: int = _option(256, "Compression", "size from which messages are compressed", "bytes")
    compression_level: int = _option(6, "Compression", "1 is fast, 9 is small", "level", within=(1, 9))
    compression_takeover: bool = _option(
        False,
        "Compression",
        "compress by what was sent before: smaller, but some 350 KiB a connection, and nothing is shared",
    )
    drain_timeout_seconds: float = _option(30.0, "Shutdown", "time to shut down in, at most", "seconds")
    drain_spread_seconds: float = _option(
        15.0,
        "Shutdown",
        "time over which open connections are closed, at most; less for few; never more than half of the drain's",
        "seconds",
    )
    drain_delay_seconds: float = _option(
        0.0,
        "Shutdown",
        "time between a signal and the shutdown, for load balancers to find that it is no longer ready",
        "seconds",
    )
    backplane: str = _option(
        "memory", "Backplane", "what carries publications between processes: memory, redis://… or nats://…", secret=True
    )
    backplane_prefix: str = _option(
        "wireloom", "Backplane", "names of ours begin with it on a backplane that others use too"
    )
    database: str = _option(
        "sqlite:///.wireloom/wireloom.db",
        "Storage",
        "where users and keys are kept: sqlite:///FILE or postgresql://…",
        secret=True,
    )
    token_algorithm: Literal["HS256", "RS256", "ES256"] = _option("HS256", "Users and tokens", "how tokens are signed")
    token_secret: str | None = _option(
        None,
        "Users and tokens",
        "secret that signs HS256 tokens, 32 bytes or more; by default one is made and kept",
        secret=True,
    )
    token_private_keyfile: str | None = _option(
        None, "Users and tokens", "private key in PEM that signs RS256 or ES256 tokens"
    )
    token_lifetime_seconds: float = _option(
        7 * 24 * 3600.0, "Users and tokens", "time until a token expires", "seconds"
    )
    token_issuer: str | None = _option(
        None, "Users and tokens", "issuer that tokens must name; needed with token_jwks_url"
    )
    token_audience: str | None = _option(None, "Users and tokens", "audience that tokens must name")
    token_jwks_url: str | None = _option(
        None, "Users and tokens", "keys of an external issuer, whose tokens are then the only ones"
    )
    allow_token_in_query: bool = _option(
        False, "Users and tokens", "accept ?token=; queries end up in the logs of proxies"
    )
    registration: bool = _option(True, "Users and tokens", "whether anyone may register as a user")
    login_attempts_per_minute: int = _option(
        10,
        "Users and tokens",
        "wrong passwords for one name from one address before logins have to wait; 0 for no limit",
        "attempts",
    )
    registrations_per_minute: int = _option(
        10,
        "Users and tokens",
        "new users from one address, of IPv6 its /64, before others have to wait; 0 for no limit",
        "users",
    )
    peer_events: Literal["guarded", "open"] = _option(
        "guarded", "Security", "whom clients of the event socket may address: by the policy, or anyone"
    )
    routes_database: str = _option(
        "sqlite:///.wireloom/routes.db",
        "Storage",
        "database of SqlOp in declarative routes, apart from that of users: sqlite:///FILE or postgresql://…",
        secret=True,
    )
    routes_redis: str = _option(
        "memory",
        "Storage",
        "store of RedisOp in declarative routes: memory, redis://…, rediss://… or unix://…",
        secret=True,
    )
    routes_http_hosts: tuple[str, ...] = _option(
        (), "Declarative routes", "hosts that HttpRequest in declarative routes may ask: exact, with :port, or *.host"
    )
    dynamic_routes: bool = _option(
        False,
        "Declarative routes",
        "whether administrators may register declarative routes over HTTP while the application runs",
    )
    routes_max_operations: int = _option(
        10_000, "Declarative routes", "operations of one run of a hook within loops and functions", "operations"
    )
    routes_max_seconds: float = _option(
        30.0, "Declarative routes", "time of one run of a hook of a declarative route", "seconds"
    )
    docs: bool = _option(True, "Server", "serve /docs, /openapi.json and /asyncapi.json")
    tracing: bool = _option(
        False, "Logs and metrics", "make OpenTelemetry spans of handshakes, messages and HTTP requests"
    )
    metrics: bool = _option(True, "Logs and metrics", "serve /metrics to this machine and to metrics_allow")
    metrics_allow: tuple[str, ...] = _option(
        (),
        "Logs and metrics",
        "who else may read /metrics: addresses, networks such as 10.0.0.0/8, or * for everybody",
        texts="addresses",
    )
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option as the command line and the reference page see it."""

    name: str
    type: Any
    default: Any
    group: str
    help: str
    unit: str
    of_limits: bool
    within: tuple[int, int | None] | None = None
    texts: Texts = "any"
    secret: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "WIRELOOM_" + self.name.upper()


def options() -> Iterator[Option]:
    """All options, in order of declaration; those of `Limits` come last."""
    for owner in (Config, Limits):
        hints = get_type_hints(owner)
        for entry in fields(owner):
            if entry.default is not MISSING:
                told = entry.metadata
                kind, of_limits = hints[entry.name], owner is Limits
                bounds = told["within"], told["texts"], not entry.repr
                yield Option(
                    entry.name, kind, entry.default, told["group"], told["help"], told["unit"], of_limits, *bounds
                )


def grouped_options() -> dict[str, list[Option]]:
    """All options by group, the groups in the order in which people come to need them."""
    groups: dict[str, list[Option]] = {group: [] for group in get_args(Group)}
    for option in options():
        groups[option.group].append(option)
    return groups


def guard_hosts(config: Config, *, development: bool = False) -> Config:
    """The options for a server of our own on `host`. In development on loopback, where `allowed_hosts` is empty, it is
    what cannot be rebound: ``localhost`` and addresses.

    Args:
        development: it is, whatever the options say.
    """
    if config.allowed_hosts or not (development or config.dev or config.reload) or not _is_loopback(config.host):
        return config
    return replace(config, allowed_hosts=LOCAL_HOSTS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
