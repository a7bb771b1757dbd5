// Made by `wireloom client` of Wireloom 0.1.0. Do not edit; make it anew:
// wireloom client --lang ts application.py --out client.ts

// -- what all clients share -------------------------------------------------------------------------------------------

/** A token: a text, or a function that is asked for it at each connection and each request. */
export type Token = string | (() => string | null | undefined | Promise<string | null | undefined>);

/** `connected`; `away`: it will come back; `over`: it will not. */
export type State = "connected" | "away" | "over";

/** Query parameters of an endpoint that does not say which it takes. */
export type Query = Record<string, string | number | boolean | null | undefined | ReadonlyArray<string | number>>;

export interface ClientOptions {
  /** Of a user, where there are users. */
  token?: Token;
  /** For what asks for an API key. */
  apiKey?: string;
  /** Seconds until a request or subscription is given up; default 30. */
  timeoutSeconds?: number;
  /** Messages that wait while away, or for somebody who reads them; default 1,000. */
  maxQueue?: number;
  /** The same for those that wait while away, in UTF-8 bytes; default 4 MiB. */
  maxQueueBytes?: number;
  /** Failures in a row after which it is over; default: no limit. */
  maxAttempts?: number;
  /** Seconds; after n failures the delay is random between 0 and min(cap, base * 2 ** n). Default 0.5. */
  backoffBaseSeconds?: number;
  /** Seconds; default 30. */
  backoffCapSeconds?: number;
  /** Close codes after which to come back, besides those of the server's own table. */
  comeBack?: readonly number[];
  /** In place of the global one. */
  WebSocket?: typeof WebSocket;
  /** In place of the global one. */
  fetch?: typeof fetch;
}

/** The server has refused: with its code, and what else it told. */
export class RequestError extends Error {
  override readonly name: string = "RequestError";
  constructor(
    readonly code: string,
    message: string,
    /** The HTTP status, where it came by HTTP. */
    readonly status?: number,
    /** Where in the message, of an invalid one. */
    readonly path?: string,
    /** What the server's log has of it, of a bug. */
    readonly id?: string,
  ) {
    super(message);
  }
}

/** There is no connection any more; of a request: whether the server has handled it, nobody knows. */
export class ConnectionClosed extends Error {
  override readonly name: string = "ConnectionClosed";
  constructor(
    readonly closeCode: number,
    readonly reason: string,
  ) {
    super(`the connection is closed: ${closeCode} ${reason}`.trimEnd());
  }
}

/** No answer came in time. */
export class RequestTimeout extends Error {
  override readonly name: string = "RequestTimeout";
}

/** Too much waits to be sent or to be read. */
export class QueueFull extends Error {
  override readonly name: string = "QueueFull";
}

type ClientSettings = Required<Omit<ClientOptions, "token" | "apiKey" | "WebSocket" | "fetch">> & ClientOptions;
type JsonObject = Record<string, unknown>;
type ParameterValues = Readonly<Record<string, unknown>>;

const COME_BACK: readonly number[] = [1001, 1006, 1011, 1012, 1013, 1014, 4401];
const BEARER = "wireloom.bearer";
const PROVEN_MS = 10_000;
const MAX_DELAY_MS = 600_000;
const CHANNELS_IN_ONE_EVENT = 1000;

function settingsOf(options: ClientOptions): ClientSettings {
  const defaults = {
    timeoutSeconds: 30,
    maxQueue: 1000,
    maxQueueBytes: 4 * 1024 * 1024,
    maxAttempts: Infinity,
    backoffBaseSeconds: 0.5,
    backoffCapSeconds: 30,
    comeBack: [],
  };
  return { ...defaults, ...options };
}

async function currentToken(token: Token | undefined): Promise<string | null> {
  return (typeof token === "function" ? await token() : token) || null;
}

/** A path and query with their parameters in it. */
function targetOf(path: string, query: readonly string[], values: ParameterValues, further: Query = {}): string {
  const filled = path.replace(/\{([^/{}]+)\}/g, (_, name: string) => {
    const value = String(values[name] ?? "");
    if (value === "" || value === "." || value === "..") {
      throw new RangeError(`${name}: a segment of a path cannot be ${JSON.stringify(value)}`);
    }
    return encodeURIComponent(value);
  });
  const search = new URLSearchParams();
  const known = query.map((name) => [name, values[name]] as const);
  for (const [name, value] of [...known, ...Object.entries(further)]) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null) search.append(name, String(each));
    }
  }
  return search.size > 0 ? `${filled}?${search}` : filled;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An error as the server words it: text, or an object with code, message and perhaps path and id. */
function refusalOf(error: unknown, beside: JsonObject = {}, status?: number): RequestError {
  const told = isObject(error) ? error : { ...beside, message: error };
  const text = (name: string): string | undefined => (told[name] === undefined ? undefined : String(told[name]));
  return new RequestError(text("code") ?? "REFUSED", text("message") ?? "", status, text("path"), text("id"));
}

/** A promise with its ends outside. */
class Deferred<T> {
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
  constructor() {
    this.promise.catch(() => undefined); // whoever waited may have left
  }
}

