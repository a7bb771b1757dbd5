"""Writes the reference pages that are made from code: options, errors and close codes, command line.

python docs/make_reference.py           write them
python docs/make_reference.py --check   exit 1 when one is out of date
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click

from wireloom import errors
from wireloom.cli.main import cli
from wireloom.config import options

HERE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Made by docs/make_reference.py; change the code instead. -->\n\n"


def options_page() -> str:
    """Every option with its three spellings."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in options():
        unit = f" ({option.unit})" if option.unit else ""
        kind = " \\| ".join(map(repr, get_args(option.type))) if get_args(option.type) else option.type.__name__
        default = "none" if option.default in (None, ()) else f"`{option.default}`"
        rows.append(f"| `{option.name}` | {_kind(kind)} | {default} | {option.help}{unit} |")
    return f"""# Options

{NOTE}The name below is the key in `wireloom.toml` and the keyword of `App(…)`. The flag of `wireloom serve` is the name with hyphens
(`--max-message-bytes`), the environment variable is `WIRELOOM_` and the name in capitals (`WIRELOOM_MAX_MESSAGE_BYTES`).
A flag wins over the environment, the environment over the file, the file over `App(…)`. An unknown name is an error.

{chr(10).join(rows)}
"""


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
    return f"""# Errors and close codes

{NOTE}All errors are subclasses of `WireloomError`; the class says the consequence.

| class | consequence |
|---|---|
{chr(10).join(class_rows)}

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
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    yield f"## `{name}`\n\n```text\n{command.get_help(context)}\n```\n"
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, f"{name} {child_name}")


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "errors.md": errors_page,
    "cli.md": command_line_page,
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
