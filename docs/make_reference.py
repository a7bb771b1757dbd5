"""Writes what reference pages have from code: options, errors and close codes, command line, tables of routes.

python docs/make_reference.py           write them
python docs/make_reference.py --check   exit 1 when one is out of date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import click

import wireloom
from wireloom import errors
from wireloom.cli.main import cli
from wireloom.config import Option, grouped_options, options
from wireloom.faces.routes import compiler, dynamic, fuel, loading, messaging, outbound, writer
from wireloom.faces.routes.expressions import values
from wireloom.faces.routes.expressions.callables import Callable as Row
from wireloom.faces.routes.expressions.callables import Table
from wireloom.faces.routes.expressions.filters import FILTERS
from wireloom.faces.routes.expressions.functions import FUNCTIONS
from wireloom.faces.routes.expressions.operators import BINARY, UNARY
from wireloom.faces.routes.failure import CODES
from wireloom.faces.routes.operations import control, functions, outside
from wireloom.faces.routes.operations.table import OPERATIONS, Field, Operation
from wireloom.faces.routes.route import KEYS
from wireloom.faces.routes.stores.commands import COMMANDS
from wireloom.metrics import MOST_CODES, SECONDS, TIMED_AT_ONCE
from wireloom.net.metrics import ROWS

HERE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Made by docs/make_reference.py; change the code instead. -->\n\n"


def options_page() -> str:
    """Every option with its three spellings."""
    return f"""# Options

{NOTE}The name below is the key in `wireloom.toml` and the keyword of `App(…)`. The flag of `wireloom serve` is the name with hyphens
(`--max-message-bytes`), the environment variable is `WIRELOOM_` and the name in capitals (`WIRELOOM_MAX_MESSAGE_BYTES`).
A flag wins over the environment, the environment over the file, the file over `App(…)`. An unknown name is an error.

{chr(10).join(f"## {group}{chr(10) * 2}{options_table(listed)}{chr(10)}" for group, listed in grouped_options().items())}"""


def options_table(listed: Iterable[Option]) -> str:
    """A row for each option."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in listed:
        unit = f" ({option.unit})" if option.unit else ""
        kind = " \\| ".join(map(repr, get_args(option.type))) if get_args(option.type) else option.type.__name__
        default = "none" if option.default in (None, ()) else f"`{option.default}`"
        rows.append(f"| `{option.name}` | {_kind(kind)} | {default} | {option.help}{unit} |")
    return "\n".join(rows)


def _kind(kind: str) -> str:
    return kind.replace("<class '", "").replace("'>", "").replace(" \\| Ellipsis", ", …").replace("NoneType", "none")


def errors_page() -> str:
    """Error classes with their first line, and the close codes."""
    classes = [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.WireloomError) and value is not errors.WireloomError
    ]
    class_rows = [f"| `{each.__name__}` | {_first_line(each)} |" for each in classes]
    code_rows = [
        f"| {code.code} | {code.meaning} | {'yes' if code.come_back else 'no'} |"
        for code in errors.CLOSE_CODES.values()
    ]
    status_rows = [f"| `{code}` | {status} |" for code, status in errors.HTTP_STATUSES.items()]
    return f"""# Errors and close codes

{NOTE}All errors are subclasses of `WireloomError`; the class says the consequence.

| class | consequence |
|---|---|
{chr(10).join(class_rows)}

## Codes that callers are told

`RequestError` has a `code` for programs. By HTTP it is told with this status; any other code, such as one of the application's own, with 400, unless the error says its status itself.

| code | HTTP status |
|---|---|
{chr(10).join(status_rows)}

On a typed handler's socket, a message that is not of its shape is answered with `{{"error": …}}` and one that is no JSON with `{{"message": …, "type": "error"}}`: two shapes that clients of today know. Which door tells what: [on the wire](wire.md).

## Close codes

| code | means | come back? |
|---|---|---|
{chr(10).join(code_rows)}
"""


def _first_line(each: type) -> str:
    return (inspect.getdoc(each) or "").partition("\n\n")[0].replace("\n", " ")


def command_line_page() -> str:
    """Every command's own help."""
    return f"# Command line\n\n{NOTE}" + "\n".join(_commands(cli, "wireloom"))


def _commands(command: Any, name: str) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, terminal_width=100, max_content_width=100, help_option_names=["-h", "--help"]
    )
    yield f"## `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, f"{name} {child_name}")


# -- declarative routes: a page by hand, with tables from code ----------------------------------------------------------

