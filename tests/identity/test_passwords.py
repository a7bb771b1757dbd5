"""Hashing: the algorithm, its parameters, and how much of it at once."""

from __future__ import annotations

import threading

import anyio
import pytest

from wireloom.identity import passwords
from wireloom.identity.passwords import Passwords
from wireloom.identity.refusal import Overloaded

from .kit import PASSWORD, REAL_WORK, WRONG

pytestmark = pytest.mark.anyio


async def test_the_algorithm_and_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "ITERATIONS", REAL_WORK["ITERATIONS"])
    monkeypatch.setattr(passwords, "MEMORY_KIB", REAL_WORK["MEMORY_KIB"])
    monkeypatch.setattr(passwords, "LANES", REAL_WORK["LANES"])
    stored = await Passwords().hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_a_password_fits_its_hash_only() -> None:
    hashing = Passwords()
    stored = await hashing.hash(PASSWORD)
    assert await hashing.verify(stored, PASSWORD)
    assert not await hashing.verify(stored, WRONG)
    assert not await hashing.verify(None, PASSWORD)
    assert not await hashing.verify("no hash", PASSWORD)
    assert stored != await hashing.hash(PASSWORD)


async def test_nobody_has_a_hash_of_the_same_form() -> None:
    """Argon2 reads it, and does the work: it is refused for the hash, not for its form."""
    hashing = Passwords()
    with pytest.raises(passwords.VerificationError) as caught:
        hashing._hasher.verify(hashing._nobody, PASSWORD)
    assert type(caught.value).__name__ == "VerifyMismatchError"
    assert not hashing.is_outdated(hashing._nobody)


class Hasher:
    """Remembers in which threads it hashed."""

    def __init__(self, threads: list[threading.Thread]) -> None:
        self.threads = threads

    def hash(self, password: str) -> str:
        self.threads.append(threading.current_thread())
        return "stored"


async def test_it_happens_in_a_worker_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    hashing = Passwords()
    monkeypatch.setattr(hashing, "_verify", lambda *_: threads.append(threading.current_thread()) or True)
    monkeypatch.setattr(hashing, "_hasher", Hasher(threads))
    await hashing.verify("stored", PASSWORD)
    await hashing.hash(PASSWORD)
    assert len(threads) == 2 and threading.main_thread() not in threads


async def test_a_few_at_once_and_not_too_many_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_MAX_WAITING", 3)
    hashing = Passwords()
    running, most, hold = 0, 0, threading.Event()
    lock = threading.Lock()

    def verify(stored: str, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert hold.wait(10)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(hashing, "_verify", verify)
    outcomes: list[bool] = []

    async def ask() -> None:
        outcomes.append(await hashing.verify("stored", PASSWORD))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        with anyio.fail_after(10):
            while hashing._limiter.statistics().tasks_waiting < 3 or running < 2:
                await anyio.lowlevel.checkpoint()
        with pytest.raises(Overloaded):
            await hashing.verify("stored", PASSWORD)
        with pytest.raises(Overloaded):
            await hashing.hash(PASSWORD)
        hold.set()
    assert (outcomes, most) == ([True] * 5, 2)
