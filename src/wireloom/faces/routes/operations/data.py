"""Data: the SQL database and the key-value store of routes."""

from __future__ import annotations

from wireloom.errors import did_you_mean
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.stores.commands import COMMANDS
from wireloom.faces.routes.stores.statement import SQL_OPERATIONS, Statement
from wireloom.faces.routes.writer import Writer

__all__: list[str] = []


@operation(
    "SqlOp",
    Field("operation", "query, query_one or execute", needed=True),
    Field("query", "text", "one statement of SQL, without expressions", needed=True),
    Field("params", "object or list", "the values of `:name`, or of every `?` in order"),
    Field("output", "name", "of the variable that takes the result"),
    help="Asks the database of routes. `query` gives a list of rows, each an object; `query_one` the first or null;"
    " `execute` `{rows_affected, last_id}`. Values are bound, never pasted into the statement.",
)
def _sql(writer: Writer, fields: Fields) -> None:
    kind = fields.word("operation", SQL_OPERATIONS, "query")
    statement = _statement(writer, fields)
    values = fields.template("params").text
    if statement is None:
        return
    sql = writer.name(writer.context.services.sql, "sql")
    fields.output(writer.wait(f"{sql}.run({kind!r}, {writer.name(statement, 'statement')}, {values})"))


def _statement(writer: Writer, fields: Fields) -> Statement | None:
    if "query" not in fields:
        return None
    value = fields["query"]
    if not isinstance(value.data, str):
        fields.problem("query", "must be a text")
        return None
    if "{{" in value.data:
        at = value.data.index("{{")
        message = "no expression stands in a query; write :name here and its value below 'params'"
        writer.problem_within(value, at, at + 2, message)
        return None
    try:
        statement = Statement.parse(value.data)
    except ValueError as error:
        fields.problem("query", str(error))
        return None
    _check_values(fields, statement)
    return statement


def _check_values(fields: Fields, statement: Statement) -> None:
    """What is lacking or superfluous among the values of a statement."""
    data = fields["params"].data if "params" in fields else None
    if isinstance(data, dict):
        for name in data.keys() - set(statement.names):
            nearest = did_you_mean(name, statement.names)
            fields.writer.problem(data[name][0], f"the query has no :{name}{nearest}")
    elif data is not None and not isinstance(data, list):
        fields.problem("params", "must be an object of names and values, or a list of values")
        return
    given = set(data) if isinstance(data, dict) else set()
    for name in statement.names:
        if name not in given:
            fields.problem("query", f":{name} has no value below 'params'")
    count = len(data) if isinstance(data, list) else 0
    if count != statement.count:
        fields.problem("params", f"the query has {statement.count} times '?', and here are {count} values")


@operation(
    "RedisOp",
    Field("command", ", ".join(COMMANDS), needed=True),
    Field("key", "text", "of PUBLISH, the channel"),
    Field("field", "text", "of HGET and HSET"),
    Field("value", "any value", "lists and objects are kept as JSON"),
    Field("ttl_seconds", "number", "of SET and EXPIRE: the time that the key lives"),
    Field("start", "number", "of LRANGE: the first, 0 where it is left out"),
    Field("stop", "number", "of LRANGE: the last, -1 where it is left out"),
    Field("output", "name", "of the variable that takes the result"),
    help="Asks Redis where one is configured (option `routes_redis`), else a store of this process that answers alike.",
)
def _redis(writer: Writer, fields: Fields) -> None:
    name = fields.word("command", tuple(COMMANDS), "GET")
    command = COMMANDS[name]
    taken = {"command", "output", *command.needs, *command.takes}
    for field in fields.operation.fields:
        if field.name in fields and field.name not in taken:
            fields.problem(field.name, f"{name} has none")
        if field.name in command.needs and field.name not in fields:
            writer.problem(fields.value, f"{name} needs {field.name!r}")
    given = [field.name for field in fields.operation.fields if field.name in fields and field.name in taken]
    values = {name: fields.template(name).text for name in given if name not in ("command", "output")}
    arguments = "{" + ", ".join(f"{name!r}: {text}" for name, text in values.items()) + "}"
    store = writer.name(writer.context.services.store, "store")
    fields.output(writer.wait(f"{store}.run({name!r}, {arguments})"))
