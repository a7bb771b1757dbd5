"""Renews golden files: ``python tests/golden/renew.py``. Read the difference before you keep it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def renew() -> None:
    """Writes beside every source what it gives now."""
    from tests.golden.golden import BAD, GOOD, expected_beside, given_by, sources

    for folder in (BAD, GOOD):
        for source in sources(folder):
            given, path = given_by(source), expected_beside(source)
            if not path.is_file() or path.read_text(encoding="utf-8") != given:
                path.write_text(given, encoding="utf-8")
                print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    renew()
