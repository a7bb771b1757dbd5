"""A real PostgreSQL server for tests, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

__all__ = ["POSTGRESQL_PASSWORD", "PostgreSQL", "find_postgresql"]

POSTGRESQL_PASSWORD = "s3cr3t-of-the-server"


class PostgreSQL:
    """A server on a free port of this machine, with its files in a directory of its own."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="wireloom-postgresql-"))
        self._runner: tuple[str, ...] = ()
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._folder, "postgres", "postgres")
            self._runner = ("runuser", "-u", "postgres", "--")
        self._count = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._initialise()
        self._start()

    def make_database(self) -> str:
        """An empty database; gives its URL."""
        self._count += 1
        name = f"test_{self._count}"
        arguments = ["-h", str(self._folder), "-p", str(self.port), "-U", "wireloom", "-c", f"CREATE DATABASE {name}"]
        self._run(self._binaries / "psql", *arguments, "postgres")
        return self.url(name)

    def url(self, name: str, password: str = POSTGRESQL_PASSWORD) -> str:
        """The URL of a database."""
        return f"postgresql://wireloom:{password}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Ends the server and removes its files."""
        self._run(self._binaries / "pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)

    def _initialise(self) -> None:
        file = self._folder / "password"
        file.write_text(POSTGRESQL_PASSWORD)
        if self._runner:
            shutil.chown(file, "postgres")
        how = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={file}", "-U", "wireloom", "--no-sync"]
        self._run(self._binaries / "initdb", "-D", str(self._folder / "data"), *how, "-E", "UTF8", "--locale=C")

    def _start(self) -> None:
        options = f"-p {self.port} -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        files = ["-D", str(self._folder / "data"), "-l", str(self._folder / "log")]
        self._run(self._binaries / "pg_ctl", *files, "-o", options, "-w", "start")

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [*self._runner, *map(str, command)], cwd="/", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def find_postgresql() -> Path | None:
    """Where the server's programs are."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "psql").exists()), None)