/** What a promise gives, if it does so in time. */
async function within<T>(seconds: number, promise: Promise<T>, whatFor: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const after = Math.min(seconds * 1000, 2 ** 31 - 1);
    timer = setTimeout(() => reject(new RequestTimeout(`${whatFor}: no answer within ${seconds} s`)), after);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// -- a WebSocket that comes back --------------------------------------------------------------------------------------

interface LastingListener {
  /** A connection has opened: what is sent here goes before what has waited. */
  opened(): void;
  message(data: string | Uint8Array): void;
  /** The connection is lost; whoever waits on it waits in vain. */
  lost(error: ConnectionClosed): void;
  over(): void;
  state(state: State): void;
}

class Lasting {
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
function reconnectInMs(reason: string): number | null {
  try {
    const told: unknown = JSON.parse(reason);
    const wanted = isObject(told) ? told["reconnect_in_ms"] : undefined;
    return typeof wanted === "number" ? Math.min(Math.max(wanted, 0), MAX_DELAY_MS) : null;
  } catch {
    return null;
  }
}

// -- who hears what comes ---------------------------------------------------------------------------------------------

/** Calls a listener; what it throws is reported as errors of listeners are, and stops nobody else. */
function tell<T>(listeners: Iterable<(value: T) => unknown>, value: T): void {
  for (const listener of [...listeners]) {
    try {
      listener(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Messages for listeners and iterations; until the first of them they wait. */
class Inbox<T> {
  readonly #listeners = new Set<(message: T) => unknown>();
  readonly #readers = new Set<InboxReader<T>>();
  #backlog: T[] = [];
  #wasRead = false;
  #end: { error: Error | null } | null = null;

  constructor(private readonly most: number) {}

  put(message: T): void {
    if (!this.#wasRead) {
      this.#backlog.push(message);
      if (this.#backlog.length > this.most) this.#backlog.shift();
      return;
    }
    tell(this.#listeners, message);
    for (const reader of this.#readers) reader.put(message);
  }

  listen(listener: (message: T) => unknown): () => void {
    const waiting = this.#takeBacklog();
    this.#listeners.add(listener);
    for (const message of waiting) tell([listener], message);
    return () => void this.#listeners.delete(listener);
  }

  read(): AsyncIterableIterator<T> {
    const reader: InboxReader<T> = new InboxReader<T>(this.most, this.#takeBacklog(), () => this.#readers.delete(reader));
    this.#readers.add(reader);
    if (this.#end !== null) reader.end(this.#end.error);
    return reader;
  }

  end(error: Error | null): void {
    this.#end = { error };
    for (const reader of this.#readers) reader.end(error);
  }

  #takeBacklog(): T[] {
    const waiting = this.#backlog;
    this.#backlog = [];
    this.#wasRead = true;
    return waiting;
  }
}

class InboxReader<T> implements AsyncIterableIterator<T> {
  #waiting: Deferred<void> | null = null;
  #end: { error: Error | null } | null = null;

  constructor(
    private readonly most: number,
    private readonly queue: T[],
    private readonly leave: () => unknown,
  ) {}

  put(message: T): void {
    if (this.#end !== null) return;
    this.queue.push(message);
    if (this.queue.length > this.most) this.end(new QueueFull(`${this.most} messages wait to be read`));
    this.#waiting?.resolve();
  }

  end(error: Error | null): void {
    this.#end ??= { error };
    this.#waiting?.resolve();
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.queue.length === 0 && this.#end === null) {
      this.#waiting = new Deferred();
      await this.#waiting.promise;
    }
    if (this.queue.length > 0) return { value: this.queue.shift() as T, done: false };
    this.leave();
    const error = this.#end?.error ?? null;
    this.#end = { error: null };
    if (error !== null) throw error;
    return { value: undefined, done: true };
  }

  async return(): Promise<IteratorResult<T>> {
    this.leave();
    this.end(null);
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

// -- connections of endpoints -----------------------------------------------------------------------------------------

interface SocketEndpoint {
  readonly path: string;
  readonly query: readonly string[];
  /** Messages are JSON; else text or bytes as they are. */
  readonly json: boolean;
  /** How it tells errors; `none`: nothing tells them from messages. */
  readonly errors: "typed" | "walker" | "none";
  readonly protocols: readonly string[];
}

/** What all connections have in common. `Received` is what comes. */
abstract class BaseConnection<Received> implements AsyncIterable<Received> {
  protected readonly lasting: Lasting;
  protected readonly inbox: Inbox<Received>;
  readonly #errors = new Set<(error: RequestError) => unknown>();
  readonly #states = new Set<(state: State) => unknown>();

  constructor(
    protected readonly settings: ClientSettings,
    url: string,
    protocols: readonly string[],
  ) {
    this.inbox = new Inbox(settings.maxQueue);
    this.lasting = new Lasting(url, protocols, settings, {
      opened: () => this.opened(),
      message: (data) => this.arrived(data),
      lost: (error) => this.lost(error),
      over: () => this.inbox.end(isQuiet(this.lasting.ending) ? null : this.lasting.ending),
      state: (state) => tell(this.#states, state),
    });
  }

  get state(): State {
    return this.lasting.state;
  }

  /** Waits until there is a connection; rejects with `ConnectionClosed` when there will be none. */
  waitConnected(): Promise<void> {
    return this.lasting.connected();
  }

  /** Calls a function with each message; gives a function that ends this. */
  onMessage(listener: (message: Received) => unknown): () => void {
    return this.inbox.listen(listener);
  }

  /** Calls a function with errors that no request waits for. Without one, they are written to the console. */
  onError(listener: (error: RequestError) => unknown): () => void {
    this.#errors.add(listener);
    return () => void this.#errors.delete(listener);
  }

  onState(listener: (state: State) => unknown): () => void {
    this.#states.add(listener);
    return () => void this.#states.delete(listener);
  }

  /** All messages from now on, across connections. It ends when all is over, with `ConnectionClosed` where not wanted. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Received> {
    return this.inbox.read();
  }

  /** Ends it for good. What waits to be sent is dropped. */
  close(code = 1000, reason = ""): Promise<void> {
    return this.lasting.close(code, reason);
  }

  protected abstract opened(): void;
  protected abstract arrived(data: string | Uint8Array): void;
  protected abstract lost(error: ConnectionClosed): void;

  protected hasFailed(error: RequestError): void {
    if (this.#errors.size > 0) tell(this.#errors, error);
    else console.error(`${error.name}: ${error.code}: ${error.message}`);
  }
}

function isQuiet(ending: ConnectionClosed): boolean {
  return ending.closeCode === 1000 || ending.closeCode === 1005;
}

/** A connection of one endpoint. Comes back by itself; what is sent while it is away waits. */
export class Connection<Sent, Received> extends BaseConnection<Received> {
  constructor(
    settings: ClientSettings,
    base: string,
    private readonly endpoint: SocketEndpoint,
    parameters: ParameterValues,
    query: Query = {},
  ) {
    super(settings, base + targetOf(endpoint.path, endpoint.query, parameters, query), endpoint.protocols);
  }

  /** Sends a message; throws `QueueFull` or `ConnectionClosed`. */
  send(message: Sent): void {
    this.lasting.send(this.encode(message));
  }

  protected encode(message: Sent): string | Uint8Array {
    return this.endpoint.json ? JSON.stringify(message) : (message as string | Uint8Array);
  }

  protected opened(): void {}
  protected lost(_error: ConnectionClosed): void {}

  protected arrived(data: string | Uint8Array): void {
    const message = this.decode(data);
    if (message instanceof RequestError) this.hasFailed(message);
    else this.inbox.put(message);
  }

  protected decode(data: string | Uint8Array): Received | RequestError {
    const isText = typeof data === "string";
    if (!this.endpoint.json) return (isText ? failureIn(data) : null) ?? (data as Received);
    const text = isText ? data : new TextDecoder().decode(data);
    const message = parsed(text);
    if (message === undefined) return new RequestError("NOT_JSON", `what came is not JSON: ${text.slice(0, 100)}`);
    return this.#failure(message) ?? (message as Received);
  }

  #failure(message: unknown): RequestError | null {
    if (!isObject(message) || this.endpoint.errors === "none") return null;
    if (this.endpoint.errors === "walker") {
      return message["ok"] === false && "error" in message ? refusalOf(message["error"]) : null;
    }
    return typedFailure(message);
  }
}

/** The error of a message of a typed endpoint: `{"error", "code"?, "id"?, "details"?}`, or that it was no JSON. */
function typedFailure(message: JsonObject): RequestError | null {
  if (message["type"] === "error" && typeof message["message"] === "string" && Object.keys(message).length === 2) {
    return new RequestError("INVALID_JSON", message["message"]);
  }
  const names = Object.keys(message);
  if (typeof message["error"] !== "string" || !names.every((name) => ERROR_MEMBERS.includes(name))) return null;
  const fallback = "id" in message ? "INTERNAL_ERROR" : "VALIDATION_ERROR";
  return refusalOf(message["error"], { code: fallback, ...message });
}

const ERROR_MEMBERS: readonly string[] = ["error", "code", "id", "details"];

/** The same in a text of an endpoint that is not JSON. */
function failureIn(text: string): RequestError | null {
  if (!text.startsWith('{"error":')) return null;
  try {
    const message: unknown = JSON.parse(text);
    return isObject(message) ? typedFailure(message) : null;
  } catch {
    return null;
  }
}

interface ExpectedAnswer<Received> {
  /** Null: of a `send`; its answer is a message like any other. */
  readonly answer: Deferred<Received> | null;
}

/** A connection of an endpoint that answers each message with one, in their order. */
export class AnsweringConnection<Sent, Received> extends Connection<Sent, Received> {
  #expected: ExpectedAnswer<Received>[] = []; // of what was sent on this connection
  #kept: ExpectedAnswer<Received>[] = []; // of what waits to be sent
  #turn: Promise<unknown> = Promise.resolve();

  override send(message: Sent): void {
    const isNow = this.lasting.send(this.encode(message));
    (isNow ? this.#expected : this.#kept).push({ answer: null });
  }

  /**
   * Sends a message and gives the answer to it: what comes next, so publications on this connection would be taken for
   * one. Requests go one after another and are never sent twice.
   *
   * Rejects with `RequestError`, `ConnectionClosed` or `RequestTimeout`; after the last the connection is renewed, so
   * that a late answer is not taken for another's.
   */
  request(message: Sent): Promise<Received> {
    const text = this.encode(message);
    const mine = this.#turn.then(() => this.#request(text));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #request(text: string | Uint8Array): Promise<Received> {
    const answer = new Deferred<Received>();
    const all = async (): Promise<Received> => {
      await this.lasting.connected();
      if (gone) throw this.lasting.ending;
      this.lasting.sendNow(text);
      this.#expected.push({ answer });
      return answer.promise;
    };
    let gone = false;
    try {
      return await within(this.settings.timeoutSeconds, all(), "request");
    } catch (error) {
      gone = true;
      if (error instanceof RequestTimeout) this.lasting.renew();
      throw error;
    }
  }

  protected override opened(): void {
    this.#expected = this.#kept;
    this.#kept = [];
  }

  protected override lost(error: ConnectionClosed): void {
    const expected = this.#expected;
    this.#expected = [];
    for (const each of expected) each.answer?.reject(error);
  }

  protected override arrived(data: string | Uint8Array): void {
    const answer = this.#expected.shift()?.answer ?? null;
    if (answer === null) {
      super.arrived(data);
      return;
    }
    const message = this.decode(data);
    if (message instanceof RequestError) answer.reject(message);
    else answer.resolve(message);
  }
}

// -- the event socket -------------------------------------------------------------------------------------------------

/** Who and where a connection of the event socket is. */
export interface Whereabouts {
  client_id: string;
  root_id: string;
  channel_id: string;
  /** Why the token let nobody in. */
  auth_error?: string;
  /** Why the channel is another one. */
  channel_error?: string;
}

/** One connection for everything: named events, users, channels and other clients. `Data` is what others publish. */
export class EventSocket<Data = unknown> extends BaseConnection<Data> {
  readonly #waiting = new Map<string, Deferred<JsonObject>>();
  readonly #channels = new Set<string>();
  #whereabouts: Whereabouts | null = null;
  #isFirst = true;
  #isRefreshing = false;

  constructor(settings: ClientSettings, base: string, path: string) {
    super(settings, base + path, [BEARER]);
  }

  /** Who and where this connection is; null while there is none. */
  get whereabouts(): Whereabouts | null {
    return this.#whereabouts;
  }

  /** Hears channels, on this connection and on all that follow. Gives once the server has acknowledged it. */
  async subscribe(...channels: string[]): Promise<void> {
    await this.#changeChannels("subscribe", channels);
    for (const name of channels) this.#channels.add(name);
  }

  /** Hears channels no longer. */
  async unsubscribe(...channels: string[]): Promise<void> {
    for (const name of channels) this.#channels.delete(name);
    await this.#changeChannels("unsubscribe", channels);
  }

  /** Sends data to every connection of users, by their root ids. Nothing acknowledges it. */
  notifyUsers(rootIds: readonly string[], data: object): void {
    this.#send({ type: "user", root_ids: rootIds, data });
  }

  /** Sends data to every subscriber of channels. */
  notifyChannels(channelIds: readonly string[], data: object): void {
    this.#send({ type: "channel", channel_ids: channelIds, data });
  }

  /** Sends data to connections, by their client ids. */
  notifyClients(clientIds: readonly string[], data: object): void {
    this.#send({ type: "client", client_ids: clientIds, data });
  }

  /** Is the connection of a token's user from now on, or with null nobody's. The next one asks the `token` option. */
  async changeUser(token: string | null): Promise<Whereabouts> {
    const frame = await this.#ask({ type: "change_user", token });
    return (this.#whereabouts = frame["data"] as unknown as Whereabouts);
  }

  /** Calls what the server has under a name, and gives its reports. Typed as `call.NAME`. */
  async callByName(name: string, context: unknown): Promise<unknown[]> {
    const reply = await this.#ask({ type: "walker", walker: name, context: context ?? {}, response: true });
    return (reply["reports"] as unknown[] | undefined) ?? [];
  }

  #send(event: JsonObject): void {
    this.lasting.send(JSON.stringify(event));
  }

  #ask(event: JsonObject): Promise<JsonObject> {
    let isLate = false;
    const all = async (): Promise<JsonObject> => {
      await this.lasting.connected();
      if (isLate) throw this.lasting.ending;
      return await this.#begin(event);
    };
    return within(this.settings.timeoutSeconds, all(), String(event["type"])).finally(() => (isLate = true));
  }

  #begin(event: JsonObject): Promise<JsonObject> {
    const id = newId();
    const coming = new Deferred<JsonObject>();
    this.#waiting.set(id, coming);
    this.lasting.sendNow(JSON.stringify({ ...event, id }));
    return coming.promise;
  }

  async #changeChannels(type: string, channels: readonly string[]): Promise<void> {
    let isLate = false;
    const all = async (): Promise<void> => {
      while (!isLate) {
        await this.lasting.connected();
        try {
          await this.#begin({ type, channel_ids: channels });
          return;
        } catch (error) {
          // to be sent again, which does no harm to a subscription
          if (!(error instanceof ConnectionClosed) || this.state === "over") throw error;
        }
      }
    };
    await within(this.settings.timeoutSeconds, all(), type).finally(() => (isLate = true));
  }

  protected opened(): void {
    this.#isFirst = true;
    const names = [...this.#channels];
    for (let start = 0; start < names.length; start += CHANNELS_IN_ONE_EVENT) {
      const channel_ids = names.slice(start, start + CHANNELS_IN_ONE_EVENT);
      this.#begin({ type: "subscribe", channel_ids }).catch((error: unknown) => {
        if (error instanceof RequestError) this.hasFailed(error);
      });
    }
  }

  protected lost(error: ConnectionClosed): void {
    this.#whereabouts = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting) each.reject(error);
  }

  protected arrived(data: string | Uint8Array): void {
    const message = parsed(typeof data === "string" ? data : new TextDecoder().decode(data));
    if (isObject(message) && this.#isHandled(message)) return;
    this.inbox.put(message as Data);
  }

  #isHandled(message: JsonObject): boolean {
    if (this.#isFirst && message["type"] === "connection") {
      // Only the first frame is surely the server's own: what clients send each other may look like any other
      this.#isFirst = false;
      this.#whereabouts = message["data"] as unknown as Whereabouts;
      return true;
    }
    const id = message["id"];
    const coming = typeof id === "string" ? this.#waiting.get(id) : undefined;
    if (coming !== undefined) {
      this.#waiting.delete(id as string);
      if ("error" in message) coming.reject(refusalOf(message["error"]));
      else coming.resolve(message);
      return true;
    }
    if (message["type"] === "token_expiring") void this.#refresh();
    if (!("error" in message) || typeof message["type"] !== "string") return false;
    this.hasFailed(refusalOf(message["error"]));
    return true;
  }

  /** Before the login ends, another token is asked for where a function gives them. */
  async #refresh(): Promise<void> {
    if (typeof this.settings.token !== "function" || this.#isRefreshing) return;
    this.#isRefreshing = true;
    try {
      const token = await currentToken(this.settings.token);
      if (token !== null) await this.changeUser(token);
    } catch (error) {
      if (error instanceof RequestError) this.hasFailed(error);
    } finally {
      this.#isRefreshing = false;
    }
  }
}

/** An id that no other client can guess. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// -- HTTP -------------------------------------------------------------------------------------------------------------

interface HttpOperation {
  readonly method: string;
  readonly path: string;
  readonly query: readonly string[];
  /** What the body is: nothing, all that is no parameter, or a value beside the parameters. */
  readonly body: "none" | "rest" | "value";
  readonly auth: string;
  readonly isEnveloped: boolean;
}

class HTTP {
  constructor(
    private readonly settings: ClientSettings,
    private readonly base: string,
  ) {}

  async call<T>(operation: HttpOperation, parameters: object, value?: unknown, query: Query = {}): Promise<T> {
    const values = parameters as ParameterValues;
    const url = this.base + targetOf(operation.path, operation.query, values, query);
    const headers = await this.#headers(operation);
    const content = operation.body === "rest" ? restOf(values, operation) : value;
    const signal = AbortSignal.timeout(Math.min(this.settings.timeoutSeconds * 1000, 2 ** 31 - 1));
    const init: RequestInit = { method: operation.method, headers, signal };
    if (operation.body !== "none" && content !== undefined) init.body = bodyOf(content, headers);
    const [answer, text] = await this.#fetch(url, init);
    const told = parsed(text);
    if (!answer.ok) throw failureOf(answer.status, told);
    return (operation.isEnveloped && isObject(told) ? told["data"] : (told ?? text)) as T;
  }

  async #fetch(url: string, init: RequestInit): Promise<[Response, string]> {
    try {
      const answer = await (this.settings.fetch ?? fetch)(url, init);
      return [answer, await answer.text()];
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "TimeoutError") throw error;
      throw new RequestTimeout(`${init.method} ${url}: no answer within ${this.settings.timeoutSeconds} s`);
    }
  }

  async #headers(operation: HttpOperation): Promise<Record<string, string>> {
    const { token, apiKey } = this.settings;
    if (operation.auth === "api_key") return apiKey === undefined ? {} : { "X-API-Key": apiKey };
    const current = await currentToken(token);
    return current === null ? {} : { Authorization: `Bearer ${current}` };
  }
}

function restOf(values: ParameterValues, operation: HttpOperation): JsonObject {
  const isParameter = (name: string): boolean => operation.path.includes(`{${name}}`) || operation.query.includes(name);
  return Object.fromEntries(Object.entries(values).filter(([name]) => !isParameter(name)));
}

/** JSON; or a form, where there is a file in it. */
function bodyOf(content: unknown, headers: Record<string, string>): string | FormData {
  const members = isObject(content) ? Object.entries(content) : [];
  const isFile = (value: unknown): value is Blob => value instanceof Blob;
  if (!members.some(([, value]) => [value].flat().some(isFile))) {
    headers["Content-Type"] = "application/json";
    return JSON.stringify(content);
  }
  const form = new FormData();
  for (const [name, value] of members) {
    for (const each of [value].flat()) {
      if (isFile(each)) form.append(name, each);
      else if (each !== undefined && each !== null) form.append(name, String(each));
    }
  }
  return form;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function failureOf(status: number, told: unknown): RequestError {
  const error = isObject(told) ? told["error"] : undefined;
  if (error === undefined || error === null) return new RequestError(`HTTP_${status}`, `HTTP status ${status}`, status);
  return refusalOf(error, { code: `HTTP_${status}`, ...(told as JsonObject) }, status);
}

// -- a client ---------------------------------------------------------------------------------------------------------

/** Where the server is, for HTTP and for WebSockets, without a slash at the end. */
function basesOf(url: string | URL): [string, string] {
  const parsedUrl = new URL(url);
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[parsedUrl.protocol];
  if (scheme === undefined) throw new RangeError(`${parsedUrl.protocol} is neither http: nor https:`);
  const rest = `//${parsedUrl.host}${parsedUrl.pathname.replace(/\/+$/, "")}`;
  return [(scheme === "ws:" ? "http:" : "https:") + rest, scheme + rest];
}

interface KeptConnection {
  close(): Promise<void>;
  onState(listener: (state: State) => unknown): unknown;
}

/** What every client of an application has. */
class BaseClient {
  protected readonly settings: ClientSettings;
  protected readonly http: HTTP;
  protected readonly sockets: string;
  readonly #open = new Set<KeptConnection>();

  /**
   * @param url where the application is served, such as `https://example.com`; in a browser, by default where the page
   *   is from.
   */
  constructor(url: string | URL = location.origin, options: ClientOptions = {}) {
    this.settings = settingsOf(options);
    const [http, sockets] = basesOf(url);
    this.http = new HTTP(this.settings, http);
    this.sockets = sockets;
  }

  /** Ends all connections for good. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((each) => each.close()));
  }

  protected keep<T extends KeptConnection>(connection: T): T {
    this.#open.add(connection);
    connection.onState((state) => {
      if (state === "over") this.#open.delete(connection);
    });
    return connection;
  }
}

// -- what goes to and fro ---------------------------------------------------------------------------------------------

/**
 * A name and a password: `username` or `email` with `password`, or names with a `credential`.
 * Registering takes `identities`, logging in one `identity`.
 */
export type Access = {
  username?: string | null;
  email?: string | null;
  password?: string | null;
  identities?: Array<Name> | null;
  identity?: Name | null;
  credential?: Credential | null;
};

/** How many publications were made. */
export type Answer = {
  publications: number;
};

/** What proves who somebody is. */
export type Credential = {
  /** `password` */
  type: string;
  password: string;
};

/** A line from point to point. */
export type Draw = {
  type: "draw";
  points: Array<[number, number]>;
};

/** Says what it hears. */
export type Echo = {
  message: string;
  /** Whose run it is; taken out of the message. */
  token?: string;
};

/** What holds others of its kind. */
export type Folder = {
  name: string;
  size?: number;
  folders?: Array<Folder>;
};

/** What everybody in a room hears. *\/ Not the end of a comment. */
export type Heard = {
  at: string;
  loud: boolean;
  room: string;
  text: string;
};

/** An API key without its secrets. */
export type Key = {
  api_key_id: string;
  name: string;
  created_at: string | null;
  expires_at: string | null;
  allowed_walkers: Array<string> | null;
  legacy_signature: boolean;
};

export type Keys = {
  api_keys: Array<Key>;
};

/** A user with a new token. */
export type Login = {
  user_id: string;
  root_id: string;
  username: string;
  role: string;
  expires_at: string | null;
  token: string;
};

/** An API key with its secrets, which are shown once. */
export type MadeKey = {
  api_key_id: string;
  name: string;
  created_at: string | null;
  expires_at: string | null;
  allowed_walkers: Array<string> | null;
  legacy_signature: boolean;
  api_key: string;
  signing_secret: string;
};

export type Mood = "calm" | "merry";

/** One of a user's names. */
export type Name = {
  /** `username` or `email` */
  type: string;
  value: string;
};

export type NewKey = {
  name: string;
  expiry_days?: number | null;
  allowed_walkers?: Array<string> | null;
  legacy_signature?: boolean;
};

export type NewPassword = {
  old_password: string;
  new_password: string;
};

/** An empty object. */
export type Nothing = { [key: string]: unknown };

/** Data, and whom it is for: users, channels or clients. */
export type Notice = {
  data: unknown;
  users?: Array<string> | null;
  channels?: Array<string> | null;
  clients?: Array<string> | null;
};

export type Password = {
  password: string;
};

/** Another name. */
export type Rename = {
  old: string;
  /** At least one character. */
  new: string;
};

export type Renamed = {
  name: string;
};

export type Said = {
  mood?: Mood;
  "reply-to"?: number | null;
  text: string;
};

/** Adds numbers. */
export type Sum = {
  numbers?: Array<number>;
  start?: number;
};

/** A user, and when the token that was shown or given expires. */
export type User = {
  user_id: string;
  root_id: string;
  username: string;
  role: string;
  expires_at: string | null;
};

/** Nothing is left. */
export type Wipe = {
  type: "wipe";
  confirm: true;
};

// -- by HTTP ----------------------------------------------------------------------------------------------------------

/** The endpoints of HTTP. Each rejects with `RequestError`. */
export class Rest {
  constructor(private readonly http: HTTP) {}

  /**
   * Makes a key; its secrets are shown here and never again.
   * POST /api-key/create
   */
  createKey(body: NewKey): Promise<MadeKey> {
    return this.http.call<MadeKey>(
      { method: "POST", path: "/api-key/create", query: [], body: "rest", auth: "bearer", isEnveloped: true },
      body,
    );
  }

  /**
   * Lists one's own keys.
   * GET /api-key/list
   */
  listKeys(): Promise<Keys> {
    return this.http.call<Keys>(
      { method: "GET", path: "/api-key/list", query: [], body: "none", auth: "bearer", isEnveloped: true },
      {},
    );
  }

  /**
   * Removes a key of one's own.
   * DELETE /api-key/{api_key_id}
   */
  revokeKey(parameters: { api_key_id: string | number }): Promise<Nothing> {
    return this.http.call<Nothing>(
      { method: "DELETE", path: "/api-key/{api_key_id}", query: [], body: "none", auth: "bearer", isEnveloped: true },
      parameters,
    );
  }

  /** POST /files/{folder} */
  postUploadByFolder(parameters: { folder: string | number } & ({ label: string; file: Blob })): Promise<{ reports: Array<unknown> }> {
    return this.http.call<{ reports: Array<unknown> }>(
      { method: "POST", path: "/files/{folder}", query: [], body: "rest", auth: "", isEnveloped: true },
      parameters,
    );
  }

  /** POST /notes/{topic} */
  postNotesByTopic(parameters: { topic: string | number } & ({ text: string }), query: Query = {}): Promise<unknown> {
    return this.http.call<unknown>(
      { method: "POST", path: "/notes/{topic}", query: [], body: "rest", auth: "", isEnveloped: false },
      parameters,
      undefined,
      query,
    );
  }

  /**
   * Publishes for users, channels and clients.
   * POST /notify
   */
  notify(body: Array<Notice> | Notice): Promise<Answer> {
    return this.http.call<Answer>(
      { method: "POST", path: "/notify", query: [], body: "value", auth: "api_key", isEnveloped: true },
      {},
      body,
    );
  }

  /**
   * Removes oneself.
   * DELETE /user
   */
  deleteUser(body: Password): Promise<Nothing> {
    return this.http.call<Nothing>(
      { method: "DELETE", path: "/user", query: [], body: "rest", auth: "bearer", isEnveloped: true },
      body,
    );
  }

  /**
   * Logs a user in.
   * POST /user/login
   */
  login(body: Access = {}): Promise<Login> {
    return this.http.call<Login>(
      { method: "POST", path: "/user/login", query: [], body: "rest", auth: "", isEnveloped: true },
      body,
    );
  }

  /**
   * Ends the token that is shown.
   * POST /user/logout
   */
  logout(): Promise<Nothing> {
    return this.http.call<Nothing>(
      { method: "POST", path: "/user/logout", query: [], body: "none", auth: "bearer", isEnveloped: true },
      {},
    );
  }

  /**
   * Says who one is.
   * GET /user/me
   */
  me(): Promise<User> {
    return this.http.call<User>(
      { method: "GET", path: "/user/me", query: [], body: "none", auth: "bearer", isEnveloped: true },
      {},
    );
  }

  /**
   * Gives oneself another password.
   * PUT /user/password
   */
  changePassword(body: NewPassword): Promise<Login> {
    return this.http.call<Login>(
      { method: "PUT", path: "/user/password", query: [], body: "rest", auth: "bearer", isEnveloped: true },
      body,
    );
  }

  /**
   * Gives a new token for one that is good.
   * POST /user/refresh-token
   */
  refresh(): Promise<Login> {
    return this.http.call<Login>(
      { method: "POST", path: "/user/refresh-token", query: [], body: "none", auth: "bearer", isEnveloped: true },
      {},
    );
  }

  /**
   * Adds a user.
   * POST /user/register
   */
  register(body: Access = {}): Promise<Login> {
    return this.http.call<Login>(
      { method: "POST", path: "/user/register", query: [], body: "rest", auth: "", isEnveloped: true },
      body,
    );
  }

  /**
   * Adds numbers.
   * GET /walker/Sum
   */
  getSum(parameters: { numbers?: Array<number>; start?: number } = {}): Promise<{ reports: Array<unknown> }> {
    return this.http.call<{ reports: Array<unknown> }>(
      { method: "GET", path: "/walker/Sum", query: ["numbers", "start"], body: "none", auth: "", isEnveloped: true },
      parameters,
    );
  }

  /**
   * Adds numbers.
   * POST /walker/Sum
   */
  postSum(body: Sum = {}): Promise<{ reports: Array<unknown> }> {
    return this.http.call<{ reports: Array<unknown> }>(
      { method: "POST", path: "/walker/Sum", query: [], body: "rest", auth: "", isEnveloped: true },
      body,
    );
  }

  /**
   * Adds numbers.
   * GET /walker/Sum/{node_id}
   */
  getSumByNodeId(parameters: { node_id: string | number; numbers?: Array<number>; start?: number }): Promise<{ reports: Array<unknown> }> {
    return this.http.call<{ reports: Array<unknown> }>(
      { method: "GET", path: "/walker/Sum/{node_id}", query: ["numbers", "start"], body: "none", auth: "", isEnveloped: true },
      parameters,
    );
  }

  /**
   * Adds numbers.
   * POST /walker/Sum/{node_id}
   */
  postSumByNodeId(parameters: { node_id: string | number } & (Sum)): Promise<{ reports: Array<unknown> }> {
    return this.http.call<{ reports: Array<unknown> }>(
      { method: "POST", path: "/walker/Sum/{node_id}", query: [], body: "rest", auth: "", isEnveloped: true },
      parameters,
    );
  }
}

// -- the event socket -------------------------------------------------------------------------------------------------

/** One connection for everything. */
export class Events extends EventSocket {
  /** What the server has by name. */
  readonly call = {
    /** Adds numbers. */
    Sum: (context?: Sum): Promise<Array<unknown>> =>
      this.callByName("Sum", context) as Promise<Array<unknown>>,
    class: (context?: { [key: string]: unknown }): Promise<Array<Array<string>>> =>
      this.callByName("class", context) as Promise<Array<Array<string>>>,
    delete_all: (context?: { [key: string]: unknown }): Promise<Array<unknown>> =>
      this.callByName("delete-all", context) as Promise<Array<unknown>>,
    /** Gives something another name. */
    rename: (context: Rename): Promise<Array<Renamed>> =>
      this.callByName("rename", context) as Promise<Array<Renamed>>,
  };
}

// -- the application --------------------------------------------------------------------------------------------------

/** A client of the application. */
export class Client extends BaseClient {
  readonly rest = new Rest(this.http);

  #events: Events | null = null;

  /** The event socket; opened when it is first asked for, and anew after it was closed. */
  get events(): Events {
    if (this.#events === null || this.#events.state === "over") {
      const events = new Events(this.settings, this.sockets, "/websocket");
      this.#events = this.keep(events);
    }
    return this.#events;
  }

  /**
   * Everything twice.
   * WebSocket /board
   */
  board(query: Query = {}): Connection<Draw | Wipe, Draw | Wipe> {
    return this.keep(new Connection<Draw | Wipe, Draw | Wipe>(
      this.settings,
      this.sockets,
      { path: "/board", query: [], json: true, errors: "typed", protocols: [] },
      {},
      query,
    ));
  }

  /**
   * Says something in a room.
   * WebSocket /chat/{room}
   */
  chat(parameters: { room: string | number; loud?: boolean }): AnsweringConnection<Said, Heard> {
    return this.keep(new AnsweringConnection<Said, Heard>(
      this.settings,
      this.sockets,
      { path: "/chat/{room}", query: ["loud"], json: true, errors: "typed", protocols: [] },
      parameters,
    ));
  }

  /** WebSocket /folders */
  folders(query: Query = {}): Connection<Folder, Folder | null> {
    return this.keep(new Connection<Folder, Folder | null>(
      this.settings,
      this.sockets,
      { path: "/folders", query: [], json: true, errors: "typed", protocols: [] },
      {},
      query,
    ));
  }

  /** WebSocket /raw */
  raw(query: Query = {}): AnsweringConnection<string | Uint8Array, string | Uint8Array> {
    return this.keep(new AnsweringConnection<string | Uint8Array, string | Uint8Array>(
      this.settings,
      this.sockets,
      { path: "/raw", query: [], json: false, errors: "typed", protocols: [] },
      {},
      query,
    ));
  }

  /** WebSocket /secret */
  secret(query: Query = {}): AnsweringConnection<{ [key: string]: number }, { [key: string]: string }> {
    return this.keep(new AnsweringConnection<{ [key: string]: number }, { [key: string]: string }>(
      this.settings,
      this.sockets,
      { path: "/secret", query: [], json: true, errors: "typed", protocols: ["wireloom.bearer"] },
      {},
      query,
    ));
  }

  /**
   * Says what it hears.
   * WebSocket /ws/Echo
   */
  echo(query: Query = {}): AnsweringConnection<Echo, { ok: true; data: { reports: Array<unknown> } }> {
    return this.keep(new AnsweringConnection<Echo, { ok: true; data: { reports: Array<unknown> } }>(
      this.settings,
      this.sockets,
      { path: "/ws/Echo", query: [], json: true, errors: "walker", protocols: ["wireloom.bearer"] },
      {},
      query,
    ));
  }

  /** WebSocket /ws/upper */
  upperCase(query: Query = {}): Connection<string, string | Uint8Array> {
    return this.keep(new Connection<string, string | Uint8Array>(
      this.settings,
      this.sockets,
      { path: "/ws/upper", query: [], json: false, errors: "typed", protocols: [] },
      {},
      query,
    ));
  }
}
