"""An application behind the front."""

from __future__ import annotations

from typing import Any

from wireloom import App


def echo_app(**options: Any) -> App:
    app = App(**options)

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app
