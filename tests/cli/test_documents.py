"""``wireloom openapi`` and ``wireloom asyncapi``: documents without a server."""

from __future__ import annotations

import json

from openapi_spec_validator import validate

from .processes import Run


def test_openapi_prints_the_document(run: Run) -> None:
    result = run("openapi", "chat.py")
    assert (result.returncode, result.stderr) == (0, "")
    made = json.loads(result.stdout)
    validate(made)
    assert (made["openapi"], made["paths"]) == ("3.1.0", {})


def test_asyncapi_prints_the_document(run: Run) -> None:
    result = run("asyncapi", "chat.py")
    assert (result.returncode, result.stderr) == (0, "")
    made = json.loads(result.stdout)
    assert made["asyncapi"] == "3.0.0" and list(made["channels"]) == ["anything", "chat", "raw"]
    raw = made["channels"]["raw"]["messages"]
    assert [raw[name]["contentType"] for name in ("text_message", "binary_message")] == [
        "text/plain",
        "application/octet-stream",
    ]


def test_a_mistake_in_the_target_is_told(run: Run) -> None:
    for command in ("openapi", "asyncapi"):
        result = run(command, "nowhere.py")
        assert (result.returncode, result.stdout) == (1, "") and "nowhere.py" in result.stderr
