"""A chat server in one function: who is here, what they are called, and what they say, as JSON to everyone."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from wireloom import ConfigError, RequestError, create_server

__all__ = ["server"]

MAX_NAME, MAX_TEXT = 24, 500  # characters
PUBLIC = Path(__file__).parent / "public"
PAGES = {
    "/": ("index.html", "text/html"),
    "/chat.css": ("chat.css", "text/css"),
    "/chat.js": ("chat.js", "text/javascript"),
}
HEADERS = {"Content-Security-Policy": "default-src 'self'", "Cache-Control": "no-cache"}

people = {}  # WebSocket -> name; a plain dict will do, as this function runs on one thread


def handler(req):
    """Serves the page, and does what one message asks for."""
    if req.type == "http":
        return page(req)
    message = req.json
    if not isinstance(message, dict) or message.get("type") not in ACTIONS:
        raise RequestError("UNKNOWN_TYPE", f"a message is an object with a type: {', '.join(ACTIONS)}")
    ACTIONS[message["type"]](req.ws, message)
    return None


def page(req):
    """The page is three files."""
    if req.pathname not in PAGES:
        return {"status": 404, "body": {"error": "Not Found"}}
    if req.method not in ("GET", "HEAD"):
        return {"status": 405, "headers": {"Allow": "GET, HEAD"}, "body": {"error": "Method Not Allowed"}}
    name, kind = PAGES[req.pathname]
    return {"headers": HEADERS, "type": kind, "body": (PUBLIC / name).read_bytes()}


def join(ws, message):
    """Somebody says who they are; from now on they hear everything."""
    if ws in people:
        raise RequestError("HERE_ALREADY", f"You are here already, as {people[ws]}")
    people[ws] = free_name(ws, message)
    tell(ws, "welcome", name=people[ws], people=names())
    broadcast("joined", name=people[ws], people=names())


def rename(ws, message):
    """Somebody wants another name."""
    before = name_of(ws)
    people[ws] = free_name(ws, message)
    broadcast("renamed", before=before, name=people[ws], people=names())


def say(ws, message):
    """Somebody says something."""
    name, text = name_of(ws), message.get("text")
    if not isinstance(text, str) or not text.strip():
        raise RequestError("NO_TEXT", "A message needs a text")
    if len(text) > MAX_TEXT:
        raise RequestError("TOO_LONG", f"A message has at most {MAX_TEXT} characters, this has {len(text)}")
    broadcast("message", name=name, text=text.strip())


def leave(ws, message):
    """Somebody goes. What they have said and heard before still arrives."""
    ws.close(1000, "bye")


ACTIONS = {"join": join, "rename": rename, "message": say, "leave": leave}


def on_close(ws):
    """Somebody has gone, whichever way."""
    name = people.pop(ws, None)
    if name is not None:
        broadcast("left", name=name, people=names())


def names():
    """Who is here."""
    return sorted(people.values(), key=str.casefold)


def name_of(ws):
    """What somebody is called."""
    if ws not in people:
        raise RequestError("JOIN_FIRST", 'Join first: {"type": "join", "name": "…"}')
    return people[ws]


def free_name(ws, message):
    """The name that a message asks for, if it is one and nobody else has it."""
    name = message.get("name")
    name = " ".join(name.split()) if isinstance(name, str) else ""
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise RequestError("BAD_NAME", f"A name has 1 to {MAX_NAME} characters")
    if any(other.casefold() == name.casefold() for each, other in people.items() if each is not ws):
        raise RequestError("NAME_TAKEN", f"{name} is taken")
    return name


def tell(ws, kind, **members):
    """Sends one person an event."""
    ws.send(as_json(kind, members))


def broadcast(kind, **members):
    """Sends everyone an event."""
    text = as_json(kind, members)
    for ws in people:
        if ws.ready_state == 1:
            ws.send(text)


def as_json(kind, members):
    """An event and when it was."""
    return json.dumps({"type": kind, **members, "at": datetime.now(UTC).isoformat(timespec="milliseconds")})


server = create_server(handler, on_close=on_close)

if __name__ == "__main__":
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
        server.listen(port, callback=lambda: print(f"Open {server.url} in two windows; Ctrl-C stops", flush=True))
    except (ConfigError, ValueError) as error:
        sys.exit(f"server.py [PORT]: {error}")
