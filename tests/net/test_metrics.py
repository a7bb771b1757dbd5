"""``/metrics``: what is counted, under which names, and who may read it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypedDict

import httpx
import pytest
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.net.raw import RawPeer
from wireloom import App, Connection, Deny, Disconnect, Hub, Request, RequestError, Walker, entry, spec
from wireloom.errors import ConfigError
from wireloom.graph.node import Root
from wireloom.metrics import SECONDS, Counts, EndpointCounts
from wireloom.net.metrics import ROWS
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio
