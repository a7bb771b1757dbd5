// -- connections of endpoints -----------------------------------------------------------------------------------------

import {
  type ClientSettings,
  ConnectionClosed,
  Deferred,
  isObject,
  type JsonObject,
  type ParameterValues,
  type Query,
  refusalOf,
  RequestError,
  RequestTimeout,
  type State,
  targetOf,
  within,
} from "./options.js";
import { Lasting } from "./lasting.js";
import { Inbox, tell } from "./inbox.js";
import { parsed } from "./http.js";

export interface SocketEndpoint {
  readonly path: string;
  readonly query: readonly string[];
  /** Messages are JSON; else text or bytes as they are. */
  readonly json: boolean;
  /** How it tells errors; `none`: nothing tells them from messages. */
  readonly errors: "typed" | "walker" | "none";
  readonly protocols: readonly string[];
}

/** What all connections have in common. `Received` is what comes. */
export abstract class BaseConnection<Received> implements AsyncIterable<Received> {
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

export function isQuiet(ending: ConnectionClosed): boolean {
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
export function typedFailure(message: JsonObject): RequestError | null {
  if (message["type"] === "error" && typeof message["message"] === "string" && Object.keys(message).length === 2) {
    return new RequestError("INVALID_JSON", message["message"]);
  }
  const names = Object.keys(message);
  if (typeof message["error"] !== "string" || !names.every((name) => ERROR_MEMBERS.includes(name))) return null;
  const fallback = "id" in message ? "INTERNAL_ERROR" : "VALIDATION_ERROR";
  return refusalOf(message["error"], { code: fallback, ...message });
}

export const ERROR_MEMBERS: readonly string[] = ["error", "code", "id", "details"];

/** The same in a text of an endpoint that is not JSON. */
export function failureIn(text: string): RequestError | null {
  if (!text.startsWith('{"error":')) return null;
  try {
    const message: unknown = JSON.parse(text);
    return isObject(message) ? typedFailure(message) : null;
  } catch {
    return null;
  }
}

export interface ExpectedAnswer<Received> {
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
