"""Metrics over HTTP: ``/metrics``, in the formats of Prometheus and OpenMetrics.

Laws:
- Numbers are read when somebody asks; nothing here runs before.
- It is answered to loopback and to whom `metrics_allow` names. Whoever cannot be told for sure is somebody else.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from prometheus_client import REGISTRY, Metric
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wireloom.config import Config
from wireloom.core.endpoint import Door, Endpoint
from wireloom.hub.hub import Hub
from wireloom.metrics import REMOVED, SECONDS, EndpointCounts
from wireloom.net.http import METRICS_PATH

__all__ = ["ROWS", "Row", "metrics_route"]

# What proxies put into a request, each or several of them.
_FORWARDING = ("x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host", "x-forwarded-proto")
_WEBSOCKET = (Door.WEBSOCKET,)
_HTTP = (Door.REST, Door.WEBHOOK)
_EVERY = tuple(Door)

Value = int | float | Mapping[Any, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric.

    Args:
        name: with its unit, without the suffixes of its kind.
        kind: counter, gauge, histogram or info.
        help: what it counts, for people.
        read: the value, or values by the further label; given the counts of an endpoint, or the hub.
        label: a further label.
        doors: of the endpoints that have it; empty: it is the process's.
    """

    name: str
    kind: str
    help: str
    read: Callable[[Any], Value]
    label: str = ""
    doors: tuple[Door, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        return (*(("door", "endpoint") if self.doors else ()), *((self.label,) if self.label else ()))

    @property
    def shown_name(self) -> str:
        """The name by which it is asked for."""
        return f"{self.name}{ {'counter': '_total', 'info': '_info'}.get(self.kind, '') }"


def _messages_sent(counts: EndpointCounts) -> int:
    """Frames that were no pings or pongs. Those are counted ahead of their way out, and no counter may ever fall."""
    counts.messages_sent = max(counts.messages_sent, counts.sent - counts.control)
    return counts.messages_sent


def _waiting_bytes(counts: EndpointCounts) -> int:
    return sum(outbox.waiting_bytes for outbox in counts.paused)


def _row(
    name: str, kind: str, help: str, read: Callable[[Any], Value], label: str = "", doors: tuple[Door, ...] = ()
) -> Row:
    return Row(f"wireloom_{name}", kind, help, read, label, doors)


ROWS: tuple[Row, ...] = (
    # of an endpoint
    _row("connections", "gauge", "WebSocket connections that are open", lambda c: c.open, "", _WEBSOCKET),
    _row("connections_opened", "counter", "WebSocket connections that were opened", lambda c: c.opened, "", _WEBSOCKET),
    _row(
        "connections_closed",
        "counter",
        "WebSocket connections that have ended, by close code; 3xxx and 4xxx are codes of applications and clients",
        lambda c: c.closed,
        "code",
        _WEBSOCKET,
    ),
    _row(
        "messages_received",
        "counter",
        "messages that came whole; of HTTP requests, of the event door events",
        lambda c: c.received,
        "",
        _EVERY,
    ),
    _row(
        "messages_sent",
        "counter",
        "messages that were handed to the transport; of HTTP responses, of the event door answers",
        _messages_sent,
        "",
        _EVERY,
    ),
    _row(
        "received_bytes",
        "counter",
        "bytes of frames as they came, headers and control frames included; of HTTP, bodies that were read",
        lambda c: c.received_bytes,
        "",
        _EVERY,
    ),
    _row(
        "sent_bytes",
        "counter",
        "bytes of frames as they left, headers and control frames included; of HTTP, bodies that are no streams",
        lambda c: c.sent_bytes,
        "",
        _EVERY,
    ),
    _row(
        "handler_seconds",
        "histogram",
        "time from a whole message to its encoded reply; of WebSockets a sample: a hundred messages a second at most",
        lambda c: 0,
        "",
        _EVERY,
    ),
    _row("responses", "counter", "HTTP responses of endpoints, by status", lambda c: c.responses, "status", _HTTP),
    _row("errors", "counter", "errors that callers were told of, by code", lambda c: c.errors, "code", _EVERY),
    _row(
        "bugs",
        "counter",
        "unexpected exceptions, each in the log with its id, by where they came from",
        lambda c: c.bugs,
        "where",
        _EVERY,
    ),
    _row(
        "route_failures",
        "counter",
        "hooks of declarative routes that ended by a failure, by hook",
        lambda c: c.failures,
        "hook",
        (*_WEBSOCKET, *_HTTP),
    ),
    _row(
        "messages_dropped",
        "counter",
        "messages that slow readers did not get, by the outbox's policy",
        lambda c: c.dropped,
        "policy",
        _WEBSOCKET,
    ),
    _row(
        "connections_behind",
        "gauge",
        "WebSocket connections whose peer does not read as fast as it is sent to",
        lambda c: len(c.paused),
        "",
        _WEBSOCKET,
    ),
    _row("outbox_bytes", "gauge", "bytes that wait for peers that are behind", _waiting_bytes, "", _WEBSOCKET),
    # of the process
    _row(
        "connections_refused",
        "counter",
        "WebSocket handshakes that were not answered with 101, by status",
        lambda hub: hub.counts.refused,
        "status",
    ),
    _row("publications", "counter", "publications that this process made", lambda hub: hub.publications),
    _row("publications_received", "counter", "publications of other processes", lambda hub: hub.arrivals),
    _row(
        "deliveries",
        "counter",
        "publications times the connections of this process that they were for",
        lambda hub: hub.deliveries,
    ),
    _row("topics", "gauge", "topics that somebody hears in this process", lambda hub: hub.topics),
    _row(
        "backplane_up",
        "gauge",
        "1 while publications reach other processes, 0 while they do not",
        lambda hub: int(not hub.degraded),
    ),
    _row(
        "backplane_reconnects",
        "counter",
        "times that the backplane was lost and came back",
        lambda hub: hub.backplane.reconnects,
    ),
    _row(
        "backplane_dropped",
        "counter",
        "publications that other processes did not get, because the backplane was away or too slow",
        lambda hub: hub.backplane.dropped,
    ),
    _row(
        "backplane_queue_bytes",
        "gauge",
        "bytes of publications that wait for the backplane",
        lambda hub: hub.backplane.waiting_bytes,
    ),
)
"""Every metric of ours but `wireloom_build_info`."""


class _Collector:
    """Gives all metrics, as prometheus-client wants them: ours, then what the application has registered itself.

    Args:
        hub: of the application.
        endpoints: that it has now.
        worker: tells this process from others of the same address; None: there are none.
    """

    def __init__(self, hub: Hub, endpoints: Iterable[Endpoint], worker: str | None) -> None:
        self._hub = hub
        self._endpoints = list(endpoints)
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """All metrics with their values of now."""
        counted = list(self._counted())
        ours = [self._read(row, counted) for row in ROWS]
        for metric in (self._build(), *ours, *REGISTRY.collect()):
            if self._worker is not None:
                samples = [
                    sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in metric.samples
                ]
                metric.samples = samples
            yield metric

    def _build(self) -> Metric:
        metric = Metric("wireloom_build", "the version of Wireloom and of Python", "info")
        labels = {"version": version("wireloom"), "python": platform.python_version()}
        metric.add_sample("wireloom_build_info", labels, 1)
        return metric

    def _counted(self) -> Iterator[tuple[Door, str, EndpointCounts]]:
        """The counts of every endpoint, once, and of those that were removed."""
        seen: set[EndpointCounts] = set()
        for endpoint in self._endpoints:
            counts = endpoint.counts
            # those of one path share their counts; of what documents leave out, only what was used is of interest
            unused = endpoint.hidden and not (counts.opened or counts.received)
            if not unused and counts not in seen:
                seen.add(counts)
                yield endpoint.door, endpoint.label, counts
        for door, counts in self._hub.counts.removed().items():
            yield Door(door), REMOVED, counts

    def _read(self, row: Row, counted: Iterable[tuple[Door, str, EndpointCounts]]) -> Metric:
        metric = Metric(row.name, row.help, row.kind)
        if not row.doors:
            _add(metric, row, row.read(self._hub), {})
            return metric
        for door, label, counts in counted:
            if door not in row.doors:
                continue
            labels = {"door": door.value, "endpoint": label}
            if row.kind == "histogram":
                _add_timings(metric, counts, labels)
            else:
                _add(metric, row, row.read(counts), labels)
        return metric


def _add(metric: Metric, row: Row, value: Value, labels: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for name, count in value.items():
            metric.add_sample(row.shown_name, {**labels, row.label: str(name)}, count)
    else:
        metric.add_sample(row.shown_name, labels, value)


def _add_timings(metric: Metric, counts: EndpointCounts, labels: dict[str, str]) -> None:
    reached = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), counts.timings.buckets, strict=True):
        reached += count
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, reached)
    metric.add_sample(f"{metric.name}_count", labels, reached)
    metric.add_sample(f"{metric.name}_sum", labels, counts.timings.total)


