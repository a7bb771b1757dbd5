"""Answers: one of the server's own paths by HTTP, method by method.

Law: every answer is in the REST envelope and is cached nowhere; of what went wrong within, it tells an id and no more.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wireloom.core.rest import headers_of, refuse
from wireloom.errors import InternalError, RequestError, new_error_id

__all__ = ["Answering", "Answers"]

logger = logging.getLogger(__name__)

Answering: TypeAlias = Callable[[HTTPRequest], Awaitable[Response]]


class Answers:
    """One path: finds the method's answer; whatever is raised becomes one too.

    Args:
        methods: what answers, by method.
        refusal_of: the refusal that an exception stands for; None: it is a bug, unless it is a `RequestError`.
    """

    def __init__(
        self,
        methods: Mapping[str, Answering],
        refusal_of: Callable[[Exception], RequestError | None] = lambda error: None,
    ) -> None:
        self._methods = methods
        self._refusal_of = refusal_of

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
        except ClientDisconnect:
            raise
        except Exception as error:
            refusal = self._judge(error, request)
            return refuse(refusal, refusal.http_status, headers_of(refusal))

    def _judge(self, error: Exception, request: HTTPRequest) -> RequestError:
        """What the caller is told; a bug is logged."""
        refusal = self._refusal_of(error) or error
        if isinstance(refusal, RequestError):
            return refusal
        error_id = new_error_id()
        told = {"error_id": error_id, "door": "rest", "endpoint": request.url.path}
        logger.error(
            "a bug, error id %s: %s %s", error_id, request.method, request.url.path, exc_info=error, extra=told
        )
        return InternalError(error_id, error)
