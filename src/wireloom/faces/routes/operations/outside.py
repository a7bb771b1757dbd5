"""Outside: other servers, and walkers of the application."""

from __future__ import annotations

from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.outbound import METHODS
from wireloom.faces.routes.writer import Writer

__all__: list[str] = []

_MOST_MILLISECONDS = 60_000


@operation(
    "HttpRequest",
    Field("url", "text", "of a host that the option `routes_http_hosts` names", needed=True),
    Field("method", ", ".join(METHODS), "GET where it is left out"),
    Field("headers", "object"),
    Field("body", "any value", "a text as it is, anything else as JSON"),
    Field("timeout_ms", "whole number", "5000 where it is left out"),
    Field("output", "name", "of the variable that takes `{status, ok, headers, body}`; a JSON body is its value"),
    help="Asks another server. Redirects are not followed; an answer of any status is a success.",
)
def _http(writer: Writer, fields: Fields) -> None:
    outbound = writer.context.services.outbound
    literal = fields.literal("url")
    refusal = outbound.refusal(literal) if literal is not None else None
    if refusal is not None:
        fields.problem("url", refusal)
    method = fields.word("method", METHODS, "GET")
    timeout = fields.whole("timeout_ms", 5000, 1, _MOST_MILLISECONDS)
    headers = fields.of_kinds("headers", "object", "null").text if "headers" in fields else "None"
    body = fields.template("body").text
    name = writer.name(outbound, "outbound")
    call = f"{name}.request({method!r}, {fields.text('url')}, {headers}, {body}, {timeout / 1000})"
    fields.output(writer.wait(call))


@operation(
    "CallWalker",
    Field("walker", "name", "of a walker of this application", needed=True),
    Field("context", "object", "its fields"),
    Field("output", "name", "of the variable that takes the list of what it reports"),
    help="Runs a walker for the user of this connection, at their root.",
)
def _walker(writer: Writer, fields: Fields) -> None:
    name = fields.literal("walker")
    if name is None:
        fields.problem("walker", "must be the name of a walker, written out")
        return
    writer.context.walkers.append((name, fields["walker"]))
    context = fields.of_kinds("context", "object").text if "context" in fields else "{}"
    walk = writer.name(writer.context.services.walk, "walk")
    fields.output(writer.wait(f"{walk}(visit, {name!r}, {context})"))
