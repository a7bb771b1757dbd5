"""The page on monitoring: its queries ask for metrics that there are."""

from __future__ import annotations

import re

import pytest
import yaml
from tests.docs.blocks import ROOT, blocks_of

from wireloom.net.metrics import ROWS

PAGE = ROOT / "docs" / "how-to" / "monitor.md"
KNOWN = {
    *(row.shown_name for row in ROWS),
    *(f"{row.name}{suffix}" for row in ROWS if row.kind == "histogram" for suffix in ("_bucket", "_count", "_sum")),
}


def test_every_metric_that_it_names_is_there() -> None:
    named = set(re.findall(r"\bwireloom_\w+", PAGE.read_text(encoding="utf-8"))) - {"wireloom_server"}
    assert len(named) > 8
    assert named <= KNOWN


@pytest.mark.parametrize("title", ["prometheus.yml", "alerts.yml"])
def test_what_prometheus_is_to_read_is_yaml_with_rules_that_ask_by_labels_that_there_are(title: str) -> None:
    [block] = [block for block in blocks_of(PAGE, "yaml") if block.title == title]
    read = yaml.safe_load(block.text)
    for rule in read.get("groups", [{"rules": []}])[0]["rules"]:
        [name] = re.findall(r"\b(?:wireloom|process)_\w+", rule["expr"])
        labels = {label for row in ROWS if row.shown_name == name for label in row.labels} | {"instance", "job"}
        asked = set(re.findall(r"by \((\w+)\)", rule["expr"])) | set(re.findall(r"labels\.(\w+)", str(rule)))
        assert asked <= labels, rule["alert"]
