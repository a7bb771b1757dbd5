#!/usr/bin/env python3
"""Sets up a virtual environment beside this file and runs the demo, the tests, or any command in it.

    python3 dev.py demo [options of `wireloom demo`]
    python3 dev.py test [options of pytest]
    python3 dev.py run COMMAND …

Needs Python 3.11 or later and pip's package index, nothing else. The environment is made once for every Python version
and renewed when `pyproject.toml` or `constraints.txt` change.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / f".venv-{sys.version_info.major}.{sys.version_info.minor}"
BINARIES = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")


def main(arguments: list[str]) -> int:
    """Runs one of the three commands and gives its exit code."""
    if sys.version_info < (3, 11):
        print("Wireloom needs Python 3.11 or later; this is", sys.version.split()[0], file=sys.stderr)
        return 2
    commands = {"demo": ["wireloom", "demo"], "test": ["python", "-m", "pytest"], "run": []}
    if not arguments or arguments[0] not in commands or arguments == ["run"]:
        print(__doc__, file=sys.stderr)
        return 2
    command = [*commands[arguments[0]], *arguments[1:]]
    usual = "" if command[0] == "wireloom" else "dev"
    extras = os.environ.pop("WIRELOOM_EXTRAS", usual)  # no option of Wireloom's, which would refuse it
    prepare("dev" if arguments[0] == "test" else extras)
    os.environ["PATH"] = f"{BINARIES}{os.pathsep}{os.environ['PATH']}"
    os.chdir(HERE)
    command[0] = str(BINARIES / command[0])
    if sys.platform != "win32":
        os.execv(command[0], command)  # signals are the command's from now on, which ends in its own time
    return subprocess.call(command)


def prepare(extras: str) -> None:
    """Makes the environment when it is not there or not of these requirements."""
    wanted = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        wanted.update((HERE / name).read_bytes())
    stamp = ENVIRONMENT / "wireloom-requirements"
    made = stamp.read_text() if stamp.is_file() else ""
    if made in (f"{wanted.hexdigest()} {extras}", f"{wanted.hexdigest()} dev"):
        return
    print(f"setting up {ENVIRONMENT.name} …", file=sys.stderr)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    requirements = ["-c", str(HERE / "constraints.txt"), "-e", f"{HERE}[{extras}]" if extras else str(HERE)]
    subprocess.check_call([str(BINARIES / "python"), "-m", "pip", "install", "--quiet", *requirements])
    stamp.write_text(f"{wanted.hexdigest()} {extras}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)
