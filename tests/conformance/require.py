"""require.py INDEX COUNT: every one of so many Autobahn cases is OK, NON-STRICT or INFORMATIONAL, and ended cleanly."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def main(index: str, count: str) -> int:
    """Prints the counts; 1 when a case is bad or missing."""
    [cases] = json.loads(Path(index).read_text()).values()
    bad = {
        number: (case["behavior"], case["behaviorClose"])
        for number, case in cases.items()
        if case["behavior"] not in GOOD or case["behaviorClose"] not in GOOD
    }
    print(f"Autobahn: {len(cases)} cases, {dict(Counter(case['behavior'] for case in cases.values()))}, bad: {bad}")
    return 1 if bad or len(cases) != int(count) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
