"""``wireloom client``: typed clients, from files and from running servers."""

from __future__ import annotations

from pathlib import Path

from .processes import Run, Start


def test_it_prints_or_writes_the_client(run: Run, directory: Path) -> None:
    printed = run("client", "--lang", "ts", "chat.py")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.startswith("// Made by `wireloom client` of Wireloom ")
    assert "// wireloom client --lang ts chat.py\n" in printed.stdout and "chat(" in printed.stdout

    for out, start in (("web/client.ts", "// "), ("client.py", "# ")):
        (directory / out).parent.mkdir(exist_ok=True)
        written = run("client", "chat.py", "--out", out)
        assert (written.returncode, written.stdout, written.stderr) == (0, "", f"{out} written\n")
        assert (directory / out).read_text().startswith(f"{start}Made by")


def test_check_says_whether_a_file_is_up_to_date(run: Run, directory: Path) -> None:
    missing = run("client", "chat.py", "--out", "client.ts", "--check")
    wanted = "client.ts is not there; write it: wireloom client --lang ts chat.py --out client.ts\n"
    assert (missing.returncode, missing.stderr) == (1, wanted)
    run("client", "chat.py", "--out", "client.ts")
    assert run("client", "chat.py", "--out", "client.ts", "--check").returncode == 0
    (directory / "client.ts").write_text("// mine")
    changed = run("client", "chat.py", "--out", "client.ts", "--check")
    assert (changed.returncode, (directory / "client.ts").read_text()) == (1, "// mine")
    assert "client.ts is not up to date" in changed.stderr


def test_a_running_server_gives_the_same_client(run: Run, start: Start) -> None:
    url = start("serve", "chat.py", "--port", "0").started()
    served, own = run("client", "--lang", "python", url), run("client", "--lang", "python", "chat.py")
    assert (served.returncode, served.stderr) == (0, "")
    assert served.stdout.splitlines()[2:] == own.stdout.splitlines()[2:]


def test_a_password_of_the_url_is_written_and_told_nowhere(run: Run, start: Start) -> None:
    url = start("serve", "chat.py", "--port", "0").started()
    written = run("client", "--lang", "python", url.replace("://", "://ann:hunter2@"))
    assert written.returncode == 0 and f"# wireloom client --lang python {url}\n" in written.stdout.replace("    ", "")
    failed = run("client", "--lang", "python", "http://ann:hunter2@127.0.0.1:1")
    assert failed.returncode == 1 and "http://127.0.0.1:1/openapi.json cannot be read" in failed.stderr
    assert "hunter2" not in written.stdout + written.stderr + failed.stdout + failed.stderr


def test_mistakes_are_told(run: Run, start: Start) -> None:
    told = {
        ("chat.py",): (2, "Say in which language: --lang ts or --lang python."),
        ("chat.py", "--out", "client.js"): (2, "Say in which language"),
        ("chat.py", "--lang", "ts", "--check"): (2, "--check needs --out FILE"),
        ("nowhere.py", "--lang", "ts"): (1, "there is no file 'nowhere.py'"),
        ("chat.py", "--out", "no/where/client.ts"): (1, "there is no folder 'no/where' to write client.ts to"),
        ("http://127.0.0.1:1", "--lang", "ts"): (1, "http://127.0.0.1:1/openapi.json cannot be read:"),
        ("http://127.0.0.1:1", "chat.py", "--lang", "ts"): (1, "it is the only TARGET then"),
    }
    for arguments, (code, message) in told.items():
        result = run("client", *arguments)
        assert (result.returncode, result.stdout) == (code, "") and message in result.stderr
    url = start("serve", "chat.py", "--port", "0", "--no-docs").started()
    silent = run("client", "--lang", "ts", url)
    assert silent.returncode == 1 and "answers 404; it may be served with `docs = false`" in silent.stderr
