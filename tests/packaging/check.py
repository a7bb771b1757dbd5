"""The package as its users get it: built, installed into empty environments, and run there.

    python tests/packaging/check.py [--extra NAME …]

Needs the package `build` and pip's package index. Every extra has an environment of its own. The exit code is 1 when
something is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300
NEEDED_IN_SDIST = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt", "dev.py", "mkdocs.yml")
UNWANTED = re.compile(r"__pycache__|\.pyc$|\.db$|(^|/)\.(venv|ci|wireloom|mypy|ruff|pytest|hypothesis)|node_modules")
IN_WHEEL = re.compile(r"wireloom/|wireloom-[\w.]+\.dist-info/")

HANDLERS = """\
from wireloom import App

app = App()
app.events()
"""
PYDANTIC = """\
from pydantic import BaseModel
from wireloom import websocket


class Said(BaseModel):
    text: str


@websocket("/say")
async def say(message: Said) -> Said:
    return message
"""
TESTED = """\
import pytest

from wireloom import App, websocket

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@websocket("/echo")
async def echo(message: str) -> str:
    return message


async def test_echo(wireloom_server):
    async with wireloom_server(App([echo])) as server, server.websocket("/echo") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "hello"
"""
MISSING = {  # without an extra, what is asked of `serve` and who is named in the answer
    "redis": ["--backplane", "redis://127.0.0.1:1"],
    "nats": ["--backplane", "nats://127.0.0.1:1"],
    "postgres": ["--database", "postgresql://u@127.0.0.1:1/n"],
}


class Environment:
    """An environment with the wheel and one extra.

    Args:
        folder: where it is made.
        wheel: what is installed.
        extra: its name; empty: none.
    """

    def __init__(self, folder: Path, wheel: Path, extra: str) -> None:
        self.folder = folder
        self.binaries = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
        venv.create(folder / "env", with_pip=True)
        what = f"{wheel}[{extra}]" if extra else str(wheel)
        self.run("python", "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), what)
        self.run("python", "-m", "pip", "check")

    @property
    def variables(self) -> dict[str, str]:
        """An environment in which no other Wireloom is found."""
        unwanted = ("PYTHONPATH", "VIRTUAL_ENV")
        return {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith("WIRELOOM_")}

    def command(self, name: str, *arguments: str) -> list[str]:
        """A command of the environment."""
        return [str(self.binaries / name), *arguments]

    def run(self, name: str, *arguments: str, code: int = 0) -> str:
        """Runs a command in the folder to its end; gives what it printed."""
        done = subprocess.run(
            self.command(name, *arguments),
            cwd=self.folder,
            env=self.variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode == code, f"{name} {' '.join(arguments)} gave {done.returncode}:\n{done.stdout}"
        return done.stdout

    def write(self, name: str, text: str) -> None:
        """Writes a file where commands run."""
        (self.folder / name).write_text(text, encoding="utf-8")

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[str]:
        """Runs ``wireloom …`` meanwhile; gives its HTTP URL."""
        command = self.command("wireloom", *arguments, "--port", "0")
        with subprocess.Popen(
            command, cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                found = re.search(r"http://\S+", line)
                assert found, f"{command} said {line!r}"
                yield found[0]
            finally:
                server.terminate()
                server.wait(LIMIT_SECONDS)


# -- what each extra is for --------------------------------------------------------------------------------------------


def check_bare(env: Environment) -> None:
    """Commands, the demo and a client, and what is said without extras."""
    version = env.run("wireloom", "--version")
    assert version == env.run("python", "-m", "wireloom", "--version") and version.startswith("Wireloom "), version
    with env.serving("demo") as url:
        with urllib.request.urlopen(url, timeout=10) as page:
            assert b"<html" in page.read()
        said = '{"text":"hello","user":"Alice"}'
        room = f"ws{url.removeprefix('http')}/chat/lobby"
        heard = env.run("wireloom", "connect", room, "--send", said, "--timeout", "2")
        assert '"text":"hello"' in heard, heard
        with urllib.request.urlopen(f"{url}/docs", timeout=10) as page:
            assert b"<html" in page.read()
    env.write("app.py", HANDLERS)
    assert env.run("wireloom", "check", "app.py") == "ok: 1 endpoint\n"
    for extra, options in MISSING.items():
        told = env.run("wireloom", "serve", "app.py", "--port", "0", *options, code=1)
        assert told.endswith(f"needs the extra: pip install 'wireloom[{extra}]'\n") and told.count("\n") == 1, told
    told = env.run("wireloom", "connect", "ws://127.0.0.1:1", "--proxy", "http://127.0.0.1:1", code=1)
    assert told == "a proxy needs the extra: pip install 'wireloom[proxy]'\n", told
    env.run("python", "-c", "import wireloom.testing")


def check_backplane(scheme: str) -> Callable[[Environment], None]:
    """A backplane that is not there is told; the package for it is."""

    def check(env: Environment) -> None:
        env.write("app.py", HANDLERS)
        told = env.run("wireloom", "serve", "app.py", "--port", "0", "--backplane", f"{scheme}://127.0.0.1:1", code=1)
        assert "cannot be used" in told and told.count("\n") == 1, told

    return check


def check_postgres(env: Environment) -> None:
    """A database that is not there is told; the package for it is."""
    env.write("app.py", HANDLERS)
    told = env.run("wireloom", "serve", "app.py", "--port", "0", "--database", "postgresql://u@127.0.0.1:1/n", code=1)
    assert told.startswith("cannot open the PostgreSQL database n") and told.count("\n") == 1, told


def check_otel(env: Environment) -> None:
    """The API is there."""
    env.run("python", "-c", "import opentelemetry.trace, wireloom; wireloom.App()")


def check_pydantic(env: Environment) -> None:
    """Models are messages."""
    env.write("models.py", PYDANTIC)
    assert "Said" in env.run("wireloom", "routes", "models.py")


def check_proxy(env: Environment) -> None:
    """A proxy is asked, though it is not there."""
    told = env.run("wireloom", "connect", "ws://127.0.0.1:1", "--proxy", "http://127.0.0.1:1", code=1)
    assert "pip install" not in told and told.count("\n") == 1, told


def check_test(env: Environment) -> None:
    """pytest finds the plugin."""
    env.write("test_app.py", TESTED)
    assert "1 passed" in env.run("python", "-m", "pytest", "-q", "test_app.py")


CHECKS: dict[str, Callable[[Environment], None]] = {
    "": check_bare,
    "redis": check_backplane("redis"),
    "nats": check_backplane("nats"),
    "postgres": check_postgres,
    "otel": check_otel,
    "pydantic": check_pydantic,
    "proxy": check_proxy,
    "test": check_test,
}


# -- building ----------------------------------------------------------------------------------------------------------


def build(folder: Path) -> Path:
    """Builds the source archive, and the wheel from that; looks at both and gives the wheel."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_SECONDS)
    assert built.returncode == 0, built.stdout
    [wheel], [archive] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        look("wheel", packed.namelist(), files_of("src/wireloom", "src"))
        strange = [name for name in packed.namelist() if not IN_WHEEL.match(name)]
        assert not strange, f"the wheel has {strange}"
    with tarfile.open(archive) as unpacked:
        needed = (*NEEDED_IN_SDIST, *files_of("src", "."), *files_of("tests", "."), *files_of("docs", "."))
        look("source archive", [name.partition("/")[2] for name in unpacked.getnames()], needed)
    return wheel


