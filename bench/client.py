"""A load client in plain asyncio, for where `wsload` cannot be built: the same modes, options and result keys.

Law: it counts only complete frames and checks every one, as wsload does; it is slower than the fastest servers, so what
it says of them is a lower bound (`client_cpu` near 1 shows it).

    python -m bench.client echo -P 9001 --path /echo -c 64 -p 1 -s 32 -d 5
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import math
import os
import sys
import time
from collections import Counter, deque
from typing import Any, cast

try:
    from uvloop import new_event_loop
except ImportError:  # it works without, slower
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["main"]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
LONGEST_HEAD_BYTES = 65_536
DRAIN_SECONDS = 2.0
now = time.perf_counter


class Histogram:
    """Times in logarithmic steps of 1 %, so that a long run takes no more memory than a short one."""

    def __init__(self) -> None:
        self.steps: Counter[int] = Counter()
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        self.steps[math.floor(math.log(max(seconds, 1e-9)) * 100)] += 1
        self.longest = max(self.longest, seconds)

    def quantile_us(self, quantile: float) -> float:
        wanted, seen = quantile * self.steps.total(), 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen > wanted:
                return math.exp((step + 0.5) / 100) * 1e6
        return self.longest * 1e6

    def summary(self) -> dict[str, float]:
        quantiles = {"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p999_us": 0.999}
        values = {key: self.quantile_us(quantile) for key, quantile in quantiles.items()}
        return {key: round(value, 1) for key, value in {**values, "max_us": self.longest * 1e6}.items()}


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole client frame, masked (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8)
    mask = os.urandom(4)
    stream = mask * (size // 4 + 1)
    masked = int.from_bytes(payload) ^ int.from_bytes(stream[:size])
    return head + mask + masked.to_bytes(size)


class Connection(asyncio.Protocol):
    """One WebSocket: handshake, frames in, whole messages to the load."""

    def __init__(self, load: Load, path: str, is_publisher: bool = False) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.path = path
        self.is_publisher = is_publisher
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.started = now()
        self.sent: deque[float] = deque()  # when each unanswered message left
        self.received = 0
        self.owed = 0  # messages to send when this read is done
        self.is_open = False
        self.is_closing = False
        self._rest = b""
        self._message: bytearray | None = None
        self._opcode = 0
        self._key = base64.b64encode(os.urandom(16))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self.transport.write(
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % (self.path.encode(), self.load.options.port, self._key)
        )

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self.is_open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                if len(head) > LONGEST_HEAD_BYTES:
                    self.abort()
                return
            if not self._accepted(head):
                print(f"handshake refused: {head.splitlines()[0].decode(errors='replace')}", file=sys.stderr)
                self.abort()
                return
            self.is_open = True
            self.load.open += 1
            self.load.on_open(self)
            self.opened.set_result(True)
        self._read_frames(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_result(False)
        self.load.closed_by_server += self.is_open and not self.is_closing
        self.is_open = False

    def write(self, data: bytes) -> None:
        if self.is_open and self.transport:
            self.transport.write(data)

    def abort(self) -> None:
        if self.transport:
            self.transport.abort()

    def close(self) -> None:
        if self.is_open and not self.is_closing:
            self.write(frame(CLOSE, b"\x03\xe8"))
            self.is_closing = True

    def _accepted(self, head: bytes) -> bool:
        status, *lines = head.split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        expected = base64.b64encode(hashlib.sha1(self._key + ACCEPT_GUID).digest())
        return status.startswith(b"HTTP/1.1 101") and headers.get(b"sec-websocket-accept") == expected

    def _read_frames(self, data: bytes) -> None:
        position, size = 0, len(data)
        while size - position >= 2:
            first, length = data[position], data[position + 1]
            start = position + 2
            if first & 0x70 or length & 0x80:  # a reserved bit, or a masked server frame
                return self._protocol_error()
            if length >= 126:
                width = 2 if length == 126 else 8
                if size - start < width:
                    break
                length = int.from_bytes(data[start : start + width])
                start += width
            if size - start < length:
                break
            position = start + length
            self._on_frame(first & 0x80, first & 0x0F, data[start:position])
            if self.transport and self.transport.is_closing():
                return
        self._rest = data[position:]
        self.load.on_read(self)

    def _on_frame(self, final: int, opcode: int, payload: bytes) -> None:
        if opcode in (TEXT, BINARY) and self._message is None:
            if final:
                self.load.on_message(self, opcode, payload)
            else:
                self._opcode, self._message = opcode, bytearray(payload)
        elif opcode == 0 and self._message is not None:
            self._message += payload
            if final:
                whole, self._message = bytes(self._message), None
                self.load.on_message(self, self._opcode, whole)
        elif opcode == PING:
            self.write(frame(PONG, payload))
        elif opcode == CLOSE:
            if not self.is_closing:
                self.write(frame(CLOSE, payload[:2]))
            if self.transport:
                self.transport.close()
        elif opcode != PONG:
            self._protocol_error()

    def _protocol_error(self) -> None:
        self.load.protocol_errors += 1
        self.abort()


class Load:
    """What all modes share: opening and closing connections, the measured window, the common result keys."""

    mode = ""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.connections: list[Connection] = []
        self.times = Histogram()
        self.open = self.failed = self.closed_by_server = self.protocol_errors = self.wrong = self.other_frames = 0
        self.measure_from = math.inf
        self.measure_to = math.inf
        self.progress = 0

    def on_open(self, connection: Connection) -> None:
        """A handshake succeeded."""

    def on_message(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """A whole message came."""

    def on_read(self, connection: Connection) -> None:
        """All messages of one read have been handled."""

    async def measure(self) -> dict[str, Any]:
        """The load itself, once all connections stand."""
        raise NotImplementedError

    async def run(self) -> dict[str, Any]:
        opening = now()
        paths = [(self.options.path, False)] * self.options.connections
        await self.open_all(paths + ([(self.options.pub_path, True)] if self.options.pub_path else []))
        self.opening_seconds = now() - opening
        result = await self.measure() if self.open else {"error": "no connection"}
        result = {"mode": self.mode, **result, **self.troubles()}
        await self.close_all()
        return result

    async def open_all(self, paths: list[tuple[str, bool]]) -> None:
        waiting = deque(enumerate(paths))

        async def open_some() -> None:
            while waiting:
                await self.open_one(*waiting.popleft())

        await asyncio.gather(*(open_some() for _ in range(self.options.concurrent)))

    async def open_one(self, number: int, path: tuple[str, bool]) -> None:
        source = (f"127.0.0.{1 + number % self.options.sources}", 0) if self.options.sources > 1 else None
        connection = Connection(self, *path)
        self.connections.append(connection)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.options.timeout):
                await loop.create_connection(lambda: connection, "127.0.0.1", self.options.port, local_addr=source)
                opened = await connection.opened
        except OSError:  # a timeout too
            opened = False
            connection.abort()
        self.failed += not opened

    async def close_all(self) -> None:
        for connection in self.connections:
            connection.close()
        await self.until(lambda: not any(connection.is_open for connection in self.connections), DRAIN_SECONDS)

    async def until(self, done: Any, seconds: float) -> None:
        end = now() + seconds
        while not done() and now() < end:  # noqa: ASYNC110 - for many connections at once, a look now and then is cheap
            await asyncio.sleep(0.01)

    async def window(self) -> tuple[float, float]:
        """Warm up, measure, then drain; gives the measured seconds and this client's share of a core in them."""
        self.measure_from = now() + self.options.warm_up
        self.measure_to = self.measure_from + self.options.seconds
        await asyncio.sleep(self.options.warm_up)
        cpu, begin = time.process_time(), now()
        await self.load_until(self.measure_to)
        elapsed = now() - begin
        share = (time.process_time() - cpu) / elapsed
        self.stop()
        seen = -1
        end = now() + DRAIN_SECONDS
        while self.progress != seen and now() < end:  # ends when 0.3 s brought nothing new
            seen = self.progress
            await asyncio.sleep(0.3)
        return elapsed, round(share, 3)

    async def load_until(self, end: float) -> None:
        """Wait for the end of the window; an open loop sends meanwhile."""
        await asyncio.sleep(max(0.0, end - now()))

    def stop(self) -> None:
        """The window is over: freeze the counts, send no more."""

    def troubles(self) -> dict[str, int]:
        keys = ("open", "failed", "closed_by_server", "protocol_errors", "wrong", "other_frames")
        return {key: getattr(self, key) for key in keys}


