// -- a WebSocket that comes back --------------------------------------------------------------------------------------

import {
  BEARER,
  type ClientSettings,
  COME_BACK,
  ConnectionClosed,
  currentToken,
  Deferred,
  isObject,
  MAX_DELAY_MS,
  PROVEN_MS,
  QueueFull,
  type State,
} from "./options.js";

export interface LastingListener {
  /** A connection has opened: what is sent here goes before what has waited. */
  opened(): void;
  message(data: string | Uint8Array): void;
  /** The connection is lost; whoever waits on it waits in vain. */
  lost(error: ConnectionClosed): void;
  over(): void;
  state(state: State): void;
}

export class Lasting {
  state: State = "away";
  #socket: WebSocket | null = null; // open, or about to be
  #isOpen = false;
  #isClosing = false;
  #failures = 0;
  #openedAt = 0;
  #isProven = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #queue: (string | Uint8Array)[] = [];
  #queueBytes = 0;
  #moved = new Deferred<void>(); // resolved while connected, rejected when over
  #gone = new Deferred<void>(); // resolved when the open connection is lost
  #closed = new Deferred<void>();
  ending = new ConnectionClosed(1006, "");

  constructor(
    private readonly url: string,
    private readonly protocols: readonly string[],
    private readonly settings: ClientSettings,
    private readonly listener: LastingListener,
  ) {
    void this.#open();
  }

  async connected(): Promise<void> {
    while (!this.#canSend()) {
      if (this.#isClosing || this.state === "over") throw this.ending;
      await (this.#isOpen ? this.#gone : this.#moved).promise;
    }
  }

  /** Whether it is sent now; else it waits. */
  send(data: string | Uint8Array): boolean {
    if (this.#isClosing || this.state === "over") throw this.ending;
    const isNow = this.#canSend();
    if (isNow) this.sendNow(data);
    else this.#keep(data);
    return isNow;
  }

  #canSend(): boolean {
    return this.#isOpen && this.#socket?.readyState === 1; // no longer open while it closes
  }

  sendNow(data: string | Uint8Array): void {
    this.#socket?.send(data as Uint8Array<ArrayBuffer>);
  }

  /** Is done with this connection and wants another. */
  renew(): void {
    if (this.#isOpen && this.#socket !== null) {
      const socket = this.#socket;
      this.#detach(socket);
      socket.close();
      this.#lose(new ConnectionClosed(1000, "given up"));
      this.#later(0);
    }
  }

  close(code = 1000, reason = ""): Promise<void> {
    if (!this.#isClosing && this.state !== "over") {
      if (this.#socket !== null && this.#isOpen) this.#socket.close(code, reason); // an error leaves all as it was
      this.#isClosing = true;
      this.ending = new ConnectionClosed(code, reason);
      clearTimeout(this.#timer);
      if (!this.#isOpen) {
        if (this.#socket !== null) {
          this.#detach(this.#socket);
          this.#socket.close();
        }
        this.#finish();
      }
    }
    return this.#closed.promise;
  }

  async #open(): Promise<void> {
    let token: string | null;
    try {
      token = await currentToken(this.protocols.includes(BEARER) ? this.settings.token : undefined);
    } catch {
      this.#fail(new ConnectionClosed(1006, "the function for the token has failed"));
      return;
    }
    if (this.#isClosing) return;
    const offered = this.protocols.filter((name) => name !== BEARER);
    if (token !== null) offered.push(BEARER, token);
    let socket: WebSocket;
    try {
      socket = new (this.settings.WebSocket ?? WebSocket)(this.url, offered);
    } catch (error) {
      this.ending = new ConnectionClosed(1006, String(error)); // no URL, or a token that no header may have
      this.#finish();
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = (event: MessageEvent) => {
      this.#isProven = true;
      this.#failures = 0;
      this.listener.message(typeof event.data === "string" ? event.data : new Uint8Array(event.data as ArrayBuffer));
    };
    socket.onclose = (event: CloseEvent) => this.#ended(socket, new ConnectionClosed(event.code, event.reason));
    // Node 20 has no close event for a connection that never opened; all others have it right behind this one
    const failed = () => this.#isOpen || this.#ended(socket, new ConnectionClosed(1006, ""));
    socket.onerror = () => void setTimeout(failed, 0);
  }

  #detach(socket: WebSocket): void {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => undefined;
    this.#socket = null;
  }

  #opened(): void {
    this.#isOpen = true;
    this.#isProven = false;
    this.#openedAt = Date.now();
    this.#gone = new Deferred();
    this.listener.opened();
    const waiting = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    for (const data of waiting) this.sendNow(data);
    this.#setState("connected");
  }

  #ended(socket: WebSocket, ending: ConnectionClosed): void {
    if (this.#socket !== socket) return;
    this.#detach(socket);
    if (!this.#isOpen) {
      this.#fail(ending);
      return;
    }
    const isProven = this.#isProven || Date.now() - this.#openedAt >= PROVEN_MS;
    this.#failures = isProven ? 0 : this.#failures + 1;
    this.#lose(ending);
    const wanted = reconnectInMs(ending.reason);
    const known = COME_BACK.includes(ending.closeCode) || this.settings.comeBack.includes(ending.closeCode);
    const exhausted = !isProven && this.#failures >= this.settings.maxAttempts;
    if (this.#isClosing || exhausted || (wanted === null && !known)) this.#finish();
    else this.#later(wanted ?? 0);
  }

  #fail(ending: ConnectionClosed): void {
    this.ending = ending;
    this.#failures += 1;
    if (this.#isClosing || this.#failures >= this.settings.maxAttempts) this.#finish();
    else this.#later(0);
  }

  #lose(ending: ConnectionClosed): void {
    this.#isOpen = false;
    this.#gone.resolve();
    this.#moved = new Deferred();
    if (!this.#isClosing) {
      this.ending = ending;
      this.#setState("away");
    }
    this.listener.lost(this.ending);
  }

  #later(atLeastMs: number): void {
    const { backoffBaseSeconds, backoffCapSeconds } = this.settings;
    const ceiling = Math.min(backoffCapSeconds, backoffBaseSeconds * 2 ** Math.min(this.#failures, 50));
    this.#timer = setTimeout(() => void this.#open(), atLeastMs + Math.random() * ceiling * 1000);
  }

  #finish(): void {
    this.#queue = [];
    this.#setState("over");
    this.listener.lost(this.ending);
    this.listener.over();
    this.#moved.reject(this.ending);
    this.#closed.resolve();
  }

  #setState(state: State): void {
    this.state = state;
    if (state === "connected") this.#moved.resolve();
    this.listener.state(state);
  }

  #keep(data: string | Uint8Array): void {
    const size = typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength;
    if (this.#queue.length >= this.settings.maxQueue || this.#queueBytes + size > this.settings.maxQueueBytes) {
      throw new QueueFull(`away, and ${this.#queue.length} messages of ${this.#queueBytes} bytes wait`);
    }
    this.#queue.push(data);
    this.#queueBytes += size;
  }
}

/** How long a server wants to be left alone, by a reason such as `{"reconnect_in_ms": 1500}`. */
export function reconnectInMs(reason: string): number | null {
  try {
    const told: unknown = JSON.parse(reason);
    const wanted = isObject(told) ? told["reconnect_in_ms"] : undefined;
    return typeof wanted === "number" ? Math.min(Math.max(wanted, 0), MAX_DELAY_MS) : null;
  } catch {
    return null;
  }
}
