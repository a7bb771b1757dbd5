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

export type ClientSettings = Required<Omit<ClientOptions, "token" | "apiKey" | "WebSocket" | "fetch">> & ClientOptions;
export type JsonObject = Record<string, unknown>;
export type ParameterValues = Readonly<Record<string, unknown>>;

export const COME_BACK: readonly number[] = [1001, 1006, 1011, 1012, 1013, 1014, 4401];
export const BEARER = "wireloom.bearer";
export const PROVEN_MS = 10_000;
export const MAX_DELAY_MS = 600_000;
export const CHANNELS_IN_ONE_EVENT = 1000;

export function settingsOf(options: ClientOptions): ClientSettings {
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

export async function currentToken(token: Token | undefined): Promise<string | null> {
  return (typeof token === "function" ? await token() : token) || null;
}

/** A path and query with their parameters in it. */
export function targetOf(path: string, query: readonly string[], values: ParameterValues, further: Query = {}): string {
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

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An error as the server words it: text, or an object with code, message and perhaps path and id. */
export function refusalOf(error: unknown, beside: JsonObject = {}, status?: number): RequestError {
  const told = isObject(error) ? error : { ...beside, message: error };
  const text = (name: string): string | undefined => (told[name] === undefined ? undefined : String(told[name]));
  return new RequestError(text("code") ?? "REFUSED", text("message") ?? "", status, text("path"), text("id"));
}

/** A promise with its ends outside. */
export class Deferred<T> {
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
export async function within<T>(seconds: number, promise: Promise<T>, whatFor: string): Promise<T> {
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
