"""Register: dynamic routes over HTTP. Law: only a user whose role is ``admin`` may see or change anything."""

from __future__ import annotations

from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wireloom.config import Limits
from wireloom.core.answers import Answering
from wireloom.core.operation import Operation
from wireloom.core.rest import read_body
from wireloom.errors import ConfigError, RequestError
from wireloom.faces.routes.dynamic import DynamicRoutes, Registration
from wireloom.faces.routes.report import Problem
from wireloom.identity.bearer import Authenticate, find_token
from wireloom.identity.refusal import TokenInvalid

__all__ = ["register_operations", "register_routes"]

_PATH = "/api/v1/dynamic-routes"
_HEADERS = {"Cache-Control": "no-store"}


def register_routes(routes: DynamicRoutes, authenticate: Authenticate, limits: Limits) -> list[Route]:
    """The HTTP routes of the register.

    Args:
        routes: registers and removes.
        authenticate: gives the user of a token.
        limits: of bodies.
    """

    async def register(request: HTTPRequest) -> Response:
        try:
            text = (await read_body(request, limits)).decode()
        except UnicodeDecodeError:
            return _parse_error([{"line": 1, "column": 1, "message": "the text is not UTF-8"}])
        except RequestError as error:
            return _refuse(error.http_status, "Not read", error.message)
        try:
            made = await routes.register(text, _format_of(request, text))
        except ConfigError as error:
            return _parse_error([_detail(problem) for problem in error.problems])
        told = {"status": "REGISTERED", "route_id": made.route_id, "route_name": made.name, "format": made.format}
        return JSONResponse(told, 201, _HEADERS)

    async def list_all(request: HTTPRequest) -> Response:
        return JSONResponse({"routes": [_row(routes, each) for each in routes]}, headers=_HEADERS)

    async def show(request: HTTPRequest) -> Response:
        found = routes.find(request.path_params["route_id"])
        if found is None:
            return _not_found(request)
        return JSONResponse({**_row(routes, found), "text": found.text}, headers=_HEADERS)

    async def remove(request: HTTPRequest) -> Response:
        route_id = request.path_params["route_id"]
        if not await routes.remove(route_id):
            return _not_found(request)
        return JSONResponse({"status": "REMOVED", "route_id": route_id}, headers=_HEADERS)

    def admins(respond: Answering) -> Answering:
        return _only_admins(respond, authenticate)

    return [
        Route(f"{_PATH}/register", admins(register), methods=["POST"]),
        Route(_PATH, admins(list_all), methods=["GET"]),
        Route(f"{_PATH}/{{route_id}}", admins(show), methods=["GET"]),
        Route(f"{_PATH}/{{route_id}}", admins(remove), methods=["DELETE"]),
    ]


def register_operations() -> list[Operation]:
    """What the documents say of the register."""
    rows = (
        ("POST", f"{_PATH}/register", "register_route", "Serves a route of the body, which is YAML or JSON."),
        ("GET", _PATH, "list_routes", "Lists the registered routes."),
        ("GET", f"{_PATH}/{{route_id}}", "show_route", "Shows a registered route with its text."),
        ("DELETE", f"{_PATH}/{{route_id}}", "remove_route", "Serves a registered route no longer."),
    )
    return [
        Operation(method, path, name, summary, ("dynamic routes",), "bearer", enveloped=False)
        for method, path, name, summary in rows
    ]


def _only_admins(respond: Answering, authenticate: Authenticate) -> Answering:
    async def answer(request: HTTPRequest) -> Response:
        token = find_token(request.headers, request.query_params, [], in_query=False)
        try:
            user = await authenticate(token) if token is not None else None
        except TokenInvalid:
            user = None
        if user is None:
            response = _refuse(401, "Unauthorized", "Invalid or missing token")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if user.role != "admin":
            return _refuse(403, "Forbidden", "Only administrators may do this")
        try:
            return await respond(request)
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


def _format_of(request: HTTPRequest, text: str) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json"):
        return "json"
    return "yaml" if kind.endswith("yaml") or text.lstrip()[:1] not in ("{", "[") else "json"


def _row(routes: DynamicRoutes, registration: Registration) -> dict[str, Any]:
    return {
        "route_id": registration.route_id,
        "route_name": registration.name,
        "path": registration.files.routes[0].path if registration.files.routes else "",
        "format": registration.format,
        "created_at": registration.created_at,
        **({} if routes.serves(registration) else {"status": "NOT_SERVED"}),
    }


def _detail(problem: ConfigError) -> dict[str, Any]:
    """One problem: its place where it has one; the lines that show it are for terminals."""
    message = problem.message.partition("\n")[0]
    if isinstance(problem, Problem):
        return {"line": problem.spot.line, "column": problem.spot.column, "message": message}
    return {"line": 1, "column": 1, "message": message}


def _parse_error(details: list[dict[str, Any]]) -> Response:
    return JSONResponse({"error": "Parse error", "details": details}, 400, _HEADERS)


def _not_found(request: HTTPRequest) -> Response:
    return _refuse(404, "Not Found", f"There is no registered route {request.path_params['route_id']!r:.80}")


def _refuse(status: int, error: str, message: str) -> Response:
    return JSONResponse({"error": error, "message": message}, status, _HEADERS)