# -- who may ask -------------------------------------------------------------------------------------------------------


class _Readers:
    """Who may read metrics.

    Args:
        config: its `metrics_allow` names addresses, networks, or everybody.
    """

    def __init__(self, config: Config) -> None:
        self._everybody = "*" in config.metrics_allow
        self._networks = [ip_network(each, strict=False) for each in config.metrics_allow if each != "*"]
        self._trusts_anybody = "*" in config.forwarded_allow_ips

    def include(self, request: HTTPRequest) -> bool:
        """Whether whoever sends a request is one of them.

        A request that came by a proxy is its client's, and only trusted proxies say whose it is. uvicorn then has put
        that address in the place of the peer's, with the port 0.
        """
        if self._everybody:
            return True
        forwarded = any(name in request.headers for name in _FORWARDING)
        if request.client is None or (forwarded and (request.client.port or self._trusts_anybody)):
            return False
        try:
            address = ip_address(request.client.host)
        except ValueError:
            return False
        return self._knows(getattr(address, "ipv4_mapped", None) or address)

    def _knows(self, address: IPv4Address | IPv6Address) -> bool:
        return address.is_loopback or any(address in network for network in self._networks)


_FORBIDDEN = {
    "error": "Forbidden",
    "message": "Metrics are for this machine and for addresses that the option metrics_allow names",
}


def metrics_route(config: Config, hub: Hub, endpoints: Iterable[Endpoint]) -> Route:
    """Where metrics are served.

    Args:
        config: says to whom.
        hub: of the application.
        endpoints: that it has now.
    """
    readers = _Readers(config)
    collector: Any = _Collector(hub, endpoints, str(os.getpid()) if config.workers > 1 else None)

    async def show(request: HTTPRequest) -> Response:
        if not readers.include(request):
            return JSONResponse(_FORBIDDEN, 403)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(collector), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route(METRICS_PATH, show)
