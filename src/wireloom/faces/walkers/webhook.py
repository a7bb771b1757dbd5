"""The webhook door: a signed request of another service. Law: what is not proved is not parsed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from wireloom.core.codec import Codec
from wireloom.core.rate import Rate
from wireloom.core.request import Request
from wireloom.core.rest import Incoming
from wireloom.errors import RequestError, Unauthorized
from wireloom.faces.walkers.callers import require_role
from wireloom.faces.walkers.envelope import http_errors, http_reply
from wireloom.faces.walkers.fields import Fields
from wireloom.faces.walkers.services import Services
from wireloom.faces.walkers.spec import Spec
from wireloom.identity.refusal import KeyInvalid

__all__ = ["WebhookDoor"]

Run = Callable[[Request], Awaitable[bytes]]


class WebhookDoor:
    """The webhook door of one walker.

    Args:
        name: the walker's.
        spec: how it was declared.
        fields: how it is made of a body.
        rate: how often one sender may come; None: as it likes.
        services: what the application has.
    """

    def __init__(self, name: str, spec: Spec, fields: Fields, rate: Rate | None, services: Services) -> None:
        self._name = name
        self._roles = spec.roles
        self._rate = rate
        self._fields = fields
        self._begin = services.begin_webhook
        encode_error = http_errors(services.config.dev)
        self.codec = Codec(self._decode, http_reply, encode_error, message_schema=fields.schema)

    async def authorize(self, request: Request) -> None:
        """Finds out whose webhook it is: first what can be told without the body, then by the body's signature.

        Raises:
            RequestError: ``UNAUTHORIZED``, or what reading the body raises.
        """
        assert self._begin is not None
        try:
            check = await self._begin(request.headers, self._name)
            key = await check.verify(await request.connection.read_body())
        except KeyInvalid as invalid:
            raise Unauthorized(invalid.reason) from invalid
        request.connection.user = key.user
        request.connection.proof = check
        try:
            require_role(key.user, self._roles)
            if self._rate is not None:
                self._rate.take(request)
        except RequestError:
            await check.forget()
            raise

    def _decode(self, incoming: Incoming) -> Any:
        again = partial(self._fields.from_json, incoming.body or b"{}")
        return again(), again

    def forgetting(self, run: Run) -> Run:
        """A run whose signature may be used again when it failed for reasons that may pass. Of one that was cancelled
        nobody knows here whether it was kept, so its signature stays used.
        """

        async def run_or_forget(request: Request) -> bytes:
            try:
                return await run(request)
            except Exception as error:
                if not isinstance(error, RequestError) or error.http_status == 409 or error.http_status >= 500:
                    await request.connection.proof.forget()
                raise

        return run_or_forget