def files_of(folder: str, above: str) -> tuple[str, ...]:
    """Every file of a folder of the repository, by its path from another one."""
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [path.relative_to(ROOT / above).as_posix() for path in files]
    return tuple(path for path in paths if not UNWANTED.search(path))


def look(what: str, names: list[str], needed: Sequence[str]) -> None:
    """Whether all is there that is needed, and nothing that nobody wants."""
    missing, unwanted = set(needed) - set(names), list(filter(UNWANTED.search, names))
    assert not missing and not unwanted, f"the {what} lacks {missing} and has {unwanted}"


def main() -> int:
    """Builds once and checks every extra, two at a time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extra", action="append", choices=sorted(CHECKS), help="only this; may be repeated")
    extras = parser.parse_args().extra or list(CHECKS)
    with tempfile.TemporaryDirectory(prefix="wireloom-packaging-") as folder:
        wheel = build(Path(folder))
        print(f"built {wheel.name}", flush=True)

        def check(extra: str) -> bool:
            begun, place = time.monotonic(), Path(folder) / (extra or "bare")
            place.mkdir()
            try:
                CHECKS[extra](Environment(place, wheel, extra))
            except (AssertionError, subprocess.SubprocessError, OSError) as error:
                print(f"{extra or 'bare'}: {error}", flush=True)
                return False
            print(f"{extra or 'bare'}: ok, {time.monotonic() - begun:.0f} s", flush=True)
            return True

        with ThreadPoolExecutor(2) as pool:
            return 0 if all(list(pool.map(check, extras))) else 1


if __name__ == "__main__":
    sys.exit(main())
