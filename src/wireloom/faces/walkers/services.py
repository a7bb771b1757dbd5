"""Services: what an application has for its walkers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from wireloom.config import Config
from wireloom.core.rates import Rates
from wireloom.faces.walkers.threads import Threads
from wireloom.graph.types import Types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wireloom.faces.walkers.callers import Callers
    from wireloom.faces.walkers.run import FindUser
    from wireloom.graph.graph import Graph
    from wireloom.hub.connection import Connection
    from wireloom.hub.hub import Hub
    from wireloom.identity.api_key import ApiKey

__all__ = ["Services", "WebhookCheck"]


class WebhookCheck(Protocol):
    """The proof that a webhook is a key's, once its body is known."""

    async def verify(self, body: bytes) -> ApiKey:
        """The key, once the body is known to be signed with it; else raises `KeyInvalid`."""

    async def forget(self) -> None:
        """Lets the same signature be used again: what it was for has failed."""


BeginWebhook = Callable[["Mapping[str, str]", str], Awaitable[WebhookCheck]]


async def _nobody(name: str) -> Any:
    return None


@dataclass(frozen=True, slots=True)
class Services:
    """What an application has for its walkers.

    Args:
        config: its options.
        hub: reaches connections.
        graph: where nodes are kept; None until the application has started.
        callers: knows users by their tokens; None as well.
        find_user: gives users by name.
        begin_webhook: checks what can be checked of a webhook before its body is read; None as `graph`.
        tokens: those that open connections of walkers came with; they outlive a live reload.
        types: the classes of nodes.
        threads: where plain abilities run.
        rates: what was counted of callers; it outlives a live reload.
    """

    config: Config
    hub: Hub
    graph: Graph | None = None
    callers: Callers | None = None
    find_user: FindUser = _nobody
    begin_webhook: BeginWebhook | None = None
    tokens: dict[Connection, str] = field(default_factory=dict)
    types: Types = field(default_factory=Types)
    threads: Threads = field(default_factory=Threads)
    rates: Rates = field(default_factory=Rates)
