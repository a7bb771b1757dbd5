"""A chat client for the terminal: what you type is said, what others say is printed.

``/rename NAME`` takes another name, ``/quit`` leaves, and so does the end of the input, so it works in a pipe.
"""

import argparse
import asyncio
import getpass
import json
import logging
import sys
import threading
from contextlib import suppress
from datetime import datetime

from wireloom import HandshakeFailed, WebSocketSyntaxError, connect

__all__ = ["main"]


class Refused(Exception):
    """The server does not let us in under this name."""


async def chat(url, name):
    """Talks until one side leaves. A lost connection comes back by itself, and joins again."""
    lines = read_lines()
    me = {"name": name, "leaving": False}
    async for ws in connect(url, max_attempts=6):
        me["here"] = False
        await ws.send_json({"type": "join", "name": me["name"]})
        typing = None
        try:
            async for text in ws:
                event = json.loads(text)
                show(event, me)
                if event.get("type") == "welcome":
                    me["here"] = True
                    typing = asyncio.create_task(send_lines(ws, lines, me))
        finally:
            if typing is not None:
                typing.cancel()


async def send_lines(ws, lines, me):
    """Sends what is typed."""
    while (line := await lines.get()) is not None and line != "/quit":
        if line == "/rename" or line.startswith("/rename "):
            await ws.send_json({"type": "rename", "name": line.removeprefix("/rename").strip()})
        elif line:
            await ws.send_json({"type": "message", "text": line})
    me["leaving"] = True
    await ws.send_json({"type": "leave"})  # the server closes once it has done all of the above


def show(event, me):
    """Prints what has happened, and keeps in mind what we are called."""
    time = datetime.fromisoformat(event["at"]).astimezone().strftime("%H:%M") if "at" in event else ""
    match event:
        case {"type": "welcome", "name": str(name), "people": list(people)}:
            me["name"] = name
            print(f"{time} * You are {name}. Here: {', '.join(people)}", flush=True)
        case {"type": "message", "name": name, "text": text}:
            print(f"{time} {name}: {text}", flush=True)
        case {"type": "joined" | "left" as kind, "name": name} if name != me["name"]:
            print(f"{time} * {name} has {kind}", flush=True)
        case {"type": "renamed", "before": before, "name": name}:
            print(f"{time} * {before} is now {name}", flush=True)
            me["name"] = name if before == me["name"] else me["name"]
        case {"error": error, "code": "NAME_TAKEN" | "BAD_NAME"} if not me["here"]:
            raise Refused(error)
        case {"error": error}:
            print(f"! {error}", file=sys.stderr, flush=True)


def read_lines():
    """The lines of the standard input, None at its end. A thread of their own reads them, as that waits."""
    lines, loop = asyncio.Queue(), asyncio.get_running_loop()

    def read():
        with suppress(RuntimeError):  # we have left meanwhile
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line.strip())
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="A chat client: type to talk, /rename NAME, /quit.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:3000", help="the server, by default %(default)s")
    parser.add_argument("--name", default=getpass.getuser(), help="what you are called, by default %(default)s")
    arguments = parser.parse_args()
    logging.basicConfig(format="! %(message)s")
    logging.getLogger("wireloom.clients").setLevel(logging.INFO)  # tells of each attempt to come back
    try:
        asyncio.run(chat(arguments.url, arguments.name))
    except KeyboardInterrupt:
        pass
    except WebSocketSyntaxError as error:
        parser.error(str(error))
    except Refused as refused:
        sys.exit(f"{refused}; choose another name by --name")
    except (OSError, HandshakeFailed) as error:
        sys.exit(f"cannot connect to {arguments.url}: {error}")


if __name__ == "__main__":
    main()