PART = re.compile(r"^<!-- made: (?P<name>[a-z]+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)


def routes_page() -> str:
    """The page of routes as it stands, its tables made anew."""
    page = (HERE / "routes.md").read_text(encoding="utf-8")
    return PART.sub(lambda part: f"<!-- made: {part['name']} -->\n{PARTS[part['name']]()}\n<!-- end -->", page)


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table; head and rows are texts of cells."""
    lines = [head.split(" / "), ["---"] * (head.count(" / ") + 1), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def route_keys() -> str:
    """What a route may have."""
    return table("key / is", ((f"`{key}`", text) for key, text in KEYS.items()))


def route_operations() -> str:
    """Every operation with its fields."""
    assert compiler.MODULES  # they have filled the table
    return "\n\n".join(map(_operation, OPERATIONS.values()))


def _operation(operation: Operation) -> str:
    also = f", also `{operation.also}`" if operation.also else ""
    head = f"### `{operation.name}`{also}\n\n{operation.help}"
    if not operation.fields:
        return head
    return f"{head}\n\n{table('field / takes / ', map(_field_row, operation.fields))}"


def _field_row(field: Field) -> tuple[str, str, str]:
    doors = {"http": "HTTP routes only", "websocket": "WebSocket routes only"}
    notes = ["**needed**" if field.needed else "", field.help, doors.get(field.door, "")]
    return f"`{field.name}`", field.takes, "; ".join(filter(None, notes))


def route_operators() -> str:
    """Operators, those that bind most strongly first."""
    every = [*UNARY.values(), *sorted(BINARY.values(), key=lambda operator: -operator.level)]
    rows = []
    for operator in every:
        written = f"`{operator.symbol}`" + (f", `{operator.word}`" if operator.word else "")
        shape = "before its value" if operator in UNARY.values() else ""
        notes = [shape, operator.help, "from right to left" if operator.from_right else ""]
        rows.append((written, str(operator.level), "; ".join(filter(None, notes))))
    return table("operator / level / gives", rows)


def route_callables(known: Table, skip: int) -> str:
    """Filters or functions; of a filter the value before the pipe is no argument."""
    return table(
        "name / gives / ", ((_signature(row, skip), row.gives, _plain(row.help)) for row in known.rows.values())
    )


def _signature(row: Row, skip: int) -> str:
    names = [f"{each.name}?" if each.optional else each.name for each in row.parameters[skip:]]
    names += ["…"] if row.variadic else []
    return f"`{row.name}({', '.join(names)})`" if names or not skip else f"`{row.name}`"


def _plain(text: str) -> str:
    return text.replace("``", "`").replace("\n", " ")


def route_commands() -> str:
    """What RedisOp knows."""
    rows = (
        (
            f"`{command.name}`",
            ", ".join([*(f"`{name}`" for name in command.needs), *(f"`{name}`?" for name in command.takes)]),
            command.help,
            command.gives,
        )
        for command in COMMANDS.values()
    )
    return table("command / fields / does / gives", rows)


def route_codes() -> str:
    """What operations fail with."""
    return table("code / means", ((f"`{code}`", text) for code, text in CODES.items()))


def route_limits() -> str:
    """Bounds that no option changes."""
    rows = {
        "characters of a text, or of all texts within a value": values.MAX_TEXT,
        "items and members of a value, however they are nested": values.MAX_ITEMS,
        "levels of a value": values.MAX_DEPTH,
        "characters of a channel's name": messaging.MAX_CHANNEL,
        "`max_iterations` of `While`": control._MOST_ITERATIONS,
        "tasks of `Parallel`": functions._MOST_TASKS,
        "milliseconds of `Sleep`": functions.MAX_SLEEP_MILLISECONDS,
        "milliseconds of `HttpRequest`": outside._MOST_MILLISECONDS,
        "connections to other servers at a time": outbound._MAX_CONNECTIONS,
        "functions that wait for each other": fuel._MAX_CALLS,
        "operations within each other": writer._MAX_DEPTH,
        "`Loop`, `While` and `Try` within each other": writer._MAX_NESTED,
        "routes of an application": loading._MAX_ROUTES,
        "routes that are registered over HTTP": dynamic._MAX_ROUTES,
    }
    return table("at most / of", ((f"{most:,}", what) for what, most in rows.items()))


PARTS: dict[str, Callable[[], str]] = {
    "keys": route_keys,
    "operations": route_operations,
    "operators": route_operators,
    "filters": lambda: route_callables(FILTERS, 1),
    "functions": lambda: route_callables(FUNCTIONS, 0),
    "commands": route_commands,
    "codes": route_codes,
    "limits": route_limits,
    "options": lambda: options_table(option for option in options() if "route" in option.name),
}

# -- the API: what is public, in groups; mkdocstrings puts in what docstrings say ----------------------------------------

API = {
    "Applications": "App Config Limits Server create_server",
    "Declaring": "websocket event WebSocketHandler EventHandler Query Provide Request CallbackHandler CallbackRequest",
    "Walkers and what they keep": "Walker spec APIProtocol entry exit wait Node Edge Root UploadFile",
    "Connections and publishing": "Connection CallbackConnection Hub notify WEBSOCKET_MANAGER Topic EVERYONE client user User",
    "Clients": "connect LastingConnection WebSocket MessageEvent CloseEvent open_connection ClientConnection ClientOptions",
    "Errors": (
        "WireloomError ConfigError Deny RequestError Disconnect ConnectionClosed HandshakeFailed NoAnswer NoHub QueueFull"
        " InvalidAccessError InvalidStateError WebSocketSyntaxError"
    ),
}
BY_HAND = {  # objects and another library's class have no docstring of their own
    "EVERYONE": "The topic of all connections: `await hub.publish(EVERYONE, data)`.",
    "UploadFile": "Starlette's: a field of a walker that is an uploaded file. [Uploads](walkers.md).",
    "WEBSOCKET_MANAGER": "`notify` under the name that the older system has for it.",
    "notify": "The `Notify` of this process.\n\n::: wireloom.hub.notify.Notify\n    options:\n      heading_level: 4\n      members: [self, users, channels, clients, connect, flush]",
}


MEMBERS = {  # of classes that have others for the rooms of this project
    "App": "websocket event walker events add add_routes check mount static openapi asyncapi describe running drain",
    "ClientConnection": "send drain receive close wait_closed abort is_open close_code close_reason",
    "Connection": (
        "client_id path_params query headers client subprotocol channels backlog is_open is_closed close_code"
        " close_reason send send_text send_bytes join leave drain close"
    ),
    "Hub": "publish connections count users",
    "LastingConnection": (
        "send send_json receive request subscribe unsubscribe wait_connected close state subprotocol close_code"
        " close_reason"
    ),
}


def api_page() -> str:
    """Every public name."""
    listed = [name for names in API.values() for name in names.split()]
    if sorted(listed) != sorted(wireloom.__all__):
        raise SystemExit(f"API in make_reference.py and wireloom.__all__ differ: {set(listed) ^ set(wireloom.__all__)}")
    parts = [f"## {group}\n\n" + "\n\n".join(map(_api_entry, names.split())) for group, names in API.items()]
    testing = "\n\n".join(f"::: wireloom.testing.{name}" for name in ("TestServer", "TestWebSocket"))
    return f"""# API

{NOTE}All public names of `wireloom`, from their docstrings. What is not here may change without notice. (Where you read this as a file,
each line that begins with `:::` stands for an object; the site shows it.)

{chr(10).join(f"{part}{chr(10)}" for part in parts)}
## Testing

{testing}
"""


def _api_entry(name: str) -> str:
    if name in BY_HAND:
        return f"### `{name}`\n\n{BY_HAND[name]}"
    if name not in MEMBERS:
        return f"::: wireloom.{name}"
    members = MEMBERS[name].split()
    missing = [each for each in members if not hasattr(getattr(wireloom, name), each)]
    if missing:
        raise SystemExit(f"MEMBERS in make_reference.py: {name} has no {missing}")
    return f"::: wireloom.{name}\n    options:\n      members: [{', '.join(members)}]"


# -- metrics -------------------------------------------------------------------------------------------------------------


def metrics_page() -> str:
    """Every metric of ours."""
    rows = [
        (f"`{row.shown_name}`", row.kind, ", ".join(f"`{label}`" for label in row.labels), row.help) for row in ROWS
    ]
    bounds = ", ".join(f"{bound:g}" for bound in SECONDS)
    return f"""# Metrics

{NOTE}What `/metrics` tells, in Prometheus' text format or in OpenMetrics, whichever is asked for. How to scrape it, what to draw and what to be woken for: [monitor a server](../how-to/monitor.md).

{table("metric / type / labels / is", rows)}

`wireloom_build_info` has the versions of Wireloom and Python as labels. Beside these are those of the process, of Python and its garbage collector (`process_…`, `python_…`), and whatever the application registers itself.

- `endpoint` is a path template, such as `/chat/{{room}}`, never a path; of the door `event` a name. `door` is `websocket`, `rest`, `webhook` or `event`. With several workers there is a `worker` label, too.
- Names that applications and clients make up are bounded: of close codes those that have a name are told one by one, others as `3xxx` or `4xxx`; of error codes the first {MOST_CODES} of an endpoint that look like one, and all others as `other`.
- `wireloom_handler_seconds` has the bounds {bounds}. On WebSockets it is a sample: the first {TIMED_AT_ONCE} messages of an endpoint in every quarter of a second, so all messages where there are few. Its quantiles and its mean are
  those of the handler, its count is not that of messages. It begins with a whole message and ends when the last reply is on its way to the outbox; time in a queue before that is not in it.
- `wireloom_outbox_bytes` counts connections whose transport has said that it has enough (64 KiB wait), not what is below that.
- On another ASGI server bytes received are those of messages, not of frames.
- A live reload goes on counting where a path stays. What was counted at endpoints that were removed, by it or as dynamic routes, is told as one, `endpoint="(removed)"` of their door, so that no sum falls. One that is registered anew begins at 0. Counters begin at 0 with the process.
"""


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "options.md": options_page,
    "errors.md": errors_page,
    "cli.md": command_line_page,
    "metrics.md": metrics_page,
    "routes.md": routes_page,
}


def main(check: bool) -> int:
    """Writes or checks all pages; gives the exit code."""
    stale = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print("out of date, run python docs/make_reference.py:", ", ".join(stale))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