class Echo(Load):
    """Closed loop: each connection keeps `-p` messages in flight."""

    mode = "echo"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        text = options.text if options.text is not None else "".join(chr(97 + i % 26) for i in range(options.size))
        self.frame = frame(TEXT, text.encode())
        self.expected = (options.expect_text or text).encode()
        self.stopped = False
        self.counted = self.counted_in_window = 0

    def on_message(self, connection: Connection, opcode: int, payload: bytes) -> None:
        if not connection.sent:
            self.other_frames += 1
            return
        sent, received = connection.sent.popleft(), now()
        self.progress += 1
        if opcode != TEXT or payload != self.expected:
            self.wrong += 1
        if sent >= self.measure_from:
            self.times.add(received - sent)
            self.counted += 1
        if not self.stopped:
            connection.owed += 1

    def on_read(self, connection: Connection) -> None:
        if connection.owed:
            self.send(connection, connection.owed)
            connection.owed = 0

    def send(self, connection: Connection, count: int) -> None:
        connection.sent.extend([now()] * count)
        connection.write(self.frame * count)

    def stop(self) -> None:
        self.stopped, self.counted_in_window = True, self.counted

    async def measure(self) -> dict[str, Any]:
        for connection in self.connections:
            if connection.is_open:
                self.send(connection, self.options.in_flight)
        elapsed, share = await self.window()
        unanswered = sum(len(connection.sent) for connection in self.connections)
        rate = round(self.counted_in_window / elapsed, 1)
        return {"msgs_per_s": rate, **self.times.summary(), "unanswered": unanswered, "client_cpu": share}


class FanOut(Load):
    """One publisher, many subscribers: closed loop, or with `--rate` an open one."""

    mode = "fanout"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.frame = frame(TEXT, options.text.encode())
        self.published: list[float] = []
        self.delivered: list[int] = []
        self.measured = self.measured_in_window = self.deliveries = self.deliveries_in_window = self.extra = 0
        self.running = self.stopped = False

    def publish(self, at: float) -> None:
        self.published.append(at)
        self.delivered.append(0)
        self.measured += at >= self.measure_from
        self.publisher.write(self.frame)

    def on_message(self, connection: Connection, opcode: int, payload: bytes) -> None:
        number = connection.received
        if connection.is_publisher or not self.running:
            self.other_frames += 1
            return
        if number >= len(self.published):
            self.extra += 1
            return
        connection.received += 1
        self.progress += 1
        if opcode != TEXT or payload != self.options.text.encode():
            self.wrong += 1
        sent = self.published[number]
        if sent >= self.measure_from:
            self.deliveries += 1
            self.times.add(now() - sent)
        self.delivered[number] += 1
        is_last = self.delivered[number] == self.options.connections and number + 1 == len(self.published)
        if is_last and not self.options.rate and not self.stopped:
            self.publish(now())

    async def load_until(self, end: float) -> None:
        if not self.options.rate:
            return await super().load_until(end)
        due, step = now(), 1 / self.options.rate
        while due < end:
            while due <= now() and due < end:
                self.publish(due)
                due += step
            await asyncio.sleep(max(0.0, due - now()))

    def stop(self) -> None:
        self.stopped = True
        self.measured_in_window, self.deliveries_in_window = self.measured, self.deliveries

    async def measure(self) -> dict[str, Any]:
        await asyncio.sleep(self.options.settle)
        self.running = True
        self.publisher = next(connection for connection in self.connections if connection.is_publisher)
        if not self.options.rate:
            self.publish(now())
        elapsed, share = await self.window()
        return {
            "deliveries_per_s": round(self.deliveries_in_window / elapsed, 1),
            "publishes_per_s": round(self.measured_in_window / elapsed, 2),
            **self.times.summary(),
            "lost": max(0, self.measured_in_window * self.options.connections - self.deliveries),
            "extra": self.extra,
            "client_cpu": share,
        }


class Connect(Load):
    """Handshakes as fast as they come, `--conc` at a time."""

    mode = "connect"

    def on_open(self, connection: Connection) -> None:
        self.times.add(now() - connection.started)
        if self.options.close_each:
            connection.close()

    async def measure(self) -> dict[str, Any]:
        share = time.process_time() / self.opening_seconds  # this process has done nothing else
        return {
            "handshakes_per_s": round(self.open / self.opening_seconds, 1),
            **self.times.summary(),
            "client_cpu": round(min(share, 1.0), 3),
        }


class Idle(Load):
    """Connections that stand still, then prove that they live."""

    mode = "idle"

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.proved = 0

    def on_message(self, connection: Connection, opcode: int, payload: bytes) -> None:
        connection.received += 1
        self.proved += connection.received == 1

    async def measure(self) -> dict[str, Any]:
        print(f"READY {self.open}", flush=True)
        await asyncio.sleep(self.options.hold)
        alive = self.open - self.closed_by_server
        if self.options.prove:
            for connection in self.connections:
                if connection.is_open:
                    connection.write(frame(TEXT, self.options.prove.encode()))
            await self.until(lambda: self.proved >= alive, self.options.timeout)
        return {"open_seconds": round(self.opening_seconds, 3), "alive_after_hold": alive, "proved": self.proved}


MODES: dict[str, type[Load]] = {load.mode: load for load in (Echo, FanOut, Connect, Idle)}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("-P", dest="port", type=int, default=9001)
    parser.add_argument("-c", dest="connections", type=int, default=64)
    parser.add_argument("-p", dest="in_flight", type=int, default=1)
    parser.add_argument("-s", dest="size", type=int, default=32)
    parser.add_argument("-d", dest="seconds", type=float, default=5)
    parser.add_argument("-w", dest="warm_up", type=float, default=1)
    parser.add_argument("--conc", dest="concurrent", type=int, default=64)
    parser.add_argument("--src", dest="sources", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0)
    for option, default in (("hold", 10.0), ("settle", 0.3), ("timeout", 10.0)):
        parser.add_argument(f"--{option}", type=float, default=default)
    for option, text in (("path", "/"), ("pub-path", None), ("text", None), ("expect-text", None), ("prove", None)):
        parser.add_argument(f"--{option}", default=text)
    parser.add_argument("--close-each", action="store_true")
    parser.add_argument("--json", action="store_true", help="always on: for wsload's sake")
    return parser.parse_args(arguments)


def main() -> int:
    """Run one load and print its result as one JSON line."""
    options = parse()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        result = runner.run(MODES[options.mode](options).run())
    print(json.dumps(result), flush=True)
    wanted = options.connections + bool(options.pub_path)
    return int(result["open"] != wanted or bool(result["wrong"] or result["protocol_errors"]))


if __name__ == "__main__":
    sys.exit(main())
