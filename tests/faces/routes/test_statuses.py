"""Responses of HTTP routes that have no body, and the table of codes that documents show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import wireloom.faces.routes
from wireloom import App
from wireloom.faces.routes.failure import CODES
from wireloom.testing import TestServer

# As the first argument behind the message: `Failure("…", "CODE")`, `OutOfFuel(…, "CODE")`.
CODE = re.compile(r"(?:Failure|OutOfFuel)\([^\n]*\"([A-Z_]+)\"\)|return \w*Failure\([^\n]*, \"([A-Z_]+)\"\)")


@pytest.mark.anyio
async def test_a_status_without_a_body_has_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = {status: {"status": status, "value": "x", "headers": {"X-A": "b"}} for status in (204, 205, 304)}
    routes = [{"path": f"/{status}", "logic": [{"Return": answer}]} for status, answer in answers.items()]
    (tmp_path / "routes.json").write_text(json.dumps(routes))
    app = App()
    app.add_routes(tmp_path)
    async with TestServer(app) as server:
        for status in answers:
            answer = await server.http.get(f"/{status}")
            assert (answer.status_code, answer.content, answer.headers["x-a"]) == (status, b"", "b")
            assert "content-type" not in answer.headers
    assert "Exception" not in caplog.text


def test_the_documents_know_every_code() -> None:
    folder = Path(wireloom.faces.routes.__file__).parent
    found = {
        code
        for file in folder.rglob("*.py")
        for match in CODE.finditer(file.read_text(encoding="utf-8"))
        for code in match.groups()
        if code
    }
    assert found >= {"NOT_SET", "OUT_OF_TIME", "NO_CHANNEL"}
    assert found - CODES.keys() == set()
