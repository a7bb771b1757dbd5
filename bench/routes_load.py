"""How long it takes to load declarative routes: ``python bench/routes_load.py [COUNT]``. 200 take less than 2 s."""

from __future__ import annotations

import sys
import time

from wireloom import App
from wireloom.faces.routes.document import File
from wireloom.faces.routes.loading import RouteFiles

ROUTE = """\
name: Room {n}
description: A room of the {n}th game.
path: /ws/game{n}/:room
ws_hooks:
  on_connect:
    - SetVar: {{name: score, value: 0}}
    - RedisOp: {{command: INCR, key: "players:{n}", output: players}}
    - WsOp: {{command: broadcast, channel: "{{{{ params.room }}}}", message: "{{{{ connection_id }}}} joined"}}
    - Return: {{value: "Game started! Player {{{{ players }}}}: {{{{ connection_id }}}}"}}
  on_message:
    - If:
        condition: message | length > 1000
        then: [Return: {{value: Message too long}}]
    - Switch:
        value: "{{{{ message | lower | trim }}}}"
        cases:
          - value: score
            operations:
              - SetVar: {{name: score, value: "{{{{ score + 1 }}}}"}}
              - WsOp: {{command: send, message: "Score: {{{{ score }}}}"}}
              - WsOp: {{command: broadcast, channel: players, message: "{{{{ connection_id }}}}: {{{{ score }}}}"}}
          - value: list
            operations:
              - SqlOp: {{operation: query, query: "SELECT * FROM players WHERE room = :room",
                        params: {{room: "{{{{ params.room }}}}"}}, output: rows}}
              - Map: {{input: "{{{{ rows }}}}", transform: "{{{{ item.name | upper }}}}", output: names}}
              - Return: {{value: "{{{{ names }}}}"}}
        default:
          - Try:
              operations:
                - Loop:
                    collection: "{{{{ json.items | default([]) }}}}"
                    var: one
                    body: [WsOp: {{command: send, message: "{{{{ index }}}}: {{{{ one }}}}"}}]
              catch: [Log: {{message: "failed: {{{{ error }}}}", level: warning}}]
  on_disconnect:
    - SqlOp: {{operation: execute, query: "UPDATE users SET online = false WHERE id = :id",
              params: {{id: "{{{{ connection_id }}}}"}}}}
"""

if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    texts = [ROUTE.format(n=number) for number in range(count)]
    begin = time.perf_counter()
    files = RouteFiles(File(f"{number}.yaml", text) for number, text in enumerate(texts))
    read = time.perf_counter()
    app = App()
    app.add(files)
    app.check()
    end = time.perf_counter()
    print(f"{count} routes: read {read - begin:.2f} s, compiled {end - read:.2f} s, {end - begin:.2f} s in all")
