// -- a client ---------------------------------------------------------------------------------------------------------

import { type ClientOptions, type ClientSettings, settingsOf, type State } from "./options.js";
import { HTTP } from "./http.js";

/** Where the server is, for HTTP and for WebSockets, without a slash at the end. */
export function basesOf(url: string | URL): [string, string] {
  const parsedUrl = new URL(url);
  const scheme = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" }[parsedUrl.protocol];
  if (scheme === undefined) throw new RangeError(`${parsedUrl.protocol} is neither http: nor https:`);
  const rest = `//${parsedUrl.host}${parsedUrl.pathname.replace(/\/+$/, "")}`;
  return [(scheme === "ws:" ? "http:" : "https:") + rest, scheme + rest];
}

export interface KeptConnection {
  close(): Promise<void>;
  onState(listener: (state: State) => unknown): unknown;
}

/** What every client of an application has. */
export class BaseClient {
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
