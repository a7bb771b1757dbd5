"""Server: uvicorn with our front on its port."""

from __future__ import annotations

from typing import Any

import uvicorn

from wireloom.config import Config
from wireloom.net.front import Front, Upgraded

__all__ = ["uvicorn_config"]


def uvicorn_config(application: Any, config: Config, *, factory: bool = False) -> uvicorn.Config:
    """uvicorn's configuration for an application of ours.

    Args:
        application: the App, or with `factory` a picklable function that makes it.
        config: our options.
    """
    return uvicorn.Config(
        application,
        factory=factory,
        host=config.host,
        port=config.port,
        workers=config.workers,
        http=Front,
        ws=Upgraded,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
        proxy_headers=True,
        forwarded_allow_ips=config.forwarded_allow_ips,
        timeout_graceful_shutdown=max(1, round(config.drain_timeout_seconds)),
    )
