"""A FastAPI application with ours below ``/rt``; run with this directory as the current one."""

from __future__ import annotations

from fastapi import FastAPI
from serving import app

__all__ = ["host"]

host = FastAPI()


@host.get("/hello")
async def hello() -> dict[str, str]:
    """Something of the host's own."""
    return {"hello": "from the host"}


host.mount("/rt", app)
